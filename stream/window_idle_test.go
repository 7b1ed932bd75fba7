package stream_test

import (
	"slices"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// TestWindowsCloseWhenTheirInputIsQuiet: with Idle the last result does not wait for a record that never comes.
func TestWindowsCloseWhenTheirInputIsQuiet(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64]{
		"tumbling": func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64] {
			return stream.Tumbling(10 * time.Second).Idle(3 * time.Second).Over(g).Emit(stream.OnClose).Count()
		},
		"sliding": func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64] {
			return stream.Sliding(10 * time.Second).Idle(3 * time.Second).Over(g).Emit(stream.OnClose).Count()
		},
		"session": func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64] {
			return stream.Session(10 * time.Second).Idle(3 * time.Second).Over(g).Emit(stream.OnClose).Count()
		},
		"suppressed": func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64] {
			return stream.Tumbling(10 * time.Second).Idle(3 * time.Second).Over(g).Count().Suppress(stream.UntilWindowCloses())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := stream.NewBuilder()
			build(b.Stream(timedIn).GroupByKey()).ToStream().To(sumsOut)
			d := streamtest.New(t, b, streamtest.StartAt(noon))
			in, out := d.Input(timedIn), d.Output(sumsOut)
			in.PipeAt(time.Unix(100, 0), "a", 1)
			d.Advance(2 * time.Second)
			in.PipeAt(time.Unix(100, 0), "a", 1) // the input is not quiet
			d.Advance(9 * time.Second)
			if got := out.ReadAll(); name != "sliding" && len(got) != 0 {
				t.Fatalf("too early: %v", got)
			}
			d.Advance(4 * time.Second)
			got := out.ReadAll()
			if name != "sliding" && (len(got) != 1 || got[0].Value != 2) {
				t.Fatalf("got %v", got)
			}
			in.PipeAt(time.Unix(100, 0), "a", 1) // too late for what has left
			in.PipeAt(time.Unix(500, 0), "b", 1)
			d.Advance(time.Second)
			if slices.ContainsFunc(out.ReadAll(), func(r stream.Record[winKey, int64]) bool { return r.Key.Key == "a" }) {
				t.Error("a result left twice")
			}
		})
	}
}

// TestResultsLeaveOnceInAnInterval: however many windows close meanwhile.
func TestResultsLeaveOnceInAnInterval(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	stream.Tumbling(milli(10)).Over(b.Stream(timedIn).GroupByKey()).Emit(stream.OnClose).Count(retainForLong).ToStream().To(sumsOut)
	d := streamtest.New(t, b, uncached, streamtest.EmitInterval(time.Second))
	in, out := d.Input(timedIn), d.Output(sumsOut)
	for ms := int64(0); ms < 50; ms += 10 {
		in.PipeAt(time.UnixMilli(ms), "a", 1)
	}
	out.Want() // the first record has used the moment
	d.Advance(time.Second)
	in.PipeAt(time.UnixMilli(50), "a", 1)
	if got := out.ReadAll(); len(got) != 5 || got[0].Key != inWindow("a", 0, 10) || got[4].Key != inWindow("a", 40, 50) {
		t.Errorf("got %v", got)
	}
}
