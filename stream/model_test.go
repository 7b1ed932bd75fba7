package stream_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// model is what a count and a sum must be, given what at-least-once says of a crash: the records since the last commit are
// processed again, upon the state that had been sent to the changelogs.
type model struct {
	counts, sums map[string]int64
	since        []piece // processed since the last commit
}

type piece struct {
	key string
	n   int64
}

func (m *model) add(p piece) {
	m.counts[p.key]++
	m.sums[p.key] += p.n
}

// TestStateAfterAnyCommitsAndCrashes drives a count and a reduce by random records, commits and crashes.
func TestStateAfterAnyCommitsAndCrashes(t *testing.T) {
	t.Parallel()
	hc, hs := state.TimestampedKeyValue[string, int64]("n"), state.TimestampedKeyValue[string, int64]("sum")
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		b := stream.NewBuilder()
		g := b.Stream[string, int64]("in").GroupByKey()
		g.Count(stream.Into(hc))
		g.Reduce(func(sum, n int64) int64 { return sum + n }, stream.Into(hs))
		d := streamtest.New(t, b, streamtest.WithPartitions(rapid.IntRange(1, 3).Draw(rt, "partitions")), streamtest.WithConfig(stream.Config{CommitInterval: time.Hour, CacheBytes: -1}))
		defer d.Close()
		in := d.Input(stream.Topic[string, int64]("in"))
		m := &model{counts: map[string]int64{}, sums: map[string]int64{}}
		rt.Repeat(map[string]func(*rapid.T){
			"pipe": func(rt *rapid.T) {
				p := piece{rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(rt, "key"), rapid.Int64Range(-5, 5).Draw(rt, "n")}
				in.Pipe(p.key, p.n)
				m.add(p)
				m.since = append(m.since, p)
			},
			"commit": func(*rapid.T) {
				d.Commit()
				m.since = nil
			},
			"crash": func(*rapid.T) {
				d.Crash()
				for _, p := range m.since {
					m.add(p)
				}
			},
			"": func(rt *rapid.T) {
				if got, want := fmt.Sprint(rows(rt, d.Store(hc)), rows(rt, d.Store(hs))), fmt.Sprint(m.counts, m.sums); got != want {
					rt.Fatalf("got %s, want %s\n%s", got, want, d.Transcript())
				}
			},
		})
	})
}

func rows(t *rapid.T, s state.TimestampedKeyValueStore[string, int64]) map[string]int64 {
	out := map[string]int64{}
	all := s.All()
	maps.Insert(out, all.All())
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// chain is the stateless chain whose cost is measured: numbers, so that the serdes allocate nothing either.
func chain(b *stream.Builder) {
	b.Stream[int64, int64]("in").
		Filter(func(_, v int64) bool { return v >= 0 }).
		MapValues(func(k, v int64) int64 { return k + v }).
		Map(func(k, v int64) (int64, int64) { return v, k }).
		FlatMapValues(func(_, v int64, emit func(int64)) { emit(v); emit(v + 1) }).
		Peek(func(int64, int64) {}).
		ForEach(func(int64, int64) {})
}

// Not parallel: it counts allocations.
func TestTheStatelessChainAllocatesNothing(t *testing.T) {
	run := stream.ChainForTest(t, chain)
	if n := testing.AllocsPerRun(1000, run); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func BenchmarkStatelessChain(b *testing.B) {
	run := stream.ChainForTest(b, chain)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkCount(b *testing.B) {
	run := stream.ChainForTest(b, func(s *stream.Builder) {
		s.Stream[int64, int64]("in").GroupByKey().Count().ToStream().To("out")
	})
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func TestRangesOfAStoreReadWhileItChanges(t *testing.T) {
	t.Parallel()
	h := state.KeyValue[string, string]("kv")
	b := stream.NewBuilder()
	b.Stream(texts).Process(newNothing, stream.Uses(h))
	d := streamtest.New(t, b)
	s := d.Store(h)
	for _, k := range []string{"a", "ab", "b", "ba", "bb", "c"} {
		if err := s.Put(k, "v"+k); err != nil {
			t.Fatal(err)
		}
	}
	if old, had, err := s.PutIfAbsent("a", "new"); old != "va" || !had || err != nil {
		t.Errorf("got %q %v %v", old, had, err)
	}
	if _, had, err := s.PutIfAbsent("d", "vd"); had || err != nil {
		t.Errorf("got %v %v", had, err)
	}
	for name, c := range map[string]struct {
		rows *state.Rows[string, string]
		want []string
	}{
		"range":   {s.Range("ab", "bb"), []string{"ab", "b", "ba", "bb"}},
		"reverse": {s.ReverseRange("a", "ba"), []string{"ba", "b", "ab", "a"}},
		"prefix":  {s.Prefix([]byte("b")), []string{"b", "ba", "bb"}},
		"back":    {s.ReverseAll(), []string{"d", "c", "bb", "ba", "b", "ab", "a"}},
	} {
		var got []string
		for k := range c.rows.All() {
			got = append(got, k)
		}
		if !slices.Equal(got, c.want) || c.rows.Err() != nil {
			t.Errorf("%s: %v (%v)", name, got, c.rows.Err())
		}
	}
	all := s.All()
	for k := range all.All() { // deleting what was just read, and putting behind it
		if old, had, err := s.Delete(k); !had || old != "v"+k || err != nil {
			t.Errorf("delete %q: %q %v %v", k, old, had, err)
		}
		if k == "a" {
			if err := s.Put("z", "vz"); err != nil {
				t.Error(err)
			}
		}
	}
	if n, err := s.ApproximateLen(); n != 0 || err != nil {
		t.Errorf("%d are left", n)
	}
}
