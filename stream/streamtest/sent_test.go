package streamtest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// counted counts values, through a repartition topic.
func counted() *stream.Builder {
	b := stream.NewBuilder()
	b.Stream(stream.Topic[string, string]("in")).GroupBy(func(_, v string) string { return v }).
		Count(stream.As("counts")).ToStream().To("out")
	return b
}

func TestSentIsEverythingInTheOrderOfSending(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, counted())
	in := d.Input(stream.Topic[string, string]("in"))
	if got := d.Sent(); len(got) > 0 {
		t.Fatalf("%v was sent by nobody", got)
	}
	in.PipeRecord(stream.Record[string, string]{Value: "a", Keyless: true, Timestamp: time.UnixMilli(7), Headers: serde.Headers{{Key: "h", Value: []byte("v")}}})
	var got []string
	for _, s := range d.Sent() {
		got = append(got, fmt.Sprintf("%s-%d %s=%x @%d %d %v", s.Topic, s.Partition, s.Key, s.Value, s.Timestamp.UnixMilli(), len(s.Headers), s.Internal))
	}
	want := []string{
		"test-counts-repartition-0 a=61 @7 1 true", "test-counts-changelog-0 a=0000000000000001 @7 0 true", "out-0 a=0000000000000001 @7 1 false",
	}
	slices.Sort(got[1:]) // whether store or sink comes first is not this test's matter
	if !slices.Equal(got, []string{want[0], want[2], want[1]}) {
		t.Errorf("got %q, want %q", got, want)
	}
	if again := d.Sent(); len(again) > 0 {
		t.Errorf("%v comes a second time", again)
	}
	out := d.Output(stream.Topic[string, int64]("out"))
	out.Want(out.R("a", 1))
}

func TestStoresAreThoseOfOperatorsToo(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, counted())
	d.Input(stream.Topic[string, string]("in")).Pipe("k", "a")
	stores := d.Stores()
	counts, ok := stores["counts"].(state.TimestampedKeyValueStore[string, int64])
	if !ok || len(stores) != 1 {
		t.Fatalf("got %v", stores)
	}
	if n, ok, err := counts.Get("a"); n != 1 || !ok || err != nil {
		t.Errorf("got %d, %v, %v", n, ok, err)
	}
}
