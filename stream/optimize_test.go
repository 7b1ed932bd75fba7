package stream_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// kitchen uses everything that can be optimized: a table of a source topic, a changed key with several aggregates and a
// join, a merge of two changed keys, and a stream joined with itself.
func kitchen() *stream.Builder {
	b := stream.NewBuilder()
	in := b.Stream(textIn)
	rows := b.Table(textual("table"), stream.As("rows"))
	in.JoinTable(rows, func(_, v, row string) string { return v + row }).To("joined")
	k := in.SelectKey(func(_, v string) string { return v[:1] })
	k.GroupByKey().Count(stream.As("counts"), state.NoLogging())
	k.Filter(func(_, v string) bool { return len(v) > 1 }).GroupByKey().Reduce(func(a, v string) string { return a + v }, stream.As("lists"))
	k.MapValues(func(_, v string) int64 { return int64(len(v)) }).GroupByKey().Reduce(func(a, n int64) int64 { return a + n }, stream.As("lengths"))
	other := b.Stream(textual("other")).SelectKey(func(_, v string) string { return v[:1] })
	k.Merge(other).GroupByKey().Count(stream.As("merged"))
	in.Join(in, stream.Within(10*time.Millisecond), func(_, a, b string) string { return a + "+" + b }, stream.As("pairs")).To("pairs")
	rows.GroupBy(func(_, v string) (string, string) { return v, v }).Count(stream.As("by-value"))
	return b
}

func TestOptimizationsChangeTopicsAndStores(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    stream.Optimization
		want string
	}{
		{"none", 0, "by-value-changelog by-value-repartition counts-repartition lengths-changelog lengths-repartition lists-changelog lists-repartition merged-changelog merged-repartition pairs-other-join-store-changelog pairs-this-join-store-changelog rows-changelog"},
		{"sources", stream.ReuseSourceTopics, "by-value-changelog by-value-repartition counts-repartition lengths-changelog lengths-repartition lists-changelog lists-repartition merged-changelog merged-repartition pairs-other-join-store-changelog pairs-this-join-store-changelog table"},
		{"self-joins", stream.SingleStoreSelfJoin, "by-value-changelog by-value-repartition counts-repartition lengths-changelog lengths-repartition lists-changelog lists-repartition merged-changelog merged-repartition pairs-this-join-store-changelog rows-changelog"},
	} {
		top, err := kitchen().Build(stream.Config{ApplicationID: "app", Optimize: c.o})
		if err != nil {
			t.Fatal(err)
		}
		if got := internalTopics(top); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// internalTopics are the names without the application's, sorted.
func internalTopics(top *stream.Topology) string {
	var names []string
	for _, x := range top.Graph().Topics {
		names = append(names, strings.TrimPrefix(x.Name, "app-"))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// TestMergedRepartitionsAreOneBelowTheKeyChanger shows the plan before and after, as far as repartition topics go.
func TestMergedRepartitionsAreOneBelowTheKeyChanger(t *testing.T) {
	t.Parallel()
	build := func(b *stream.Builder) {
		k := b.Stream(textIn).SelectKey(func(_, v string) string { return v })
		k.Peek(func(_, _ string) {}).GroupByKey(stream.Named("first")).Count(stream.As("one"))
		k.GroupByKey().Count(stream.As("two"))
		k.MapValues(func(_, v string) int { return len(v) }).GroupByKey().Count(stream.As("blocked"))
		k.Repartition(stream.Named("asked")).GroupByKey().Count(stream.As("three"))
		k.Process(stream.ProcessorFunc(func(c *stream.ProcessorContext[string, int], r stream.Record[string, string]) error {
			return c.Emit(r.Value, 1)
		})).GroupByKey().Count(stream.As("processed"))
		k.ProcessValues(stream.FixedKeyProcessorFunc(func(c *stream.FixedKeyProcessorContext[string, int], r stream.FixedKeyRecord[string, string]) error {
			return c.Forward(r.WithValue(1))
		})).GroupByKey().Count(stream.As("revalued"))
	}
	for o, want := range map[stream.Optimization]string{
		0:                             "asked blocked first processed revalued two",
		stream.MergeRepartitionTopics: "asked blocked first processed revalued",
	} {
		b := stream.NewBuilder()
		build(b)
		top, err := b.Build(stream.Config{ApplicationID: "app", Optimize: o})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range top.Graph().Topics {
			if name, ok := strings.CutSuffix(strings.TrimPrefix(x.Name, "app-"), "-repartition"); ok {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if all := strings.Join(got, " "); all != want {
			t.Errorf("optimize %d: repartitions are %s, want %s", o, all, want)
		}
		d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{Optimize: o}))
		d.Input(textIn).Pipe("k", "v")
		for _, name := range []string{"one", "two", "blocked", "three", "processed", "revalued"} {
			if n, ok, err := d.Store(state.TimestampedKeyValue[string, int64](name)).Get("v"); err != nil || !ok || n != 1 {
				t.Errorf("optimize %d: %s has %d %v %v", o, name, n, ok, err)
			}
		}
	}
}

// TestOptimizationsChangeNoResult compares a random input, with crashes, under some optimizations and under none.
func TestOptimizationsChangeNoResult(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		steps := rapid.SliceOfN(rapid.Custom(kitchenStep), 1, 30).Draw(rt, "steps")
		o := stream.Optimization(rapid.UintRange(1, uint(stream.AllOptimizations)).Draw(rt, "optimize"))
		partitions := rapid.IntRange(1, 3).Draw(rt, "partitions")
		want := kitchenRun(t, 0, 1, steps)
		if got := kitchenRun(t, o, partitions, steps); got != want {
			rt.Fatalf("optimize %03b with %d partitions:\ngot\n%swant\n%s", o, partitions, got, want)
		}
	})
}

// kitchenStep is a step of the kitchen's input.
func kitchenStep(rt *rapid.T) [3]string {
	return [3]string{
		rapid.SampledFrom([]string{"in", "other", "table", "table", "crash", "delete"}).Draw(rt, "what"),
		rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key"),
		rapid.SampledFrom([]string{"x", "y", "xy", "yx", "z"}).Draw(rt, "value"),
	}
}

// kitchenRun returns the contents of all tables at the end.
func kitchenRun(t testing.TB, o stream.Optimization, partitions int, steps [][3]string) string {
	d := streamtest.New(t, kitchen(), streamtest.WithConfig(stream.Config{Optimize: o, CacheBytes: -1}), streamtest.WithPartitions(partitions))
	defer d.Close()
	for i, s := range steps {
		switch s[0] {
		case "crash":
			d.Crash()
		case "delete":
			d.Input(textual("table")).Delete(s[1])
		default:
			d.Input(textual(s[0])).PipeAt(time.UnixMilli(int64(i)), s[1], s[2])
		}
	}
	var out strings.Builder
	for _, name := range []string{"lists", "rows"} {
		table(&out, d, state.TimestampedKeyValue[string, string](name))
	}
	for _, name := range []string{"lengths", "merged", "by-value"} {
		table(&out, d, state.TimestampedKeyValue[string, int64](name))
	}
	pairs := map[string]int{}
	for _, topic := range []textual{"pairs", "joined"} {
		for _, r := range d.Output(topic).ReadAll() {
			pairs[fmt.Sprint(topic, " ", r.Key, " ", r.Value, " ", r.Timestamp.UnixMilli())]++
		}
	}
	for _, p := range slices.Sorted(maps.Keys(pairs)) {
		fmt.Fprintf(&out, "%s: %d\n", p, pairs[p])
	}
	return out.String()
}

func table[V any](w *strings.Builder, d *streamtest.Driver, h state.Handle[state.TimestampedKeyValueStore[string, V], state.ReadOnlyTimestampedKeyValueStore[string, V]]) {
	for k, v := range d.Store(h).All().All() {
		fmt.Fprintf(w, "%s %s=%v\n", h.Name(), k, v)
	}
}

func TestATableThatDropsRowsKeepsItsChangelog(t *testing.T) {
	t.Parallel()
	for _, empty := range []bool{false, true} {
		b := stream.NewBuilder()
		opts := []stream.TableSource{stream.As("rows")}
		if empty {
			opts = append(opts, stream.DeleteWhen(func(v string) bool { return v == "" }))
		}
		b.Table(textual("table"), opts...)
		d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{Optimize: stream.ReuseSourceTopics}))
		in := d.Input(textual("table"))
		in.Pipe("a", "x")
		in.Pipe("a", "")
		d.Crash()
		v, ok, err := d.Store(state.TimestampedKeyValue[string, string]("rows")).Get("a")
		if err != nil || v != "" || ok == empty {
			t.Errorf("DeleteWhen %v: the row is %q %v %v after a crash", empty, v, ok, err)
		}
	}
}
