package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// changesOf is what a topic received, as "key=value@milliseconds".
func changesOf(out *streamtest.TestOutput[string, string]) (got []string) {
	for _, r := range out.ReadAll() {
		v := r.Value
		if r.Tombstone {
			v = "-"
		}
		got = append(got, fmt.Sprintf("%s=%s@%d", r.Key, v, r.Timestamp.UnixMilli()))
	}
	return got
}

// wantChanges compares what a topic received since it was last read.
func wantChanges(t *testing.T, out *streamtest.TestOutput[string, string], want ...string) {
	t.Helper()
	if got := changesOf(out); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

var (
	brief  = state.TimestampedKeyValue[string, string]("brief", state.TTL(10*time.Millisecond))
	inText = stream.Topic[string, string]("in")
	toText = stream.Topic[string, string]("out")
)

// briefly is a table whose rows live for 10 ms.
func briefly() *stream.Builder {
	b := stream.NewBuilder()
	b.Table(inText, stream.Into(brief)).ToStream().To("out")
	return b
}

func TestTTLDeletesRowsInOrderOfTimeAndKey(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, briefly())
	in, out := d.Input(inText), d.Output(toText)
	in.PipeAt(at(5), "d", "1")
	in.PipeAt(at(3), "c", "2")
	in.PipeAt(at(3), "b", "3")
	in.PipeAt(at(0), "a", "4")
	in.PipeAt(at(0), "e", "5")
	in.PipeAt(at(6), "e", "6") // a new life
	wantChanges(t, out, "d=1@5", "c=2@3", "b=3@3", "a=4@0", "e=5@0", "e=6@6")
	in.PipeAt(at(10), "x", "") // the last moment of a
	wantChanges(t, out, "x=@10")
	in.PipeAt(at(15), "x", "y") // the last moment of d
	wantChanges(t, out, "a=-@10", "b=-@13", "c=-@13", "x=y@15")
	in.PipeAt(at(16), "d", "7") // the row of before ends first
	wantChanges(t, out, "d=-@15", "d=7@16")
	if _, ok, _ := d.Store(brief).Get("a"); ok {
		t.Error("a is still there")
	}
	logged(t, d, "brief", `"d"="1"`, `"c"="2"`, `"b"="3"`, `"a"="4"`, `"e"="5"`, `"e"="6"`, `"x"=""`, `"a"=null`, `"b"=null`, `"c"=null`, `"x"="y"`, `"d"=null`, `"d"="7"`)
	var ends []time.Time
	for _, s := range d.Sent() {
		if s.Topic == "test-brief-changelog" && s.Value == nil {
			ends = append(ends, s.Timestamp)
		}
	}
	if want := []time.Time{at(10), at(13), at(13), at(15)}; !slices.EqualFunc(ends, want, time.Time.Equal) {
		t.Errorf("tombstones are of %v, want %v", ends, want)
	}
}

func TestTTLDropsUpdatesThatAreTooOldAlready(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, briefly())
	in, out := d.Input(inText), d.Output(toText)
	in.PipeAt(at(20), "a", "1")
	in.PipeAt(at(10), "b", "2") // just in time
	in.PipeAt(at(9), "a", "3")
	in.PipeAt(at(9), "c", "4")
	wantChanges(t, out, "a=1@20", "b=2@10")
	in.PipeRecord(stream.Record[string, string]{Key: "a", Tombstone: true, Timestamp: at(1)}) // deleting is never too late
	wantChanges(t, out, "a=-@1")
	in.PipeAt(at(60), "x", "")
	wantChanges(t, out, "b=-@20", "x=@60")
	logged(t, d, "brief", `"a"="1"`, `"b"="2"`, `"a"=null`, `"b"=null`, `"x"=""`)
}

func TestTTLSurvivesACrash(t *testing.T) {
	t.Parallel()
	for _, o := range []stream.Optimization{0, stream.AllOptimizations} {
		d := streamtest.New(t, briefly(), streamtest.WithConfig(stream.Config{Optimize: o}))
		in, out := d.Input(inText), d.Output(toText)
		in.PipeAt(at(0), "a", "1")
		in.PipeAt(at(5), "b", "2")
		in.PipeAt(at(5), "a", "3")
		in.PipeAt(at(6), "c", "4")
		in.PipeAt(at(16), "d", "5")
		wantChanges(t, out, "a=1@0", "b=2@5", "a=3@5", "c=4@6", "a=-@15", "b=-@15", "d=5@16")
		d.Crash()
		wantChanges(t, out)
		if _, ok, _ := d.Store(brief).Get("a"); ok {
			t.Error("a came back")
		}
		in.PipeAt(at(17), "e", "6")
		wantChanges(t, out, "c=-@16", "e=6@17") // once, and nothing else
	}
}

// Each task has a stream time of its own.
func TestTTLGoesByTheTimeOfThePartition(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, briefly(), streamtest.WithPartitions(2))
	in, out := d.Input(inText), d.Output(toText)
	keys := [2]string{partitioned(0, 2), partitioned(1, 2)}
	in.PipeAt(at(0), keys[0], "1")
	in.PipeAt(at(0), keys[1], "2")
	in.PipeAt(at(50), keys[1], "3")
	wantChanges(t, out, keys[0]+"=1@0", keys[1]+"=2@0", keys[1]+"=-@10", keys[1]+"=3@50")
}

// What is computed from a table is taken back when its row ends, and once only.
func TestTTLTakesRowsOutOfGroupsAndJoins(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	rows := b.Table(inText, stream.Into(brief))
	rows.GroupBy(func(_, v string) (string, string) { return v, v }).
		Count(stream.DeleteWhen(func(n int64) bool { return n == 0 })).
		MapValues(func(_ string, n int64) string { return fmt.Sprint(n) }).ToStream().To("out")
	rows.Join(b.Table[string, string]("other"), func(_, v, o string) string { return v + o }).ToStream().To("joined")
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1}))
	in, other := d.Input(inText), d.Input(stream.Topic[string, string]("other"))
	out, joined := d.Output(toText), d.Output(stream.Topic[string, string]("joined"))
	other.PipeAt(at(0), "a", "!")
	in.PipeAt(at(1), "a", "g")
	in.PipeAt(at(2), "b", "g")
	wantChanges(t, out, "g=1@1", "g=2@2")
	in.PipeAt(at(12), "c", "g")
	wantChanges(t, out, "g=1@11", "g=2@12")
	wantChanges(t, joined, "a=g!@1", "a=-@11")
	in.PipeAt(at(13), "b", "h")
	wantChanges(t, out, "g=1@12", "h=1@13")
}

// Aggregates begin anew after their row has ended; a late record does not bring one back.
func TestTTLOfAggregates(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(inText).GroupByKey().Reduce(func(a, v string) string { return a + v }, state.TTL(10*time.Millisecond)).ToStream().To("out")
	d := streamtest.New(t, b)
	in, out := d.Input(inText), d.Output(toText)
	in.PipeAt(at(0), "a", "1")
	in.PipeAt(at(10), "a", "2")
	in.PipeAt(at(1), "a", "3") // the row's time stays
	in.PipeAt(at(30), "a", "4")
	in.PipeAt(at(19), "b", "5")
	wantChanges(t, out, "a=1@0", "a=12@10", "a=123@10", "a=-@20", "a=4@30")
}

// Tables that are computed may have a life of their own, longer or shorter than that above.
func TestTTLOfComputedTables(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	first := b.Stream(inText).ToTable(state.TTL(20 * time.Millisecond))
	short := first.MapValues(func(_, v string) string { return v + "!" }, stream.As("short"), state.TTL(10*time.Millisecond))
	short.ToStream().To("out")
	first.Filter(func(_, v string) bool { return v != "no" }, stream.As("long"), state.TTL(time.Minute)).ToStream().To("long")
	first.Join(b.Table[string, string]("other"), func(_, v, o string) string { return v + o }, stream.As("joined"), state.TTL(5*time.Millisecond)).ToStream().To("joined")
	d := streamtest.New(t, b)
	in, out, long := d.Input(inText), d.Output(toText), d.Output(stream.Topic[string, string]("long"))
	joined := d.Output(stream.Topic[string, string]("joined"))
	d.Input(stream.Topic[string, string]("other")).PipeAt(at(0), "a", "?")
	in.PipeAt(at(0), "a", "1")
	in.PipeAt(at(11), "b", "no")
	wantChanges(t, out, "a=1!@0", "a=-@10", "b=no!@11")
	wantChanges(t, joined, "a=1?@0", "a=-@5")
	in.PipeAt(at(21), "c", "3")
	wantChanges(t, out, "a=-@20", "c=3!@21") // the table above tells, too
	wantChanges(t, long, "a=1@0", "a=-@20", "c=3@21")
}

// A function that fails on a deletion is settled by the handler; the row is gone all the same, and the next one follows.
func TestTTLGoesOnBehindAFailure(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	ending := false
	b.Table(inText, stream.Into(brief)).GroupBy(func(k, v string) (string, string) {
		if ending && k == "bad" {
			panic("no")
		}
		return "all", v
	}).Reduce(func(a, v string) string { return a + v }, func(a, v string) string { return strings.Replace(a, v, "", 1) }).ToStream().To("out")
	var failed []stream.Failure
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{
		ProcessingErrors: func(_ context.Context, f stream.Failure) stream.Response {
			failed = append(failed, f)
			return stream.Continue()
		},
	}))
	in, out := d.Input(inText), d.Output(toText)
	in.PipeAt(at(0), "bad", "1")
	in.PipeAt(at(0), "good", "2")
	ending = true
	in.PipeAt(at(11), "x", "3")
	wantChanges(t, out, "all=1@0", "all=12@0", "all=1@10", "all=13@11")
	if _, ok, _ := d.Store(brief).Get("bad"); ok {
		t.Error("the row is still there")
	}
	if len(failed) != 1 || failed[0].Topic != "" || !failed[0].Timestamp.Equal(at(10)) {
		t.Errorf("failures are %+v", failed)
	}
}

// A joined row that has ended before its tables' rows is not taken out of a group a second time when those change.
func TestTTLTakesARowOutOnce(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Table(inText).Join(b.Table[string, string]("other"), func(_, v, o string) string { return v + o }, stream.As("joined"), state.TTL(10*time.Millisecond)).
		GroupBy(func(_, v string) (string, string) { return "all", v }).
		Count().MapValues(func(_ string, n int64) string { return fmt.Sprint(n) }).ToStream().To("out")
	d := streamtest.New(t, b)
	in, out := d.Input(inText), d.Output(toText)
	other := d.Input(stream.Topic[string, string]("other"))
	other.PipeAt(at(0), "a", "?")
	in.PipeAt(at(0), "a", "1")
	in.PipeAt(at(11), "b", "1") // has no partner
	in.PipeAt(at(12), "a", "2") // the join knows an old row, the store none
	other.PipeAt(at(13), "a", "!")
	wantChanges(t, out, "all=1@0", "all=0@10", "all=1@12", "all=1@13")
}

// Streams that are aggregated together share a store: a row that ends is told of once.
func TestTTLOfACogroup(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	add := func(_, v, a string) string { return a + v }
	b.Stream(inText).GroupByKey().Cogroup(add).Cogroup(b.Stream[string, string]("other").GroupByKey(), add).
		Aggregate(nil, state.TTL(10*time.Millisecond)).ToStream().To("out")
	d := streamtest.New(t, b)
	d.Input(inText).PipeAt(at(0), "a", "1")
	d.Input(stream.Topic[string, string]("other")).PipeAt(at(5), "a", "2")
	d.Input(inText).PipeAt(at(16), "b", "3")
	wantChanges(t, d.Output(toText), "a=1@0", "a=12@5", "a=-@15", "b=3@16")
}

func TestTTLOfAForeignKeyJoin(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Table(inText).JoinForeign(b.Table[string, string]("other"), func(_, v string) (string, bool) { return v, true },
		func(_, v, o string) string { return v + o }, state.TTL(10*time.Millisecond)).ToStream().To("out")
	d := streamtest.New(t, b)
	d.Input(stream.Topic[string, string]("other")).PipeAt(at(0), "x", "!")
	d.Input(inText).PipeAt(at(1), "a", "x")
	d.Input(inText).PipeAt(at(12), "b", "none")
	wantChanges(t, d.Output(toText), "a=x!@1", "a=-@11")
}

func TestWrongUseOfTTLIsAFault(t *testing.T) {
	t.Parallel()
	ttl := state.TTL(time.Minute)
	same := func(_, v string) string { return v }
	for name, c := range map[string]struct {
		build func(b *stream.Builder)
		want  string
	}{
		"zero":     {func(b *stream.Builder) { b.Table(inText, state.TTL(0)) }, "a millisecond or more"},
		"negative": {func(b *stream.Builder) { b.Table(inText, stream.As("s"), state.TTL(-time.Hour)) }, "a millisecond or more"},
		"LRU":      {func(b *stream.Builder) { b.Table(inText, ttl, state.LRU(3)) }, "exclude each other"},
		"window":   {func(b *stream.Builder) { stream.Tumbling(time.Minute).Over(b.Stream(inText).GroupByKey()).Count(ttl) }, "Retention"},
		"session": {func(b *stream.Builder) {
			stream.Session(time.Minute).Over(b.Stream(inText).GroupByKey()).Count(ttl)
		}, "Retention"},
		"versioned": {func(b *stream.Builder) {
			b.Table(inText, stream.Into(state.Versioned[string, string]("v", time.Hour, ttl)))
		}, "versions a history"},
		"no store": {func(b *stream.Builder) { b.Table(inText).MapValues(same, ttl) }, "keeps no store"},
		"nor here": {func(b *stream.Builder) {
			b.Table(inText).TransformValues(stream.FixedKeyProcessorFunc(forwardValue), ttl)
		}, "keeps no store"},
		"twice": {func(b *stream.Builder) {
			b.Table(inText, stream.Into(brief))
			b.Stream(toText).ToTable(stream.Into(brief))
		}, "two tables"},
		"streams": {func(b *stream.Builder) {
			b.Stream(inText).Join(b.Stream(toText), stream.Within(time.Minute), func(_, v, _ string) string { return v }, ttl)
		}, "Retention"},
		"two ways": {func(b *stream.Builder) { b.Table(inText, stream.Into(brief), ttl) }, "give it to the handle"},
		"global":   {func(b *stream.Builder) { b.GlobalTable(inText, ttl) }, "a table of the DSL"},
		"ids":      {func(b *stream.Builder) { b.Stream(inText).Deduplicate(same, time.Minute, ttl) }, "Retention"},
		"processor": {func(b *stream.Builder) {
			b.Stream(inText).Process(newWriting, stream.Uses(state.KeyValue[string, string]("shared", ttl)))
		}, "one row a key"},
		"bare": {func(b *stream.Builder) { b.Stream(inText).Process(newWriting, stream.Uses(brief)) }, "a table of the DSL"},
	} {
		b := stream.NewBuilder()
		c.build(b)
		_, err := b.Build(stream.Config{ApplicationID: "a"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if e, ok := errors.AsType[*stream.TopologyError](err); !ok || !strings.HasSuffix(e.File, "ttl_test.go") || e.Line == 0 {
			t.Errorf("%s: the fault is at no line of the program: %v", name, err)
		}
	}
}

// A table that ends rows keeps a changelog even where its source would do: that does not tell which rows have ended.
func TestTTLKeepsItsChangelog(t *testing.T) {
	t.Parallel()
	top, err := briefly().Build(stream.Config{ApplicationID: "a", Optimize: stream.ReuseSourceTopics})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(top.Graph().Topics, func(g stream.GraphTopic) bool { return g.Name == "a-brief-changelog" }) {
		t.Errorf("the topics are %v", top.Graph().Topics)
	}
}
