package stream_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/streamtest"
)

// textual are streams of text.
type textual = stream.Topic[string, string]

const (
	textIn  textual = "in"
	textOut textual = "out"
)

func TestRepartitionIsNamedAsInJava(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	s := b.Stream(textIn)
	s.Repartition(stream.Named("by-hand"), stream.Partitions(4)).To("one")
	s.Repartition().To("two")
	top, err := b.Build(stream.Config{ApplicationID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	text := top.Describe()
	for _, part := range []string{
		"Processor: by-hand-repartition-filter", "Sink: by-hand-repartition-sink (topic: by-hand-repartition)",
		"Source: by-hand-repartition-source (topics: [by-hand-repartition])", "Sub-topology: 2",
		// The named one burns three numbers, for sink, filter and source, and none for itself: 0 is the source, 4 the sink.
		"Sink: KSTREAM-SINK-0000000006 (topic: KSTREAM-REPARTITION-0000000005-repartition)",
		"Processor: KSTREAM-FILTER-0000000007", "Source: KSTREAM-SOURCE-0000000008",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in\n%s", part, text)
		}
	}
	for _, x := range top.Graph().Topics {
		if want := map[string]int{"app-by-hand-repartition": 4, "app-KSTREAM-REPARTITION-0000000005-repartition": 0}[x.Name]; x.Partitions != want {
			t.Errorf("%s has %d partitions, want %d", x.Name, x.Partitions, want)
		}
	}
}

func TestRepartitionDropsWhatHasNoKeyUnlessALeftJoinFollows(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	rates := b.GlobalTable[string, string]("rates")
	s := b.Stream(textIn)
	s.Repartition(stream.Named("strict")).To(textOut)
	s.Repartition(stream.Named("lax")).
		LeftJoinGlobal(rates, func(_, v string) (string, bool) { return v, true },
			func(_, v, rate string, ok bool) string { return v + rate }).To("joined")
	d := streamtest.New(t, b)
	d.Input(textIn).PipeRecord(stream.Record[string, string]{Keyless: true, Value: "v", Timestamp: d.Now()})
	if got := d.Output(textOut).ReadAll(); len(got) > 0 {
		t.Errorf("a record without key went through: %v", got)
	}
	got := d.Output(textual("joined")).ReadAll()
	if len(got) != 1 || !got[0].Keyless || got[0].Value != "v" {
		t.Errorf("got %v, want the record without key", got)
	}
}

func TestRepartitionPlacesRecordsByItsPartitioner(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(textIn).Repartition(stream.Named("placed"), stream.Partition(func(topic, k, _ string, n int) int {
		if topic != "test-placed-repartition" || n != 3 {
			t.Errorf("asked for %q of %d", topic, n)
		}
		return len(k) - 1
	})).MapValues(func(_, v string) string { return v }).To(textOut)
	d := streamtest.New(t, b, streamtest.WithPartitions(3))
	in := d.Input(textIn)
	in.Pipe("a", "1")
	in.Pipe("abc", "2")
	if script := d.Transcript(); !strings.Contains(script, `. test-placed-repartition-0 "a"`) || !strings.Contains(script, `. test-placed-repartition-2 "abc"`) {
		t.Errorf("got\n%s", script)
	}
	in.Pipe("abcd", "3")
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "chose 3 of 3") {
		t.Errorf("got %v", err)
	}
}

func TestAWrongPartitionerIsAFaultOfTheBuilder(t *testing.T) {
	t.Parallel()
	wrong(t, func(b *stream.Builder) {
		one := stream.Partition(func(string, string, int, int) int { return 0 })
		many := stream.Multicast(func(string, string, string, int) []int { return nil })
		s := b.Stream(textIn)
		s.To("a", one)
		s.Repartition(one)
		s.To("b", many, stream.Partition(func(string, string, string, int) int { return 0 }))
		s.Repartition(stream.Partitions(-1))
		b.Streams([]textual{})
		b.Stream(textual("c"), stream.Timestamps(func(stream.Record[string, int], time.Time) time.Time { return time.Time{} }))
	}, "Partition is func(string, string, int, int) int, which does not take string → string",
		"Partition and Multicast were both given", "Partitions is -1", "there is no topic to read",
		"Timestamps is func(stream.Record[string,int]")
}

// wrong builds a topology that must not be, and looks for what must be said about it.
func wrong(t *testing.T, build func(*stream.Builder), parts ...string) {
	t.Helper()
	b := stream.NewBuilder()
	build(b)
	_, err := b.Build(stream.Config{ApplicationID: "app"})
	if err == nil {
		t.Fatal("want an error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in:\n%v", part, err)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.Contains(line, "_test.go:") {
			t.Errorf("no file and line: %s", line)
		}
	}
}

func TestMulticastSendsToAnyNumberOfPartitions(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(textIn).To(textOut, stream.Multicast(func(_, _, v string, n int) []int {
		switch v {
		case "all":
			return []int{0, 1, n - 1}
		case "wrong":
			return []int{0, n}
		}
		return nil
	}))
	d := streamtest.New(t, b, streamtest.WithPartitions(3))
	in := d.Input(textIn)
	in.Pipe("k", "none")
	in.Pipe("k", "all")
	var where []string
	for line := range strings.Lines(d.Transcript()) {
		if name, ok := strings.CutPrefix(line, "> "); ok {
			where = append(where, strings.Fields(name)[0])
		}
	}
	if got := strings.Join(where, " "); got != "out-0 out-1 out-2" {
		t.Errorf("sent to %s", got)
	}
	in.Pipe("k", "wrong")
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "chose 3 of 3") {
		t.Errorf("got %v", err)
	}
}

func TestSeveralTopicsAreOneSource(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Streams([]textual{"one", "two"}).To(textOut)
	b.Streams([]textual{"two", "one"}).MapValues(func(_, v string) string { return v + "!" }).To(textOut)
	d := streamtest.New(t, b)
	d.Input(textual("one")).Pipe("a", "1")
	d.Input(textual("two")).Pipe("a", "2")
	out := d.Output(textOut)
	out.Want(out.R("a", "1"), out.R("a", "1!"), out.R("a", "2"), out.R("a", "2!"))
}

func TestOverlappingSourcesAreAFault(t *testing.T) {
	t.Parallel()
	wrong(t, func(b *stream.Builder) {
		b.Stream(textual("one")).To("x")
		b.Streams([]textual{"one", "two"}).To("y")
		b.StreamPattern[string, string](regexp.MustCompile("t.*")).To("z")
	}, `topic "one" is already read at`, `the pattern t.* matches topic "two", which is already read at`)
}

func TestAPatternMatchesWholeNames(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	s := b.StreamPattern[string, string](regexp.MustCompile("a|ab"))
	s.GroupByKey().Count(stream.As("counts")).ToStream().MapValues(func(_ string, n int64) string { return strings.Repeat("x", int(n)) }).To(textOut)
	d := streamtest.New(t, b)
	d.Input(textual("a")).Pipe("k", "1")
	d.Crash()
	d.Input(textual("ab")).Pipe("k", "2")
	out := d.Output(textOut)
	out.Want(out.R("k", "x"), out.R("k", "xx"))
	top, err := func() (*stream.Topology, error) {
		b := stream.NewBuilder()
		b.StreamPattern[string, string](regexp.MustCompile("a|ab")).To(textOut)
		return b.Build(stream.Config{ApplicationID: "app"})
	}()
	if err != nil || !strings.Contains(top.Describe(), "(topics: a|ab)") {
		t.Errorf("%v", err)
	}
}

func TestTimestampsComeFromTheContent(t *testing.T) {
	t.Parallel()
	type number = stream.Record[string, int64]
	var seen []time.Time
	b := stream.NewBuilder()
	b.Stream(stream.Topic[string, int64]("in"), stream.Timestamps(func(r number, prev time.Time) time.Time {
		seen = append(seen, prev)
		if r.Value == 13 {
			panic("unlucky")
		}
		if r.Tombstone {
			return r.Timestamp
		}
		return time.UnixMilli(r.Value)
	})).To("out")
	d := streamtest.New(t, b)
	in, out := d.Input(stream.Topic[string, int64]("in")), d.Output(stream.Topic[string, int64]("out"))
	in.PipeAt(time.UnixMilli(7), "k", 100)
	in.PipeAt(time.UnixMilli(7), "k", -5) // dropped
	in.PipeAt(time.UnixMilli(7), "k", 50)
	in.PipeRecord(number{Key: "k", Tombstone: true, Timestamp: time.UnixMilli(60)})
	var times []int64
	for _, r := range out.ReadAll() {
		times = append(times, r.Timestamp.UnixMilli())
	}
	if len(times) != 3 || times[0] != 100 || times[1] != 50 || times[2] != 60 {
		t.Errorf("times are %v", times)
	}
	if !seen[0].IsZero() || seen[3].UnixMilli() != 100 {
		t.Errorf("times before were %v", seen)
	}
	in.PipeAt(time.UnixMilli(7), "k", 13)
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "unlucky") {
		t.Errorf("got %v", err)
	}
}

func TestRecordsWithoutTimeAreDroppedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(textIn).To(textOut)
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{
		Timestamps: func(r stream.Record[[]byte, []byte], prev time.Time) time.Time {
			if string(r.Value) == "none" {
				return time.Time{}
			}
			if prev.IsZero() {
				return time.UnixMilli(0)
			}
			return prev.Add(time.Second)
		},
	}))
	in, out := d.Input(textIn), d.Output(textOut)
	in.Pipe("k", "none")
	in.Pipe("k", "some")
	out.Want(out.R("k", "some"))
	d.Crash() // the dropped record's offset was committed with the rest
	out.Want()
}

func TestARecordThatCannotBeReadKeepsItsOwnTime(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(stream.Topic[string, int64]("in"), stream.Timestamps(func(r stream.Record[string, int64], _ time.Time) time.Time {
		return time.UnixMilli(r.Value)
	})).To("out")
	d := streamtest.New(t, b)
	d.Input(stream.Topic[string, int64]("in")).PipeBytes([]byte("k"), []byte("short"))
	if err := d.Err(); !errors.Is(err, serde.ErrSize) {
		t.Errorf("got %v", err)
	}
}

func TestADynamicTopicMustBeOne(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(textIn).ToDynamic(byValue)
	if top, err := b.Build(stream.Config{ApplicationID: "app"}); err != nil || !strings.Contains(top.Describe(), "(extractor class: by-value)") {
		t.Errorf("%v", err)
	}
	d := streamtest.New(t, b)
	in := d.Input(textIn)
	in.Pipe("k", "elsewhere")
	out := d.Output(textual("elsewhere"))
	out.Want(out.R("k", "elsewhere"))
	in.Pipe("k", "no such/name")
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "is no topic's name") {
		t.Errorf("got %v", err)
	}
}

func byValue(_, v string, m stream.RecordMetadata) string {
	if m.Topic != "in" {
		return ""
	}
	return v
}
