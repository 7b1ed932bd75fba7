package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// at is a time in milliseconds.
func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

const ms = time.Millisecond

var prices = state.Versioned[string, int64]("prices", 100*ms)

func TestAVersionedTableTellsWhatIsOutOfOrder(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	table := b.Table[string, int64]("prices", stream.Into(prices))
	table.ToStream().To("all")
	table.Filter(func(_ string, n int64) bool { return n > 10 }).ToStream().To("high")
	table.GroupBy(func(_ string, n int64) (string, int64) { return "sum", n }).
		Reduce(func(a, b int64) int64 { return a + b }, func(a, b int64) int64 { return a - b }).ToStream().To("sum")
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1}))
	in := d.Input(stream.Topic[string, int64]("prices"))
	all, high, sum := d.Output(stream.Topic[string, int64]("all")), d.Output(stream.Topic[string, int64]("high")), d.Output(stream.Topic[string, int64]("sum"))
	in.PipeAt(at(50), "a", 20)
	in.PipeAt(at(30), "a", 5) // before: everybody hears of it but the sum
	in.PipeAt(at(200), "b", 30)
	in.PipeAt(at(40), "a", 7) // before history: nobody does
	all.Want(all.R("a", 20), all.R("a", 5), all.R("b", 30))
	high.Want(high.R("a", 20), high.D("a"), high.R("b", 30))
	sum.Want(sum.R("sum", 20), sum.R("sum", 50))

	s := d.Store(prices)
	if v, ok, err := s.Get("a"); err != nil || !ok || v.Value != 20 || !v.To.IsZero() {
		t.Errorf("current: %v %v %v", v, ok, err)
	}
	if v, ok, err := s.GetAsOf("a", at(100)); err != nil || !ok || v.Value != 20 {
		t.Errorf("as of 100: %v %v %v", v, ok, err)
	}
	if v, ok, err := s.GetAsOf("a", at(49)); err != nil || ok {
		t.Errorf("as of 49, beyond history: %v %v %v", v, ok, err)
	}
}

// A store without versions in between, or an aggregation, ends what is known about order.
func TestVersionsEndAtAStoreWithoutThem(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Table[string, int64]("prices", stream.Into(prices)).
		MapValues(func(_ string, n int64) int64 { return -n }, stream.As("negative")).
		GroupBy(func(_ string, n int64) (string, int64) { return "sum", n }).
		Reduce(func(a, b int64) int64 { return a + b }, func(a, b int64) int64 { return a - b }).ToStream().To("sum")
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1}))
	in, sum := d.Input(stream.Topic[string, int64]("prices")), d.Output(stream.Topic[string, int64]("sum"))
	in.PipeAt(at(50), "a", 20)
	in.PipeAt(at(30), "a", 5)
	sum.Want(sum.R("sum", -20), sum.R("sum", -5))
}

func TestWrongUseOfVersionsIsAFault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		build func(*stream.Builder)
		want  string
	}{
		"suppress": {func(b *stream.Builder) {
			b.Table[string, int64]("in", stream.Into(prices)).Filter(func(string, int64) bool { return true }).Suppress(stream.UntilTimeLimit(time.Second))
		}, "versioned_test.go:"},
		"no history": {func(b *stream.Builder) {
			b.Table[string, int64]("in", stream.Into(state.Versioned[string, int64]("v", 0)))
		}, "history of store"},
		"other types": {func(b *stream.Builder) {
			b.Table[string, string]("in", stream.Into(prices))
		}, "Into needs a state.TimestampedKeyValue[string, string] or a state.Versioned"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := stream.NewBuilder()
			c.build(b)
			if _, err := b.Build(stream.Config{ApplicationID: "a"}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// memo is a processor that writes what it is told into a versioned store: "delete" deletes.
type memo struct {
	s state.VersionedStore[string, string]
}

func (m *memo) Init(ctx *stream.ProcessorContext[string, string]) error {
	m.s = ctx.Store(notes)
	return nil
}

func (m *memo) Process(ctx *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
	if r.Value == "delete" {
		old, ok, err := m.s.Delete(r.Key, r.Timestamp)
		if err != nil {
			return err
		}
		return ctx.Emit(r.Key, fmt.Sprintf("%s %t", old.Value, ok))
	}
	to, stored, err := m.s.PutUntil(r.Key, r.Value, r.Timestamp)
	if err != nil {
		return err
	}
	return ctx.Emit(r.Key, fmt.Sprint(to.UnixMilli(), stored))
}

var notes = state.Versioned[string, string]("notes", 50*ms)

func TestAProcessorWritesHistory(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").Process(func() *memo { return &memo{} }, stream.Uses(notes)).To("out")
	d := streamtest.New(t, b)
	in, out := d.Input(stream.Topic[string, string]("in")), d.Output(stream.Topic[string, string]("out"))
	in.PipeAt(at(10), "a", "x")
	in.PipeAt(at(30), "a", "z")
	in.PipeAt(at(20), "a", "y")
	in.PipeAt(at(25), "a", "delete")
	in.PipeAt(at(100), "a", "delete")
	in.PipeAt(at(40), "a", "late")
	in.PipeAt(at(40), "a", "delete")
	none := fmt.Sprint(time.Time{}.UnixMilli())
	out.Want(out.R("a", none+" true"), out.R("a", none+" true"), out.R("a", "30 true"), out.R("a", "y true"),
		out.R("a", "z true"), out.R("a", none+" false"), out.R("a", " false"))
	d.Crash()
	history := d.Store(notes).History("a", at(0), at(1000))
	var got []string
	for from, v := range history.All() {
		got = append(got, fmt.Sprint(v.Value, from.UnixMilli(), v.To.UnixMilli()))
	}
	if want := []string{"z30 100"}; history.Err() != nil || !slices.Equal(got, want) {
		t.Errorf("history %v, %v, want %v", got, history.Err(), want)
	}
}

// TestAVersionedStoreAfterAnyCrash drives a store by random puts at random times and crashes: the changelog makes exactly
// the same store again.
func TestAVersionedStoreAfterAnyCrash(t *testing.T) {
	t.Parallel()
	keys := []string{"a", "b", ""}
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		b := stream.NewBuilder()
		b.Stream[string, string]("in").Process(func() *memo { return &memo{} }, stream.Uses(notes))
		d := streamtest.New(t, b, streamtest.WithPartitions(rapid.IntRange(1, 2).Draw(rt, "partitions")))
		defer d.Close()
		in := d.Input(stream.Topic[string, string]("in"))
		base := int64(50)
		content := func() string {
			var out strings.Builder
			s := d.Store(notes)
			for _, k := range keys {
				for when := max(0, base-120); when < base+120; when += 7 {
					v, ok, err := s.GetAsOf(k, at(when))
					fmt.Fprint(&out, k, v, ok, err, "\n")
				}
				v, ok, err := s.Get(k)
				fmt.Fprint(&out, k, v, ok, err, "\n")
			}
			return out.String()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"pipe": func(rt *rapid.T) {
				base += rapid.Int64Range(0, 20).Draw(rt, "later")
				in.PipeAt(at(base+rapid.Int64Range(-50, 50).Draw(rt, "at")), rapid.SampledFrom(keys).Draw(rt, "key"),
					rapid.SampledFrom([]string{"x", "y", "delete"}).Draw(rt, "value"))
			},
			"crash": func(rt *rapid.T) {
				before := content()
				d.Crash()
				if after := content(); after != before {
					rt.Fatalf("before the crash\n%s\nafter it\n%s\n%s", before, after, d.Transcript())
				}
			},
		})
	})
}
