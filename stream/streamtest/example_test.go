package streamtest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

const (
	lines  stream.Topic[string, string] = "lines"
	counts stream.Topic[string, int64]  = "counts"
)

func topology() *stream.Builder {
	b := stream.NewBuilder()
	b.Stream(lines).
		FlatMapValues(func(_, line string, emit func(string)) {
			for w := range strings.FieldsSeq(line) {
				emit(w)
			}
		}).
		GroupBy(func(_, w string) string { return w }).
		Count(stream.As("store")).
		ToStream().To(counts)
	return b
}

// A topology's test: pipe records in, want records out.
func TestCounts(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, topology())
	in, out := d.Input(lines), d.Output(counts)
	in.Pipe("", "a b a")
	out.Want(out.R("a", 1), out.R("b", 1), out.R("a", 2))
	d.Crash()
	d.Advance(time.Minute)
	in.Pipe("", "b")
	out.Want(out.R("b", 2))
	if d.Now() != time.Unix(60, 0).UTC() || d.Err() != nil {
		t.Errorf("%s %v", d.Now(), d.Err())
	}
}

// recorder is a testing.TB that remembers what a failing test would say.
type recorder struct {
	testing.TB
	said     []string
	cleanups []func()
}

// stopped is what a Fatal of a recorder unwinds with.
type stopped struct{}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, a ...any) {
	r.said = append(r.said, fmt.Sprintf(format, a...))
}
func (r *recorder) Logf(format string, a ...any)   {}
func (r *recorder) Failed() bool                   { return len(r.said) > 0 }
func (r *recorder) Cleanup(f func())               { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Fatal(a ...any)                 { r.Errorf("%s", fmt.Sprint(a...)); panic(stopped{}) }
func (r *recorder) Fatalf(format string, a ...any) { r.Errorf(format, a...); panic(stopped{}) }

// failing runs f as a test of its own and returns what it said.
func failing(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	func() {
		defer func() {
			if p := recover(); p != nil && p != (stopped{}) {
				panic(p)
			}
		}()
		f(r)
	}()
	for _, c := range r.cleanups {
		c()
	}
	return strings.Join(r.said, "\n")
}

func TestWhatADriverSaysOfATestThatIsWrong(t *testing.T) {
	t.Parallel()
	boom := func() *stream.Builder {
		b := stream.NewBuilder()
		b.Stream(lines).MapValues(func(string, string) string { panic("boom") }).To("out")
		return b
	}
	for name, c := range map[string]struct {
		run  func(t testing.TB)
		want string
	}{
		"a wrong value": {func(t testing.TB) {
			d := streamtest.New(t, topology())
			d.Input(lines).Pipe("", "a")
			o := d.Output(counts)
			o.Want(o.R("a", 2))
		}, "record 0: got (a, 1), want (a, 2)"},
		"a missing record": {func(t testing.TB) { d := streamtest.New(t, topology()); o := d.Output(counts); o.Want(o.D("a")) }, "record 0 is missing: want (a, tombstone)"},
		"a record too many": {func(t testing.TB) {
			d := streamtest.New(t, topology())
			d.Input(lines).Pipe("", "a")
			d.Output(counts).Want()
		}, "record 0 is too many: (a, 1)"},
		"a topic nobody has":  {func(t testing.TB) { streamtest.New(t, topology()).Input(counts).Pipe("a", 1) }, `does not read the topic "counts"`},
		"an unasked error":    {func(t testing.TB) { streamtest.New(t, boom()).Input(lines).Pipe("", "a") }, "the topology stopped: stream: task 0_0, record lines-0@0"},
		"going on afterwards": {func(t testing.TB) { i := streamtest.New(t, boom()).Input(lines); i.Pipe("", "a"); i.Pipe("", "b") }, "stopped before"},
		"a wrong topology":    {func(t testing.TB) { streamtest.New(t, stream.NewBuilder()) }, "no source"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := failing(t, c.run); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestReadersOfAnOutput(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(lines).To("out")
	d := streamtest.New(t, b, streamtest.StartAt(time.Unix(5, 0)))
	in, out := d.Input(lines), d.Output(stream.Topic[string, string]("out"))
	in.Pipe("a", "1")
	in.Pipe("b", "1")
	in.Pipe("a", "2")
	in.Delete("b")
	in.PipeBytes(nil, []byte("no key"))
	r, ok := out.Read()
	if !ok || r.Key != "a" || r.Value != "1" || !r.Timestamp.Equal(time.Unix(5, 0)) {
		t.Errorf("got %+v", r)
	}
	if got := out.ReadValues(); len(got) != 2 || got[0].Value != "2" && got[1].Value != "2" || !got[1].Keyless && !got[0].Keyless {
		t.Errorf("got %+v", got)
	}
	if _, ok := out.Read(); ok {
		t.Error("everything was read")
	}
}
