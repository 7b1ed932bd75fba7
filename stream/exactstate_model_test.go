package stream_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
)

// tallies count what comes: in its own task, behind a repartition, behind two, in windows behind a repartition, and how often the
// final result of each window came.
func tallies() *stream.Builder {
	b := stream.NewBuilder()
	in := b.Stream[string, string]("in")
	in.GroupByKey().Count(stream.As("direct"))
	hop := in.GroupBy(func(_, v string) string { return v }, stream.Named("hop")).Count(stream.As("hop"))
	hop.ToStream().FlatMap(func(k string, n int64, emit func(string, string)) {
		emit(fmt.Sprint(k, n%2), k)
		emit("all", k)
	}).GroupByKey(stream.Named("two")).Count(stream.As("two"))
	stream.Tumbling(10*time.Millisecond).Grace(0).
		Over(in.GroupBy(func(_, v string) string { return v }, stream.Named("windowed"))).
		Count(stream.As("windows")).
		Suppress(stream.UntilWindowCloses(), stream.Named("finals")).ToStream().
		Map(func(w stream.Windowed[string], _ int64) (string, string) {
			return fmt.Sprint(w.Key, w.Window.Start().UnixMilli()), ""
		}).
		GroupByKey(stream.Named("ends")).Count(stream.As("ends"))
	return b
}

// inLog is what a changelog of counts says.
func (w *fleet) inLog(store string) map[string]int64 {
	out := map[string]int64{}
	for k, v := range w.texts(store) {
		out[k] = int64(binary.BigEndian.Uint64([]byte(v)))
	}
	return out
}

// tally draws records, commits and crashes of single tasks, and returns the fleet once everything has come to rest and all tasks
// have begun anew from their changelogs.
func tally(t testing.TB, rt *rapid.T) (w *fleet, direct, hop map[string]int64) {
	w = newFleet(t, tallies(), stream.Config{ApplicationID: "app", Guarantee: stream.ExactState, MaxTaskIdle: -1}, map[string]int32{"in": 2})
	direct, hop = map[string]int64{}, map[string]int64{}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	now := int64(0)
	rt.Repeat(map[string]func(*rapid.T){
		"pipe": func(rt *rapid.T) {
			k, v := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "key"), rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "value")
			now = max(0, now+rapid.Int64Range(-3, 6).Draw(rt, "step"))
			w.pipe("in", k, []byte(v), now)
			direct[k]++
			hop[v]++
		},
		"deliver": func(rt *rapid.T) { must(w.deliverAny(rt)) },
		"commit":  func(rt *rapid.T) { must(w.commit(rapid.SampledFrom(w.tasks).Draw(rt, "task"))) },
		"crash":   func(rt *rapid.T) { must(w.crash(rapid.SampledFrom(w.tasks).Draw(rt, "task"))) },
	})
	for ways := w.ways(); len(ways) > 0; ways = w.ways() {
		must(w.deliver(ways[0]))
	}
	for _, r := range w.tasks {
		must(w.commit(r))
		must(w.crash(r))
	}
	return w, direct, hop
}

// deliverAny delivers the next record of one of the topics that have one.
func (w *fleet) deliverAny(rt *rapid.T) error {
	ways := w.ways()
	if len(ways) == 0 {
		return nil
	}
	return w.deliver(ways[rapid.IntRange(0, len(ways)-1).Draw(rt, "way")])
}

// inStore is what the tasks' stores say after all.
func (w *fleet) inStore(name string) map[string]int64 {
	out := map[string]int64{}
	for _, r := range w.tasks {
		s, ok := r.Store(name)
		if !ok {
			continue
		}
		for key, past := []byte(nil), false; ; past = true {
			k, v, ok, _ := s.Seek(key, false, past)
			if !ok {
				break
			}
			key = append([]byte(nil), k...)
			out[string(k)] = int64(binary.BigEndian.Uint64(v[8:]))
		}
	}
	return out
}

func TestExactStateCountsEachRecordOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		w, direct, hop := tally(t, rt)
		defer w.close()
		for store, want := range map[string]map[string]int64{"direct": direct, "hop": hop} {
			if got := w.inLog(store); !maps.Equal(got, want) {
				rt.Fatalf("the changelog of %s says %v, want %v", store, got, want)
			}
			if got := w.inStore(store); !maps.Equal(got, want) {
				rt.Fatalf("store %s has %v, want %v", store, got, want)
			}
		}
		var updates int64
		for _, n := range hop {
			updates += n
		}
		if got := w.inLog("two")["all"]; got != updates {
			rt.Fatalf("behind two repartitions %d were counted, want %d", got, updates)
		}
		for window, n := range w.inLog("ends") {
			if n != 1 {
				rt.Fatalf("window %s ended %d times", window, n)
			}
		}
	})
}

// counting is a fleet that counts keys, of records that pass.
func counting(t *testing.T, passes func() bool) (w *fleet, step func(key string), restart func()) {
	t.Helper()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").Filter(func(string, string) bool { return passes() }).GroupByKey().Count(stream.As("direct"))
	w = newFleet(t, b, stream.Config{ApplicationID: "app", Guarantee: stream.ExactState}, map[string]int32{"in": 1})
	step = func(key string) {
		if key != "" {
			w.pipe("in", key, []byte("v"), 0)
		}
		for ways := w.ways(); len(ways) > 0; ways = w.ways() {
			if err := w.deliver(ways[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	restart = func() {
		if err := w.crash(w.tasks[0]); err != nil {
			t.Fatal(err)
		}
	}
	return w, step, restart
}

// TestWhatIsLeftOutIsNotResurrected lets a record do another thing when it is processed again: what it wrote the first time must
// not come back once its offset is committed.
func TestWhatIsLeftOutIsNotResurrected(t *testing.T) {
	t.Parallel()
	passes := true
	w, step, restart := counting(t, func() bool { return passes })
	step("a")
	restart()
	passes = false
	step("")
	if err := w.commit(w.tasks[0]); err != nil {
		t.Fatal(err)
	}
	restart()
	if got := w.inStore("direct"); len(got) != 0 {
		t.Errorf("the store has %v, which no committed record wrote", got)
	}
	if got := w.inLog("direct"); len(got) != 0 {
		t.Errorf("the changelog says %v, which no committed record wrote", got)
	}
}
