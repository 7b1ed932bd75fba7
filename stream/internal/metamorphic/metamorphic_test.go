package metamorphic

import (
	"cmp"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/state/pebble"
	"github.com/millrun/millrun/stream/streamtest"
)

// setting is how a topology is run.
type setting struct {
	partitions  int
	commitEvery int // records; 0 is after each
	crashEvery  int // commits; 0 is never. A crash comes right after a commit, so that nothing is done twice
	cache       int64
	memory      bool
	disk        bool // stores that do not say otherwise
	optimize    bool
}

func (s setting) String() string {
	return fmt.Sprintf("partitions=%d commitEvery=%d crashEvery=%d cache=%d memory=%v disk=%v optimize=%v",
		s.partitions, s.commitEvery, s.crashEvery, s.cache, s.memory, s.disk, s.optimize)
}

// plainly is the setting the others are compared with.
var plainly = setting{partitions: 1, cache: -1}

// settings are 24 others; each differs from its neighbours in several ways at once.
func settings() (out []setting) {
	partitions, commits, crashes, caches := []int{1, 2, 3, 5}, []int{0, 7, 100}, []int{0, 1, 5}, []int64{-1, 1 << 20, 300}
	for i := range 24 {
		out = append(out, setting{
			partitions: partitions[i%4], commitEvery: commits[i%3], crashEvery: crashes[(i/2)%3], cache: caches[(i/3)%3],
			memory: i%5 == 1, disk: commits[i%3] != 0 && i%4 < 2, optimize: (i/4)%2 == 1,
		})
	}
	return out
}

// event is a record of the random input.
type event struct {
	topic, key string
	value      int64
	none       bool
	at         int64
}

// closing is the first value of the records at the end, which take stream time far on in every partition.
const closing = int64(1_000_000_000)

// group maps a value to a key, and those of the closing records to keys of their own.
func group(n int64) func(string, int64) string {
	return func(_ string, v int64) string {
		if v >= closing {
			return "zz" + strconv.FormatInt(v%32, 10)
		}
		return "g" + strconv.FormatInt(((v%n)+n)%n, 10)
	}
}

func input(r *rand.Rand, n int) (out []event) {
	now := int64(10_000)
	for range n {
		now += r.Int64N(10)
		e := event{topic: []string{"a", "b"}[r.IntN(2)], key: "k" + strconv.Itoa(r.IntN(12)), value: r.Int64N(100), at: now}
		if r.IntN(5) == 0 {
			e.at -= r.Int64N(80)
		}
		e.none = r.IntN(12) == 0
		out = append(out, e)
	}
	for step := range int64(2) {
		for _, topic := range []string{"a", "b"} {
			for i := range int64(32) {
				out = append(out, event{topic: topic, key: "zz" + strconv.FormatInt(i, 10), value: closing + i, at: now + (step+1)*7_200_000})
			}
		}
	}
	return out
}

// weft is a topology in the making.
type weft struct {
	b      *stream.Builder
	memory bool
	said   []string
	names  int
}

func (w *weft) sayf(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

// kept is the options of a store.
func (w *weft) kept(name string) []stream.Materialized {
	out := []stream.Materialized{stream.As(name)}
	if w.memory {
		out = append(out, state.InMemory())
	}
	return out
}

// versions is the options of a table with versions, of which none is forgotten: what is depends on the partition's time.
func (w *weft) versions(name string) stream.Materialized {
	var opts []state.Option
	if w.memory {
		opts = append(opts, state.InMemory())
	}
	return stream.Into(state.Versioned[string, int64](name, day, opts...))
}

func (w *weft) name(base string) string {
	w.names++
	return base + "-" + strconv.Itoa(w.names)
}

type ints = stream.KStream[string, int64]

// stateless hangs up to three operators onto a stream.
func (w *weft) stateless(r *rand.Rand, s ints, rekey bool) ints {
	kinds := 5
	if rekey {
		kinds++
	}
	for range r.IntN(4) {
		switch n := r.Int64N(5) + 2; r.IntN(kinds) {
		case 0:
			w.sayf("filter v%%%d!=0", n)
			s = s.Filter(func(_ string, v int64) bool { return v%n != 0 || v >= closing })
		case 1:
			w.sayf("mapValues v+%d", n)
			s = s.MapValues(func(_ string, v int64) int64 {
				if v >= closing {
					return v
				}
				return v + n
			})
		case 2:
			w.sayf("flatMapValues v, v+%d", n)
			s = s.FlatMapValues(func(_ string, v int64, emit func(int64)) {
				emit(v)
				if v < closing {
					emit(v + n)
				}
			})
		case 3:
			w.sayf("split v%%%d", n)
			sw := s.Split()
			odd := sw.Branch(func(_ string, v int64) bool { return v%n == 1 })
			s = odd.Merge(sw.Default())
		case 4:
			w.sayf("repartition")
			s = s.Repartition(stream.Named(w.name("hop")))
		default:
			w.sayf("selectKey v%%%d", n)
			s = s.SelectKey(group(n))
		}
	}
	return s
}

func plus(a, b int64) int64              { return a + b }
func addTo(_ string, v, agg int64) int64 { return agg + v }
func pairUp(_ string, a, b int64) int64  { return a*1000 + b }
func joinLeft(_ string, a, b int64, ok bool) int64 {
	if !ok {
		return -a
	}
	return a*1000 + b
}

func joinOuter(_ string, a int64, aok bool, b int64, bok bool) int64 {
	switch {
	case !aok:
		return -1_000_000 - b
	case !bok:
		return -a
	default:
		return a*1000 + b
	}
}

// effect is what a setting may change about the records of a shape.
type effect int

const (
	nothing effect = iota
	updates        // the records between: two topics are read that one task writes, or several
	moments        // when a result is sent: that hangs on stream time, of which there is one for each partition
)

// shape is the part of a topology that keeps state.
type shape struct {
	name  string
	may   effect
	weave func(w *weft, r *rand.Rand, a, b ints) stream.KStream[string, int64]
}

// day is a grace that nothing in the input exceeds.
const day = 24 * time.Hour

func flat(t stream.KTable[stream.Windowed[string], int64]) ints {
	// As pointers, because a Map drops what has no value, and merged sessions are deleted.
	return stream.Values(stream.Pointers(t.ToStream()).SelectKey(func(k stream.Windowed[string], _ *int64) string {
		return fmt.Sprintf("%s@%d-%d", k.Key, k.Window.StartMs, k.Window.EndMs)
	}))
}

func shapes() []shape {
	return slices.Concat(keyedShapes(), windowedShapes(), joinedShapes(), versionedShapes())
}

func keyedShapes() []shape {
	return []shape{
		{"count", nothing, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return a.Merge(b).GroupByKey(stream.Named("grouped")).Count(w.kept("counts")...).ToStream()
		}},
		{"reduce by another key", nothing, func(w *weft, r *rand.Rand, a, b ints) ints {
			return a.Merge(b).GroupBy(group(r.Int64N(6)+2), stream.Named("grouped")).Reduce(plus, w.kept("sums")...).ToStream()
		}},
		{"two aggregations of one stream", updates, func(w *weft, r *rand.Rand, a, b ints) ints {
			s := a.Merge(b).SelectKey(group(r.Int64N(6) + 2))
			counts := s.GroupByKey().Count(w.kept("counts")...)
			sums := s.GroupByKey().Reduce(plus, w.kept("sums")...)
			return counts.Join(sums, pairUp).ToStream()
		}},
		{"cogroup", nothing, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return a.GroupByKey(stream.Named("ga")).Cogroup(addTo).
				Cogroup(b.GroupByKey(stream.Named("gb")), func(_ string, v, agg int64) int64 { return agg - v }).
				Aggregate(nil, w.kept("pairUp")...).ToStream()
		}},
		{"table regrouped", nothing, func(w *weft, r *rand.Rand, a, _ ints) ints {
			n := r.Int64N(6) + 2
			return a.ToTable(w.kept("rows")...).
				GroupBy(func(k string, v int64) (string, int64) { return group(n)(k, v), v }, stream.Named("regrouped")).
				Aggregate(nil, addTo, func(_ string, v, agg int64) int64 { return agg - v },
					append(w.kept("sums"), stream.DeleteWhen(func(v int64) bool { return v == 0 }))...).ToStream() // a cache may hide that a group was ever there
		}},
		{"table filtered and mapped", nothing, func(w *weft, _ *rand.Rand, a, _ ints) ints {
			return a.ToTable(w.kept("rows")...).
				Filter(func(_ string, v int64) bool { return v%3 != 0 }, w.kept("some")...).
				MapValues(func(_ string, v int64) int64 { return v * 2 }).ToStream()
		}},
	}
}

func windowedShapes() []shape {
	over := func(name string, over func(w *weft, s stream.KGroupedStream[string, int64]) stream.KTable[stream.Windowed[string], int64]) shape {
		return shape{name, nothing, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return flat(over(w, a.Merge(b).GroupByKey(stream.Named("grouped"))))
		}}
	}
	return []shape{
		over("tumbling", func(w *weft, g stream.KGroupedStream[string, int64]) stream.KTable[stream.Windowed[string], int64] {
			return stream.Tumbling(100*time.Millisecond).Grace(day).Over(g).Reduce(plus, w.kept("windows")...)
		}),
		over("hopping", func(w *weft, g stream.KGroupedStream[string, int64]) stream.KTable[stream.Windowed[string], int64] {
			return stream.Hopping(100*time.Millisecond, 30*time.Millisecond).Grace(day).Over(g).Aggregate(nil, addTo, w.kept("windows")...)
		}),
		over("sliding", func(w *weft, g stream.KGroupedStream[string, int64]) stream.KTable[stream.Windowed[string], int64] {
			return stream.Sliding(50 * time.Millisecond).Grace(day).Over(g).Count(w.kept("windows")...)
		}),
		over("session", func(w *weft, g stream.KGroupedStream[string, int64]) stream.KTable[stream.Windowed[string], int64] {
			return stream.Session(40*time.Millisecond).Grace(day).Over(g).
				Aggregate(nil, addTo, func(_ string, a, b int64) int64 { return a + b }, w.kept("sessions")...)
		}),
		{"tumbling on close", moments, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return flat(stream.Tumbling(100*time.Millisecond).Grace(time.Second).Over(a.Merge(b).GroupByKey(stream.Named("grouped"))).
				Emit(stream.OnClose).Reduce(plus, append(w.kept("windows"), state.Retention(day))...)) // longer than stream time jumps
		}},
		{"tumbling suppressed", moments, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return flat(stream.Tumbling(100*time.Millisecond).Grace(time.Second).Over(a.Merge(b).GroupByKey(stream.Named("grouped"))).
				Reduce(plus, w.kept("windows")...).Suppress(stream.UntilWindowCloses()))
		}},
	}
}

func joinedShapes() []shape {
	// Wider than records are out of order: one that comes later than its window is answered by what is there.
	within := stream.Within(100 * time.Millisecond).Grace(time.Second)
	counted := func(w *weft, s ints) ints { return s.GroupByKey().Reduce(plus, w.kept("joined")...).ToStream() }
	return []shape{
		{"inner join of streams", nothing, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return counted(w, a.Join(b, within, pairUp, stream.Named("joiner")))
		}},
		{"left join of streams", moments, func(_ *weft, _ *rand.Rand, a, b ints) ints {
			return a.LeftJoin(b, within, joinLeft, stream.Named("joiner"))
		}},
		{"outer join of streams", moments, func(_ *weft, _ *rand.Rand, a, b ints) ints {
			return a.OuterJoin(b, within, joinOuter, stream.Named("joiner"))
		}},
		{"stream joined with itself", nothing, func(w *weft, _ *rand.Rand, a, _ ints) ints {
			return counted(w, a.Join(a, within, pairUp, stream.Named("joiner")))
		}},
		{"left join with a table", updates, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return a.LeftJoinTable(b.ToTable(w.kept("rows")...), joinLeft, stream.Named("joiner"))
		}},
		{"join of tables", updates, func(w *weft, _ *rand.Rand, a, b ints) ints {
			// A cache hides from an inner join that a key was there on both sides if it has gone from both at once: as in Kafka
			// Streams, its result stays.
			uncached := state.Caching(false)
			return a.ToTable(append(w.kept("ra"), uncached)...).Join(b.ToTable(append(w.kept("rb"), uncached)...), pairUp).ToStream()
		}},
		{"outer join of tables", updates, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return a.ToTable(w.kept("ra")...).OuterJoin(b.ToTable(w.kept("rb")...), joinOuter, w.kept("joined")...).ToStream()
		}},
		{"join by a foreign key", updates, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return a.ToTable(w.kept("ra")...).LeftJoinForeign(b.ToTable(w.kept("rb")...),
				func(_ string, v int64) (string, bool) { return "k" + strconv.FormatInt(v%12, 10), v < closing },
				joinLeft, stream.Named("foreign")).ToStream()
		}},
	}
}

func versionedShapes() []shape {
	return []shape{
		{"table with versions regrouped", nothing, func(w *weft, r *rand.Rand, a, _ ints) ints {
			n := r.Int64N(6) + 2
			return a.ToTable(w.versions("rows")).
				GroupBy(func(k string, v int64) (string, int64) { return group(n)(k, v), v }, stream.Named("regrouped")).
				Aggregate(nil, addTo, func(_ string, v, agg int64) int64 { return agg - v },
					append(w.kept("sums"), stream.DeleteWhen(func(v int64) bool { return v == 0 }))...).ToStream()
		}},
		{"left join with a table with versions", updates, func(w *weft, _ *rand.Rand, a, b ints) ints {
			return a.LeftJoinTable(b.ToTable(w.versions("rows")), joinLeft, stream.Named("joiner"))
		}},
	}
}

// weave makes the topology of a seed: the same one for every setting. Its topics have a prefix.
func weave(seed uint64, memory bool, prefix string) (*stream.Builder, shape, string) {
	r := rand.New(rand.NewPCG(seed, 1))
	all := shapes()
	sh := all[int(seed)%len(all)]
	w := &weft{b: stream.NewBuilder(), memory: memory}
	joined := strings.Contains(sh.name, "join")
	a := w.stateless(r, w.b.Stream(stream.Topic[string, int64](prefix+"a")), !joined)
	w.sayf("and")
	b := w.stateless(r, w.b.Stream(stream.Topic[string, int64](prefix+"b")), !joined)
	if n := r.Int64N(6) + 2; joined && n%2 == 0 { // both alike, or nothing would meet
		w.sayf("both selectKey v%%%d", n)
		a, b = a.SelectKey(group(n)), b.SelectKey(group(n))
	}
	w.sayf("%s", sh.name)
	sh.weave(w, r, a, b).To(stream.Topic[string, int64](prefix + "out"))
	return w.b, sh, strings.Join(w.said, ", ")
}

// result is what a run left behind, the closing records' own left out.
type result struct {
	all    []string            // every record in order
	byKey  map[string][]string // the records of each key in order
	latest map[string]string   // the last value of each key
}

func run(t *testing.T, seed uint64, events []event, s setting) (result, shape, string) {
	t.Helper()
	b, sh, said := weave(seed, s.memory, "")
	c := stream.Config{CacheBytes: s.cache, Log: slog.New(slog.DiscardHandler)}
	if s.disk {
		c.Stores = pebble.Engine()
	}
	if s.optimize {
		c.Optimize = stream.AllOptimizations
	}
	if s.commitEvery > 0 {
		c.CommitInterval = 365 * day
	}
	d := streamtest.New(t, b, streamtest.WithConfig(c), streamtest.WithPartitions(s.partitions))
	defer d.Close()
	ins := map[string]*streamtest.TestInput[string, int64]{"a": d.Input[string, int64]("a"), "b": d.Input[string, int64]("b")}
	commits := 0
	commit := func() {
		for range 4 { // what leaves a cache goes through a topic and may wait in the next cache: as many times as there are hops
			d.Commit()
		}
		if commits++; s.crashEvery > 0 && commits%s.crashEvery == 0 {
			d.Crash()
		}
	}
	for i, e := range events {
		d.Advance(2 * time.Second) // so that no interval of the wall clock stands in the way
		ins[e.topic].PipeRecord(stream.Record[string, int64]{Key: e.key, Value: e.value, Tombstone: e.none, Timestamp: time.UnixMilli(e.at)})
		if s.commitEvery > 0 && i%s.commitEvery == s.commitEvery-1 || s.commitEvery == 0 && s.crashEvery > 0 && i%97 == 96 {
			commit()
		}
	}
	for range 4 {
		d.Commit()
	}
	return collect(d.Output[string, int64]("out").ReadAll()), sh, said
}

func collect(records []stream.Record[string, int64]) result {
	out := result{byKey: map[string][]string{}, latest: map[string]string{}}
	for _, r := range records {
		if strings.HasPrefix(r.Key, "zz") {
			continue
		}
		v := strconv.FormatInt(r.Value, 10)
		if r.Tombstone {
			v = "-"
		}
		line := fmt.Sprintf("%s=%s@%d", r.Key, v, r.Timestamp.UnixMilli())
		out.all = append(out.all, line)
		out.byKey[r.Key] = append(out.byKey[r.Key], line)
		out.latest[r.Key] = v
		if r.Tombstone {
			delete(out.latest, r.Key)
		}
	}
	return out
}

// differs says how two runs differ where they may not: in the final table never; in the records of a key where no cache holds
// any back; in the order of all where there is one partition.
func differs(want, got result, s setting, sh shape) string {
	if sh.may == moments {
		return firstDifference("all records, sorted", slices.Sorted(slices.Values(want.all)), slices.Sorted(slices.Values(got.all)))
	}
	if d := firstDifference("final table", rowLines(want.latest), rowLines(got.latest)); d != "" || s.cache > 0 || sh.may == updates && s.partitions > 1 {
		return d
	}
	if s.partitions == 1 && !s.optimize {
		return firstDifference("all records", want.all, got.all)
	}
	for _, k := range slices.Sorted(mapKeys(want.byKey, got.byKey)) {
		if d := firstDifference("records of "+k, want.byKey[k], got.byKey[k]); d != "" {
			return d
		}
	}
	return ""
}

func mapKeys(maps ...map[string][]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		seen := map[string]bool{}
		for _, m := range maps {
			for k := range m {
				if !seen[k] && !yield(k) {
					return
				}
				seen[k] = true
			}
		}
	}
}

func rowLines(m map[string]string) (out []string) {
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}

func firstDifference(what string, want, got []string) string {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			return fmt.Sprintf("%s: %d: nothing expected, got %s", what, i, got[i])
		case i >= len(got):
			return fmt.Sprintf("%s: %d: want %s, got nothing", what, i, want[i])
		case want[i] != got[i]:
			return fmt.Sprintf("%s: %d: want %s, got %s", what, i, want[i], got[i])
		}
	}
	return ""
}

// number reads a size of the test from the environment: make bench-models runs more than make test.
func sized(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

func TestNoSettingChangesTheAnswer(t *testing.T) {
	t.Parallel()
	runs, records := sized("METAMORPHIC_RUNS", len(shapes())), sized("METAMORPHIC_RECORDS", 300)
	first := sized("METAMORPHIC_SEED", 0)
	for i := range runs {
		seed := uint64(first + i)
		events := input(rand.New(rand.NewPCG(seed, 2)), records)
		want, sh, said := run(t, seed, events, plainly)
		if len(want.all) == 0 {
			t.Errorf("seed %d (%s) says nothing: a comparison of nothing", seed, said)
		}
		for _, s := range settings() {
			got, _, _ := run(t, seed, events, s)
			if d := differs(want, got, s, sh); d != "" {
				t.Errorf("seed %d (%s) under %s: %s", seed, said, s, d)
			}
		}
	}
}
