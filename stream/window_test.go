package stream_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// inWindow is a key in the window of some milliseconds.
func inWindow(key string, start, end int64) winKey {
	return winKey{Key: key, Window: stream.Window{StartMs: start, EndMs: end}}
}

// counted counts the records of "in" over tumbling windows of 10 ms into "out".
func countedTens(b *stream.Builder) stream.KTable[winKey, int64] {
	t := stream.Tumbling(milli(10)).Over(b.Stream(timedIn).GroupByKey()).Count()
	t.ToStream().To(sumsOut)
	return t
}

func TestAWindowSaysItsTimes(t *testing.T) {
	t.Parallel()
	w := stream.Window{StartMs: 1000, EndMs: 61_000}
	if !w.Start().Equal(time.Unix(1, 0)) || !w.End().Equal(time.Unix(61, 0)) {
		t.Errorf("%v to %v", w.Start(), w.End())
	}
}

// TestRecordsThatWindowsDoNotTake: what has no key, comes too late, or has no value where one must be shown.
func TestRecordsThatWindowsDoNotTake(t *testing.T) {
	t.Parallel()
	keyless := stream.Record[string, int64]{Keyless: true, Value: 5, Timestamp: time.UnixMilli(3)}
	none := stream.Record[string, int64]{Key: "a", Tombstone: true, Timestamp: time.UnixMilli(3)}
	for name, c := range map[string]struct {
		build func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64]
		want  []winKey // what the records with and without value at 3 make
	}{
		"count": {func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64] {
			return stream.Tumbling(milli(10)).Over(g).Count()
		}, []winKey{inWindow("a", 0, 10), inWindow("a", 0, 10)}},
		"reduce": {func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64] {
			return stream.Tumbling(milli(10)).Over(g).Reduce(add)
		}, []winKey{inWindow("a", 0, 10)}},
		"sliding count": {func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64] {
			return stream.Sliding(milli(10)).Over(g).Count()
		}, []winKey{inWindow("a", 0, 10)}},
		"session count": {func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64] {
			return stream.Session(milli(10)).Over(g).Count()
		}, []winKey{inWindow("a", 3, 3), inWindow("a", 3, 3)}},
		"session reduce": {func(g stream.KGroupedStream[string, int64]) stream.KTable[winKey, int64] {
			return stream.Session(milli(10)).Over(g).Reduce(add)
		}, []winKey{inWindow("a", 3, 3)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := stream.NewBuilder()
			c.build(b.Stream(timedIn).GroupByKey()).ToStream().To(sumsOut)
			d := streamtest.New(t, b, uncached)
			in, out := d.Input(timedIn), d.Output(sumsOut)
			in.PipeRecord(keyless)
			in.PipeAt(time.UnixMilli(3), "a", 1)
			in.PipeRecord(none)
			in.PipeAt(time.UnixMilli(1000), "b", 1)
			in.PipeAt(time.UnixMilli(4), "a", 1) // late
			var got []winKey
			for _, r := range out.ReadAll() {
				if r.Key.Key != "b" {
					got = append(got, r.Key)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestTimesOfWindowedResults: of time windows the latest record's, of sessions the end; and only the first carry headers.
func TestTimesOfWindowedResults(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	g := b.Stream(timedIn).GroupByKey()
	stream.Tumbling(milli(100)).Over(g).Count().ToStream().To(sumsOut)
	const sessionsOut stream.Topic[winKey, int64] = "sessions"
	stream.Session(milli(50)).Over(g).Count().ToStream().To(sessionsOut)
	d := streamtest.New(t, b, uncached)
	in, out, sessions := d.Input(timedIn), d.Output(sumsOut), d.Output(sessionsOut)
	h := serde.Headers{{Key: "h", Value: []byte("x")}}
	in.PipeRecord(stream.Record[string, int64]{Key: "a", Timestamp: time.UnixMilli(40), Headers: h})
	in.PipeRecord(stream.Record[string, int64]{Key: "a", Timestamp: time.UnixMilli(20), Headers: h})
	got := out.ReadAll()
	if len(got) != 2 || got[1].Timestamp.UnixMilli() != 40 || len(got[1].Headers) != 1 {
		t.Errorf("windows: %v", got)
	}
	var times []int64
	for _, r := range sessions.ReadAll() {
		times = append(times, r.Timestamp.UnixMilli())
		if len(r.Headers) != 0 {
			t.Errorf("a session has the headers %v", r.Headers)
		}
	}
	if !slices.Equal(times, []int64{40, 40, 40}) { // [40,40], its end, [20,40]
		t.Errorf("sessions: %v", times)
	}
}

func TestAJoinedSessionTakesItsPartsAway(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	stream.Session(milli(10)).Grace(milli(100)).Over(b.Stream(timedIn).GroupByKey()).
		Aggregate(func() int64 { return 100 }, func(_ string, n, sum int64) int64 { return sum + n },
			func(_ string, a, b int64) int64 { return a + b - 100 }).
		ToStream().To(sumsOut)
	d := streamtest.New(t, b, uncached)
	in, out := d.Input(timedIn), d.Output(sumsOut)
	for _, r := range []timed{{"a", 0, 1}, {"a", 20, 2}, {"a", 10, 4}} {
		in.PipeAt(time.UnixMilli(r.at), r.key, r.n)
	}
	out.Want(out.R(inWindow("a", 0, 0), 101), out.R(inWindow("a", 20, 20), 102), out.D(inWindow("a", 0, 0)), out.D(inWindow("a", 20, 20)), out.R(inWindow("a", 0, 20), 107))
}

func TestUnlimitedWindowsNeverClose(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	stream.Unlimited(time.UnixMilli(100)).Over(b.Stream(timedIn).GroupByKey()).Reduce(add).ToStream().To(sumsOut)
	d := streamtest.New(t, b, uncached)
	in, out := d.Input(timedIn), d.Output(sumsOut)
	for _, r := range []timed{{"a", 99, 1}, {"a", 100, 2}, {"a", 1 << 50, 4}, {"a", 101, 8}} {
		in.PipeAt(time.UnixMilli(r.at), r.key, r.n)
	}
	k := inWindow("a", 100, 1<<63-1)
	out.Want(out.R(k, 2), out.R(k, 6), out.R(k, 14))
}

// TestResultsThatStandForNone: DeleteWhen deletes a window, and what comes next begins anew.
func TestResultsThatStandForNone(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	sums := state.Window[string, int64]("sums", milli(10), milli(10))
	stream.Tumbling(milli(10)).Over(b.Stream(timedIn).GroupByKey()).
		Reduce(add, stream.Into(sums), stream.DeleteWhen(func(n int64) bool { return n == 0 })).ToStream().To(sumsOut)
	d := streamtest.New(t, b, uncached)
	in, out := d.Input(timedIn), d.Output(sumsOut)
	for _, n := range []int64{5, -5, 7} {
		in.PipeAt(time.UnixMilli(3), "a", n)
	}
	k := inWindow("a", 0, 10)
	out.Want(out.R(k, 5), out.D(k), out.R(k, 7))
	if v, ok, err := d.Store(sums).Get("a", time.UnixMilli(0)); !ok || err != nil || v.Value != 7 || v.Time.UnixMilli() != 3 {
		t.Errorf("the store has %v %v %v", v, ok, err)
	}
}

// TestOldValuesOfAWindow: a table below that takes rows back is told what they were; of a new window that is what init made.
func TestOldValuesOfAWindow(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	const totals stream.Topic[string, int64] = "totals"
	countedTens(b).GroupBy(func(k winKey, n int64) (string, int64) { return "all", n }).
		Reduce(add, func(sum, n int64) int64 { return sum - n }).ToStream().To(totals)
	d := streamtest.New(t, b, uncached)
	in, out := d.Input(timedIn), d.Output(totals)
	for _, ms := range []int64{1, 2, 11} {
		in.PipeAt(time.UnixMilli(ms), "a", 0)
	}
	var got []int64
	for _, r := range out.ReadAll() {
		got = append(got, r.Value)
	}
	if got[len(got)-1] != 3 {
		t.Errorf("the total is %v, want 3 at last", got)
	}
}

func TestAFailingFunctionIsSettledByItsHandler(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad value")
	build := func() *stream.Builder {
		b := stream.NewBuilder()
		stream.Session(milli(10)).Over(b.Stream(timedIn).GroupByKey()).Aggregate(nil,
			func(_ string, n, sum int64) int64 {
				if n < 0 {
					panic(bad)
				}
				return sum + n
			}, func(_ string, a, b int64) int64 { return a + b }).ToStream().To(sumsOut)
		return b
	}
	d := streamtest.New(t, build())
	d.Input(timedIn).PipeAt(time.UnixMilli(1), "a", -1)
	var stopped *stream.TaskError
	if err := d.Err(); !errors.As(err, &stopped) || !errors.Is(err, bad) || stopped.Node != "KSTREAM-AGGREGATE-0000000002" {
		t.Errorf("got %v", err)
	}
	d = streamtest.New(t, build(), streamtest.WithConfig(stream.Config{
		CacheBytes: -1, ProcessingErrors: func(context.Context, stream.Failure) stream.Response { return stream.Continue() },
	}))
	in, out := d.Input(timedIn), d.Output(sumsOut)
	in.PipeAt(time.UnixMilli(1), "a", 1)
	in.PipeAt(time.UnixMilli(2), "a", -1)
	in.PipeAt(time.UnixMilli(3), "a", 2)
	got := out.ReadValues()
	if len(got) != 1 || got[0].Key != inWindow("a", 1, 3) || got[0].Value != 3 {
		t.Errorf("got %v", got)
	}
}

// TestWindowsThatAreNone: every mistake is told with its line, all at once.
func TestWindowsThatAreNone(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	g := b.Stream(timedIn).GroupByKey()
	stream.Tumbling(0).Over(g).Count()
	stream.Hopping(milli(10), milli(11)).Over(g).Count()
	stream.Hopping(milli(10), 1500*time.Microsecond).Over(g).Count()
	stream.Tumbling(milli(10)).Grace(-milli(1)).Over(g).Count()
	stream.Sliding(-milli(1)).Over(g).Count()
	stream.Unlimited(time.UnixMilli(-1)).Grace(milli(1)).Over(g).Emit(stream.OnClose).Count()
	stream.Session(0).Over(g).Count()
	stream.Tumbling(milli(10)).Grace(milli(5)).Over(g).Count(state.Retention(milli(14)))
	stream.Sliding(milli(10)).Grace(milli(5)).Over(g).Count(state.Retention(milli(24)))
	stream.Session(milli(10)).Grace(milli(5)).Over(g).Count(stream.Into(state.Session[string, int64]("short", milli(14))))
	stream.Tumbling(milli(10)).Over(g).Count(stream.Into(state.TimestampedKeyValue[string, int64]("no-windows")))
	stream.Session(milli(10)).Over(g).Count(stream.Into(state.Window[string, int64]("no-sessions", milli(10), milli(20))))
	stream.Tumbling(milli(10)).Over(g).Count(stream.ValueSerde(serde.String()))
	_, err := b.Build(stream.Config{ApplicationID: "x"})
	if err == nil {
		t.Fatal("all of it was taken")
	}
	for _, want := range []string{
		"the window's size is 0s: it must be whole milliseconds, 1ms or more",
		"windows of 10ms that start every 11ms leave gaps",
		"the window's advance is 1.5ms: it must be whole milliseconds",
		"Grace is -1ms", "Sliding is -1ms", "begins before 1970", "Unlimited has no end, and so no Grace", "an unlimited window never closes",
		"the session's gap is 0s",
		"the store keeps windows for 14ms: it must be size plus grace, 15ms, or more",
		"the store keeps windows for 24ms: it must be twice the difference plus grace, 25ms, or more",
		"the store keeps windows for 14ms: it must be gap plus grace, 15ms, or more",
		"Into needs a state.Window[string, int64]", "Into needs a state.Session[string, int64]",
		"ValueSerde is", "window_test.go:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q in\n%v", want, err)
		}
	}
}

// TestAWindowedKeyOfUnknownKind: only the table it comes from knows what kind of window it is.
func TestAWindowedKeyOfUnknownKind(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(sumsOut).To("copy")
	if _, err := b.Build(stream.Config{ApplicationID: "x"}); err == nil || !strings.Contains(err.Error(), "TimeWindowedSerde") {
		t.Errorf("got %v", err)
	}
	b = stream.NewBuilder()
	b.Stream(sumsOut, stream.KeySerde(stream.SessionWindowedSerde[string](nil))).To("copy")
	d := streamtest.New(t, b)
	d.Input(sumsOut).Pipe(inWindow("a", 3, 9), 1)
	copied := d.Output(stream.Topic[winKey, int64]("copy"))
	copied.Want(copied.R(inWindow("a", 3, 9), 1))
}

func TestBytesOfWindowedKeys(t *testing.T) {
	t.Parallel()
	m := serde.Meta{Topic: "t", IsKey: true, Headers: &serde.Headers{}}
	for name, c := range map[string]struct {
		s    serde.Serde[winKey]
		k    winKey
		want []byte
	}{
		"time":    {stream.TimeWindowedSerde(serde.String(), milli(50)), inWindow("a", 7, 57), []byte("a\x00\x00\x00\x00\x00\x00\x00\x07")},
		"session": {stream.SessionWindowedSerde[string](nil), inWindow("a", 7, 9), []byte("a\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x07")},
		"endless": {stream.TimeWindowedSerde[string](nil, 1<<63-1), inWindow("a", 7, 1<<63-1), []byte("a\x00\x00\x00\x00\x00\x00\x00\x07")},
	} {
		b, err := c.s.Append(nil, c.k, m)
		if err != nil || string(b) != string(c.want) {
			t.Errorf("%s: wrote %q, %v", name, b, err)
		}
		if k, err := c.s.Decode(b, m); err != nil || k != c.k {
			t.Errorf("%s: read %v, %v", name, k, err)
		}
		if _, err := c.s.Decode(b[:7], m); err == nil {
			t.Errorf("%s: seven bytes were read", name)
		}
	}
	type odd struct{ F func() }
	if _, err := stream.TimeWindowedSerde[chan odd](nil, milli(1)).Append(nil, stream.Windowed[chan odd]{}, m); err == nil {
		t.Error("a channel was written")
	}
}

// TestAKeysWindowsLieWithTheKey: a sink of windowed keys chooses the partition by the key alone.
func TestAKeysWindowsLieWithTheKey(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	g := b.Stream(timedIn).GroupByKey()
	countedTens(b)
	stream.Session(milli(10)).Over(g).Count().ToStream().To("sessions")
	d := streamtest.New(t, b, uncached, streamtest.WithPartitions(7))
	in := d.Input(timedIn)
	for _, key := range []string{"a", "b", "user-42"} {
		in.PipeAt(time.UnixMilli(1003), key, 1)
		seen := 0
		for _, s := range d.Sent() {
			if !s.Internal {
				seen++
				if want := layout.Partition([]byte(key), 7); s.Partition != want {
					t.Errorf("%s: %s of %q in partition %d, want %d", s.Topic, s.Key, key, s.Partition, want)
				}
			}
		}
		if seen != 2 {
			t.Errorf("%q: %d records left", key, seen)
		}
	}
}

// TestAHandledSerdeServesWindowedKeys: the registry is asked for the key's serde, not for the windowed one's.
func TestTheRegistryServesKeysInWindows(t *testing.T) {
	t.Parallel()
	type id string
	var r serde.Registry
	r.Register(serde.Convert(serde.String(), func(k id) string { return "<" + string(k) + ">" }, func(s string) (id, error) {
		return id(strings.Trim(s, "<>")), nil
	}))
	b := stream.NewBuilder()
	stream.Tumbling(milli(10)).Over(b.Stream[id, int64]("in").GroupByKey()).Count().
		Filter(func(stream.Windowed[id], int64) bool { return true }, stream.As("kept")).ToStream().To("out")
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1, Serdes: &r}))
	d.Input(stream.Topic[id, int64]("in")).PipeAt(time.UnixMilli(3), "x", 1)
	var got []string
	for _, s := range d.Sent() {
		got = append(got, string(s.Key[:3]))
	}
	if !slices.Equal(got, []string{"<x>", "<x>", "<x>"}) { // two changelogs and the topic
		t.Errorf("keys begin with %q", got)
	}
}
