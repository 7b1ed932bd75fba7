package streamtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// TestTasksMoveWithTheirState counts words while instances come and crash: a repartition topic lies between, so that records
// of one instance are counted by another.
func TestTasksMoveWithTheirState(t *testing.T) {
	t.Parallel()
	words := state.TimestampedKeyValue[string, int64]("words")
	b := stream.NewBuilder()
	b.Stream[string, string]("lines").
		GroupBy(func(_, word string) string { return word }, stream.Named("by-word")).
		Count(stream.Into(words)).ToStream().To("counts")
	d := streamtest.New(t, b, streamtest.WithPartitions(6), streamtest.WithInstances(3), streamtest.WithConfig(stream.Config{CommitInterval: time.Hour, CacheBytes: -1}))
	in := d.Input[string, string]("lines")
	want := map[string]int64{}
	pipe := func() {
		for i := range 20 {
			word := fmt.Sprintf("w%d", i%7)
			in.Pipe(fmt.Sprintf("line %d", i), word)
			want[word]++
		}
		d.Commit()
	}
	pipe()
	d.CrashInstance(0)
	pipe()
	if n := d.AddInstance(); n != 3 {
		t.Errorf("the new instance is number %d", n)
	}
	pipe()
	d.CrashInstance(2)
	d.CrashInstance(3)
	pipe()
	for word, n := range want {
		if got, ok, err := d.Store(words).Get(word); got != n || !ok || err != nil {
			t.Errorf("%s was counted %d times, %v, %v; want %d", word, got, ok, err, n)
		}
	}
	for _, line := range []string{"instance 0 crashes\n", "instance 3 joins\n"} {
		if !strings.Contains(d.Transcript(), line) {
			t.Errorf("the transcript does not say %q", line)
		}
	}
}

func TestACrashedInstanceRepeatsOnlyItsOwnRecords(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[string, string]("lines").To("copies")
	d := streamtest.New(t, b, streamtest.WithPartitions(2), streamtest.WithInstances(2), streamtest.WithConfig(stream.Config{CommitInterval: time.Hour}))
	in, out := d.Input[string, string]("lines"), d.Output[string, string]("copies")
	for i := range 8 {
		in.Pipe(fmt.Sprint(i), "v")
	}
	once := map[string]bool{}
	for _, r := range out.ReadAll() {
		once[r.Key] = true
	}
	d.CrashInstance(1)
	again := out.ReadAll()
	if len(once) != 8 || len(again) == 0 || len(again) == 8 {
		t.Errorf("%d records at first, %d again after one of two instances crashed", len(once), len(again))
	}
}

func TestTheLastInstanceDoesNotCrash(t *testing.T) {
	t.Parallel()
	said := failing(t, func(t testing.TB) {
		d := streamtest.New(t, topology(), streamtest.WithInstances(2))
		d.CrashInstance(0)
		d.CrashInstance(1)
	})
	if !strings.Contains(said, "instance 1 cannot crash: 1 of 2 are alive") {
		t.Errorf("said %q", said)
	}
}

func TestAClosedDriverHasEnded(t *testing.T) {
	t.Parallel()
	said := failing(t, func(t testing.TB) {
		b := stream.NewBuilder()
		b.Stream[string, string]("in").Peek(func(_, _ string) { panic("no") })
		d := streamtest.New(t, b)
		d.Input[string, string]("in").Pipe("k", "v")
		d.Close()
		d.Close()
	})
	if strings.Count(said, "the topology stopped") != 1 {
		t.Errorf("said %q", said)
	}
}
