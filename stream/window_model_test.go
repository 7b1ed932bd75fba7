package stream_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// Models of windowed aggregations: what each kind of window is to hold, said by its definition and not record by record.

type (
	winKey  = stream.Windowed[string]
	winSums = map[winKey]int64
	timed   struct {
		key   string
		at, n int64
	}
)

const (
	timedIn stream.Topic[string, int64] = "in"
	sumsOut stream.Topic[winKey, int64] = "out"
)

// retainForLong keeps a store from forgetting anything.
var retainForLong = state.Retention(24 * time.Hour)

func milli(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// drawTimed draws records in any order of time.
func drawTimed(t *rapid.T, latest int64) []timed {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) timed {
		return timed{
			rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key"), rapid.Int64Range(0, latest).Draw(t, "at"), rapid.Int64Range(1, 9).Draw(t, "n"),
		}
	}), 0, 25).Draw(t, "records")
}

// sums runs records through a topology and returns the last value of each window; crash says after which records the
// application is started again.
func sums(t testing.TB, b *stream.Builder, records []timed, crash func(i int) bool) winSums {
	t.Helper()
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1}))
	defer d.Close()
	in, out := d.Input(timedIn), d.Output(sumsOut)
	for i, r := range records {
		in.PipeAt(time.UnixMilli(r.at), r.key, r.n)
		if crash(i) {
			d.Crash()
		}
	}
	got := winSums{}
	for _, r := range out.ReadAll() {
		if delete(got, r.Key); !r.Tombstone {
			got[r.Key] = r.Value
		}
	}
	return got
}

func uncrashed(int) bool { return false }

func add(x, y int64) int64 { return x + y }

// holding is the sums of the records that each of the windows [start, start+size] (or without its end) holds.
func holding(records []timed, starts map[string][]int64, size int64, inclusive bool) winSums {
	out := winSums{}
	for key, all := range starts {
		for _, s := range all {
			last := s + size
			if !inclusive {
				last--
			}
			for _, r := range records {
				if r.key == key && r.at >= s && r.at <= last {
					out[winKey{Key: key, Window: stream.Window{StartMs: s, EndMs: s + size}}] += r.n
				}
			}
		}
	}
	return out
}

func same(t *rapid.T, what string, got, want winSums) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("%s:\n got %s\nwant %s", what, listed(got), listed(want))
	}
}

func listed(s winSums) (out []string) {
	for k, v := range s {
		out = append(out, fmt.Sprintf("%s[%d,%d]=%d", k.Key, k.Window.StartMs, k.Window.EndMs, v))
	}
	slices.Sort(out)
	return out
}

// TestHoppingWindowsHoldWhatLiesInThem: in whatever order the records come, and whatever crashes between them.
func TestHoppingWindowsHoldWhatLiesInThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		size := rapid.Int64Range(1, 40).Draw(rt, "size")
		advance := rapid.Int64Range(1, size).Draw(rt, "advance")
		records := drawTimed(rt, 150)
		starts := map[string][]int64{"a": nil, "b": nil}
		for s := int64(0); s <= 150; s += advance {
			starts["a"], starts["b"] = append(starts["a"], s), append(starts["b"], s)
		}
		b := stream.NewBuilder()
		stream.Hopping(milli(size), milli(advance)).Grace(time.Hour).Over(b.Stream(timedIn).GroupByKey()).Reduce(add).ToStream().To(sumsOut)
		crashes := rapid.SliceOfN(rapid.Bool(), len(records), len(records)).Draw(rt, "crashes")
		same(rt, "sums", sums(t, b, records, func(i int) bool { return crashes[i] }), holding(records, starts, size, false))
	})
}

// TestClosedWindowsTakeNothing: a window takes a record if its end lies after the highest time so far less the grace period.
func TestClosedWindowsTakeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		size, grace := rapid.Int64Range(1, 40).Draw(rt, "size"), rapid.Int64Range(0, 60).Draw(rt, "grace")
		records := drawTimed(rt, 200)
		want, newest := winSums{}, int64(math.MinInt64)
		for _, r := range records {
			newest = max(newest, r.at)
			start := r.at / size * size
			if start+size > newest-grace {
				want[winKey{Key: r.key, Window: stream.Window{StartMs: start, EndMs: start + size}}] += r.n
			}
		}
		b := stream.NewBuilder()
		stream.Tumbling(milli(size)).Grace(milli(grace)).Over(b.Stream(timedIn).GroupByKey()).Reduce(add).ToStream().To(sumsOut)
		same(rt, "sums", sums(t, b, records, uncrashed), want)
	})
}

// TestSlidingWindowsHoldWhatLiesInThem: there is a window that ends with each record, and one that begins behind each record
// which another one follows near enough. Those that would begin before 1970 are one.
func TestSlidingWindowsHoldWhatLiesInThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		size := rapid.Int64Range(0, 40).Draw(rt, "difference")
		records := drawTimed(rt, 150)
		starts := map[string][]int64{}
		for _, r := range records {
			starts[r.key] = append(starts[r.key], max(0, r.at-size))
			for _, o := range records {
				if o.key == r.key && o.at > r.at && o.at <= r.at+1+size {
					starts[r.key] = append(starts[r.key], r.at+1)
				}
			}
		}
		for key, s := range starts {
			slices.Sort(s)
			starts[key] = slices.Compact(s)
		}
		b := stream.NewBuilder()
		stream.Sliding(milli(size)).Grace(time.Hour).Over(b.Stream(timedIn).GroupByKey()).Reduce(add).ToStream().To(sumsOut)
		crashes := rapid.SliceOfN(rapid.Bool(), len(records), len(records)).Draw(rt, "crashes")
		same(rt, "sums", sums(t, b, records, func(i int) bool { return crashes[i] }), holding(records, starts, size, true))
	})
}

// runs are the sessions of records that are all there, by sorting them.
func runs(records []timed, gap int64) winSums {
	sorted := slices.SortedFunc(slices.Values(records), func(a, b timed) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.at, b.at))
	})
	out := winSums{}
	var k winKey
	var sum int64
	for i, r := range sorted {
		if i == 0 || r.key != k.Key || r.at-k.Window.EndMs > gap {
			if i > 0 {
				out[k] = sum
			}
			k, sum = winKey{Key: r.key, Window: stream.Window{StartMs: r.at}}, 0
		}
		k.Window.EndMs, sum = r.at, sum+r.n
	}
	if len(sorted) > 0 {
		out[k] = sum
	}
	return out
}

func TestSessionsAreRunsOfRecords(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		gap := rapid.Int64Range(1, 40).Draw(rt, "gap")
		records := drawTimed(rt, 300)
		b := stream.NewBuilder()
		stream.Session(milli(gap)).Grace(time.Hour).Over(b.Stream(timedIn).GroupByKey()).Reduce(add).ToStream().To(sumsOut)
		crashes := rapid.SliceOfN(rapid.Bool(), len(records), len(records)).Draw(rt, "crashes")
		same(rt, "sums", sums(t, b, records, func(i int) bool { return crashes[i] }), runs(records, gap))
	})
}

// TestClosedSessionsTakeNothing: a record is dropped if even the session it would make has ended before the highest time so
// far less gap and grace. The store must not have forgotten what the model knows, so it keeps it for long.
func TestClosedSessionsTakeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		gap, grace := rapid.Int64Range(1, 40).Draw(rt, "gap"), rapid.Int64Range(0, 60).Draw(rt, "grace")
		records := drawTimed(rt, 300)
		want, newest := winSums{}, int64(math.MinInt64)
		for _, r := range records {
			newest = max(newest, r.at)
			own := winKey{Key: r.key, Window: stream.Window{StartMs: r.at, EndMs: r.at}}
			sum := r.n
			var near []winKey
			for k, v := range want {
				if k.Key == r.key && k.Window.EndMs >= r.at-gap && k.Window.StartMs <= r.at+gap {
					own.Window.StartMs, own.Window.EndMs = min(own.Window.StartMs, k.Window.StartMs), max(own.Window.EndMs, k.Window.EndMs)
					near, sum = append(near, k), sum+v
				}
			}
			if own.Window.EndMs < newest-grace-gap {
				continue
			}
			for _, k := range near {
				delete(want, k)
			}
			want[own] = sum
		}
		b := stream.NewBuilder()
		stream.Session(milli(gap)).Grace(milli(grace)).Over(b.Stream(timedIn).GroupByKey()).
			Reduce(add, retainForLong).ToStream().To(sumsOut)
		same(rt, "sums", sums(t, b, records, uncrashed), want)
	})
}

// TestWindowsLeaveOnceWhenTheyClose: of records in the order of time every closed window leaves once, with what it holds,
// whatever crashes in between; and nothing else does.
func TestWindowsLeaveOnceWhenTheyClose(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		size, grace := rapid.Int64Range(1, 40).Draw(rt, "size"), rapid.Int64Range(0, 30).Draw(rt, "grace")
		advance := rapid.Int64Range(1, size).Draw(rt, "advance")
		records := drawTimed(rt, 150)
		slices.SortStableFunc(records, func(a, b timed) int { return cmp.Compare(a.at, b.at) })
		kind := rapid.SampledFrom([]string{"hopping", "sliding", "session"}).Draw(rt, "kind")
		b := stream.NewBuilder()
		g := b.Stream(timedIn).GroupByKey()
		var want winSums
		var closed func(w stream.Window, newest int64) bool
		switch kind {
		case "hopping":
			stream.Hopping(milli(size), milli(advance)).Grace(milli(grace)).Over(g).Emit(stream.OnClose).Reduce(add, retainForLong).ToStream().To(sumsOut)
			starts := map[string][]int64{}
			for s := int64(0); s <= 150; s += advance {
				starts["a"], starts["b"] = append(starts["a"], s), append(starts["b"], s)
			}
			want = holding(records, starts, size, false)
			closed = func(w stream.Window, newest int64) bool { return w.EndMs <= newest-grace }
		case "sliding":
			stream.Sliding(milli(size)).Grace(milli(grace)).Over(g).Emit(stream.OnClose).Reduce(add, retainForLong).ToStream().To(sumsOut)
			starts := map[string][]int64{}
			for _, r := range records {
				starts[r.key] = append(starts[r.key], max(0, r.at-size))
				if slices.ContainsFunc(records, func(o timed) bool { return o.key == r.key && o.at > r.at && o.at <= r.at+1+size }) {
					starts[r.key] = append(starts[r.key], r.at+1)
				}
			}
			for key, s := range starts {
				slices.Sort(s)
				starts[key] = slices.Compact(s)
			}
			want = holding(records, starts, size, true)
			closed = func(w stream.Window, newest int64) bool { return w.EndMs < newest-grace }
		case "session":
			stream.Session(milli(size)).Grace(milli(grace)).Over(g).Emit(stream.OnClose).Reduce(add, retainForLong).ToStream().To(sumsOut)
			want = runs(records, size)
			closed = func(w stream.Window, newest int64) bool { return w.EndMs < newest-grace-size }
		}
		newest := int64(-1)
		for _, r := range records {
			if kind != "sliding" || r.at >= size { // an early record emits nothing
				newest = r.at
			}
		}
		maps.DeleteFunc(want, func(k winKey, _ int64) bool { return !closed(k.Window, newest) })

		d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1}))
		defer d.Close()
		in, out := d.Input(timedIn), d.Output(sumsOut)
		got := winSums{}
		for _, r := range records {
			in.PipeAt(time.UnixMilli(r.at), r.key, r.n)
			if rapid.IntRange(0, 3).Draw(rt, "crash") == 0 {
				d.Crash()
			}
		}
		for _, r := range out.ReadAll() {
			if _, twice := got[r.Key]; twice || r.Tombstone {
				rt.Fatalf("%v left twice, or without value", r)
			}
			got[r.Key] = r.Value
		}
		same(rt, kind, got, want)
	})
}
