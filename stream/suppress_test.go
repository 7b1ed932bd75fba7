package stream_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// tick is so many milliseconds after 1970.
func tick(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// millis is so many milliseconds.
func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// suppressed runs a table of texts that is held back.
func suppressed(t testing.TB, s stream.Suppressed, opts ...streamtest.Option) (*streamtest.Driver, *streamtest.TestInput[string, string]) {
	t.Helper()
	b := stream.NewBuilder()
	b.Table(texts).Suppress(s, stream.Named("hold")).ToStream().To(outs)
	d := streamtest.New(t, b, opts...)
	return d, d.Input(texts)
}

// sent is what came out since the last time: key=value@time, "-" for a tombstone.
func sent(d *streamtest.Driver) string {
	var all []string
	for _, r := range d.Output(outs).ReadAll() {
		v := r.Value
		if r.Tombstone {
			v = "-"
		}
		all = append(all, fmt.Sprintf("%s=%s@%d", r.Key, v, r.Timestamp.UnixMilli()))
	}
	return strings.Join(all, " ")
}

func wantSent(t *testing.T, d *streamtest.Driver, want string) {
	t.Helper()
	if got := sent(d); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSuppressHoldsTheLastChangeForATime(t *testing.T) {
	t.Parallel()
	d, in := suppressed(t, stream.UntilTimeLimit(millis(10)))
	in.PipeAt(tick(100), "a", "1")
	in.PipeAt(tick(105), "a", "2") // does not start the time anew
	in.PipeAt(tick(103), "b", "1")
	in.PipeAt(tick(109), "c", "1")
	wantSent(t, d, "")
	in.PipeAt(tick(110), "d", "1")
	wantSent(t, d, "a=2@105")
	in.PipeAt(tick(90), "e", "late") // it is over at once, but time does not go back
	wantSent(t, d, "e=late@90")
	in.PipeRecord(stream.Record[string, string]{Key: "b", Timestamp: tick(111), Tombstone: true})
	in.PipeAt(tick(140), "a", "3")
	wantSent(t, d, "b=-@111 c=1@109 d=1@110")
}

func TestSuppressKeepsTheHeadersOfTheLastChange(t *testing.T) {
	t.Parallel()
	d, in := suppressed(t, stream.UntilTimeLimit(millis(10)))
	in.PipeRecord(stream.Record[string, string]{Key: "a", Value: "1", Timestamp: tick(1), Headers: serde.Headers{{Key: "h", Value: []byte("1")}}})
	in.PipeRecord(stream.Record[string, string]{Key: "a", Value: "2", Timestamp: tick(2), Headers: serde.Headers{{Key: "h", Value: []byte("2")}, {Key: "n"}}})
	in.PipeAt(tick(20), "b", "1")
	r, ok := d.Output(outs).Read()
	if !ok || len(r.Headers) != 2 || string(r.Headers[0].Value) != "2" || r.Headers[1].Value != nil {
		t.Errorf("got %v", r.Headers)
	}
	wantSent(t, d, "")
}

func TestAFullBufferStopsTheTask(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]stream.Suppressed{
		"records": stream.UntilTimeLimit(time.Hour).MaxRecords(2),
		"bytes":   stream.UntilTimeLimit(time.Hour).MaxBytes(100),
	} {
		d, in := suppressed(t, s)
		in.PipeAt(tick(1), "a", "1")
		in.PipeAt(tick(2), "b", "1")
		in.PipeAt(tick(3), "a", "2")
		if err := d.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		in.PipeAt(tick(4), "c", "1")
		if err := d.Err(); !errors.Is(err, stream.ErrBufferFull) || !strings.Contains(err.Error(), "hold") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFullBufferEmitsTheOldest(t *testing.T) {
	t.Parallel()
	d, in := suppressed(t, stream.UntilTimeLimit(time.Hour).MaxRecords(2).EmitEarlyWhenFull())
	for i, k := range []string{"b", "a", "b", "c", "d"} {
		in.PipeAt(tick(int64(i)), k, fmt.Sprint(i))
	}
	wantSent(t, d, "b=2@2 a=1@1")
	d, in = suppressed(t, stream.UntilTimeLimit(time.Hour).MaxBytes(0).EmitEarlyWhenFull())
	in.PipeAt(tick(1), "a", "1")
	wantSent(t, d, "a=1@1")
}

func TestTheBufferOutlivesItsTask(t *testing.T) {
	t.Parallel()
	d, in := suppressed(t, stream.UntilTimeLimit(millis(10)))
	in.PipeAt(tick(1), "a", "1")
	in.PipeAt(tick(2), "b", "1")
	in.PipeAt(tick(3), "a", "2")
	d.Crash()
	wantSent(t, d, "")
	in.PipeAt(tick(11), "c", "1")
	wantSent(t, d, "a=2@3")
	d.Crash()
	in.PipeAt(tick(12), "a", "3")
	wantSent(t, d, "b=1@2")

	d, in = suppressed(t, stream.UntilTimeLimit(millis(10)).Logging(nil))
	in.PipeAt(tick(1), "a", "1")
	d.Crash()
	in.PipeAt(tick(100), "b", "1")
	wantSent(t, d, "")
	if strings.Contains(d.Transcript(), "hold-store-changelog") {
		t.Error("there is a changelog")
	}
}

// TestWhatIsHeldBackHasNotHappenedYet joins with a suppressed table: what the join finds there is what was there before.
func TestWhatIsHeldBackHasNotHappenedYet(t *testing.T) {
	t.Parallel()
	asked := stream.Topic[string, string]("asked")
	b := stream.NewBuilder()
	held := b.Table(texts).Suppress(stream.UntilTimeLimit(millis(10)))
	b.Stream(asked).LeftJoinTable(held, func(_, q, v string, ok bool) string { return fmt.Sprintf("%s:%s:%v", q, v, ok) }).To(outs)
	d := streamtest.New(t, b)
	in, ask := d.Input(texts), d.Input(asked)
	ask.PipeAt(tick(0), "a", "nothing")
	in.PipeAt(tick(1), "a", "1")
	ask.PipeAt(tick(2), "a", "held")
	in.PipeAt(tick(11), "b", "1")
	ask.PipeAt(tick(12), "a", "out")
	in.PipeAt(tick(13), "a", "2")
	in.PipeAt(tick(14), "a", "3")
	ask.PipeAt(tick(15), "a", "held again")
	wantSent(t, d, "a=nothing::false@0 a=held::false@2 a=out:1:true@12 a=held again:1:true@15")
}

func TestWrongSuppressionsAreFaults(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]stream.Suppressed{
		"UntilWindowCloses needs a table of windows": stream.UntilWindowCloses(),
		"is before the first change":                 stream.UntilTimeLimit(-time.Second),
	} {
		b := stream.NewBuilder()
		b.Table(texts).Suppress(s).ToStream().To(outs)
		wantFault(t, b, want, "suppress_test.go:")
	}
	b := stream.NewBuilder()
	b.Table(texts, stream.Into(state.Versioned[string, string]("v", time.Hour))).Suppress(stream.UntilTimeLimit(1))
	wantFault(t, b, "a versioned table does not have", "suppress_test.go:")
	b = stream.NewBuilder()
	stream.Tumbling(time.Second).Over(b.Stream(texts).GroupByKey()).Count().Suppress(stream.UntilWindowCloses().EmitEarlyWhenFull())
	wantFault(t, b, "contradicts UntilWindowCloses", "suppress_test.go:")
}

func wantFault(t *testing.T, b *stream.Builder, want ...string) {
	t.Helper()
	_, err := b.Build(stream.Config{ApplicationID: "a"})
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("got %v, want %s", err, w)
		}
	}
}

func TestResultsOfWindowsLeaveOnceWhenTheyClose(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	counts := stream.Tumbling(millis(10)).Grace(millis(5)).Over(b.Stream(texts).GroupByKey()).Count()
	counts.MapValues(func(_ stream.Windowed[string], n int64) int64 { return n }). // the grace is found above it
											Suppress(stream.UntilWindowCloses()).ToStream().
											Map(func(k stream.Windowed[string], n int64) (string, string) {
			return fmt.Sprintf("%s[%d]", k.Key, k.Window.StartMs), fmt.Sprint(n)
		}).To(outs)
	d := streamtest.New(t, b)
	in := d.Input(texts)
	for _, at := range []int64{1, 3, 11, 9, 14, 2} {
		in.PipeAt(tick(at), "a", "x")
	}
	wantSent(t, d, "")
	d.Crash()
	in.PipeAt(tick(15), "b", "x")
	wantSent(t, d, "a[0]=4@9")
	in.PipeAt(tick(8), "a", "late")
	in.PipeAt(tick(100), "c", "x")
	wantSent(t, d, "a[10]=2@14 b[10]=1@15")
}

// brittle refuses the value "boom".
type brittle struct{ serde.Serde[string] }

var errBrittle = errors.New("this value cannot be written")

func (b brittle) Append(dst []byte, v string, m serde.Meta) ([]byte, error) {
	if v == "boom" {
		return dst, errBrittle
	}
	return b.Serde.Append(dst, v, m)
}

func TestAValueThatCannotBeHeldIsAProcessingError(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(texts).GroupByKey().
		Aggregate(func() string { return "" }, func(_, v, _ string) string { return v }, stream.ValueSerde[string](brittle{serde.String()})).
		Suppress(stream.UntilTimeLimit(0)).ToStream().To(outs)
	d := streamtest.New(t, b)
	d.Input(texts).Pipe("k", "boom")
	var e *stream.TaskError
	if err := d.Err(); !errors.Is(err, errBrittle) || !errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
}
