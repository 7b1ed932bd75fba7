package stream_test

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

func number(_, v string) (int64, bool) {
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err == nil
}

func TestFilterMapValuesPassesTombstones(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(textIn).FilterMapValues(number).To("numbers")
	d := streamtest.New(t, b)
	in, out := d.Input(textIn), d.Output(stream.Topic[string, int64]("numbers"))
	in.Pipe("a", "7")
	in.Pipe("a", "seven")
	in.Delete("a")
	out.Want(out.R("a", 7), out.D("a"))
}

func TestBranchesAreAskedInOrderUnderNarrowerTypes(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	sw := b.Stream(textIn).Split(stream.Named("kind-"))
	rest := sw.Default(stream.Named("rest")) // made first, and asked last all the same
	numbers := sw.BranchAs(number, stream.Named("number"))
	long := sw.Branch(func(_, v string) bool { return len(v) > 3 })
	numbers.MapValues(func(_ string, n int64) int64 { return n + 1 }).To("numbers")
	long.To("long")
	rest.To("rest")
	top, err := b.Build(stream.Config{ApplicationID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kind-rest", "kind-number", "kind-2"} {
		if !strings.Contains(top.Describe(), "Processor: "+name+" ") {
			t.Errorf("no branch %s in\n%s", name, top.Describe())
		}
	}
	d := streamtest.New(t, b)
	in := d.Input(textIn)
	for _, v := range []string{"12345", "words", "abc"} {
		in.Pipe("k", v)
	}
	in.Delete("k")
	ns, ls, rs := d.Output(stream.Topic[string, int64]("numbers")), d.Output(textual("long")), d.Output(textual("rest"))
	ns.Want(ns.R("k", 12346))
	ls.Want(ls.R("k", "words"))
	rs.Want(rs.R("k", "abc"), rs.D("k"))
}

func TestPointersShowTombstonesAndValuesHideThem(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	s := b.Stream(textIn, stream.ValueSerde(serde.String()))
	shown := stream.Pointers(s)
	shown.To("pointers")
	stream.Values(shown.MapValues(func(_ string, v *string) *string {
		if v == nil {
			return new("gone")
		}
		if *v == "drop" {
			return nil
		}
		return v
	})).To(textOut)
	d := streamtest.New(t, b)
	in, out := d.Input(textIn), d.Output(textOut)
	in.Pipe("a", "x")
	in.Pipe("a", "drop")
	in.Delete("a")
	out.Want(out.R("a", "x"), out.D("a"), out.R("a", "gone"))
	raw := d.Output(textual("pointers"))
	raw.Want(raw.R("a", "x"), raw.R("a", "drop"), raw.D("a"))
}

func TestPrintWritesALineForEachRecord(t *testing.T) {
	t.Parallel()
	var w bytes.Buffer
	b := stream.NewBuilder()
	s := b.Stream(textIn, stream.Named("texts"))
	s.Print(stream.Output(&w), stream.Named("printer"))
	stream.Pointers(s).Print(stream.Output(&w))
	d := streamtest.New(t, b)
	in := d.Input(textIn)
	in.Pipe("a", "x")
	in.PipeRecord(stream.Record[string, string]{Keyless: true, Tombstone: true, Timestamp: d.Now()})
	want := "[texts]: a, x\n[KSTREAM-MAPVALUES-0000000002]: a, x\n[texts]: null, null\n[KSTREAM-MAPVALUES-0000000002]: null, null\n"
	if w.String() != want {
		t.Errorf("got\n%swant\n%s", w.String(), want)
	}
}

// full is a writer that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAPrintThatFailsIsAFailureOfProcessing(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(textIn).Print(stream.Output(full{}))
	d := streamtest.New(t, b)
	d.Input(textIn).Pipe("a", "x")
	var failed *stream.TaskError
	if err := d.Err(); !errors.As(err, &failed) || failed.Op != "processing" || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
}

// latest is a processor of values with a store: it drops what repeats the value before.
type deduplicating struct {
	last state.KeyValueStore[string, string]
	told *[]string
}

var lastTexts = state.KeyValue[string, string]("last")

func (p *deduplicating) Init(ctx *stream.FixedKeyProcessorContext[string, string]) error {
	p.last = ctx.Store(lastTexts)
	*p.told = append(*p.told, "init")
	return nil
}

func (p *deduplicating) Process(ctx *stream.FixedKeyProcessorContext[string, string], r stream.FixedKeyRecord[string, string]) error {
	k, ok := r.Key()
	if !ok {
		return ctx.Forward(r)
	}
	if r.Tombstone {
		_, _, err := p.last.Delete(k)
		return errors.Join(err, ctx.Forward(r))
	}
	old, ok, err := p.last.Get(k)
	if err != nil || ok && old == r.Value {
		return err
	}
	if r.Value == "to-left" {
		return ctx.ForwardTo("left", r.WithValue(k))
	}
	return errors.Join(p.last.Put(k, r.Value), ctx.Forward(r.WithValue(strings.ToUpper(r.Value))))
}

func (p *deduplicating) Close() error {
	*p.told = append(*p.told, "close")
	return nil
}

func TestProcessValuesKeepsTheKeyAndSpareARepartition(t *testing.T) {
	t.Parallel()
	var told []string
	t.Run("life", func(t *testing.T) {
		b := stream.NewBuilder()
		s := b.Stream(textIn).ProcessValues(func() *deduplicating { return &deduplicating{told: &told} }, stream.Uses(lastTexts), stream.Named("dedupe"))
		s.To(textOut, stream.Named("left"))
		s.GroupByKey().Count(stream.As("counts")).ToStream().To("counts")
		if top, err := b.Build(stream.Config{ApplicationID: "app"}); err != nil || len(top.Graph().Topics) != 2 {
			t.Errorf("want the two changelogs and no repartition topic: %v", err)
		}
		d := streamtest.New(t, b)
		in, out := d.Input(textIn), d.Output(textOut)
		in.Pipe("a", "x")
		in.Pipe("a", "x")
		in.Pipe("a", "to-left")
		in.PipeRecord(stream.Record[string, string]{Keyless: true, Value: "y", Timestamp: d.Now()})
		in.Delete("a")
		in.Pipe("a", "x")
		got := out.ReadAll()
		if len(got) != 5 || got[0].Value != "X" || got[1].Value != "a" || !got[2].Keyless || got[2].Value != "y" || !got[3].Tombstone || got[4].Value != "X" {
			t.Errorf("got %+v", got)
		}
		counts := d.Output(stream.Topic[string, int64]("counts"))
		counts.Want(counts.R("a", 1), counts.R("a", 2))
	})
	if !slices.Equal(told, []string{"init", "close"}) {
		t.Errorf("its life was %v", told)
	}
}

func TestForwardToAnUnknownChildSaysSo(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(textIn).ProcessValues(stream.FixedKeyProcessorFunc(func(c *stream.FixedKeyProcessorContext[string, string], r stream.FixedKeyRecord[string, string]) error {
		return c.ForwardTo("nobody", r)
	})).To(textOut)
	d := streamtest.New(t, b)
	d.Input(textIn).Pipe("a", "x")
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), `has no child "nobody"`) {
		t.Errorf("got %v", err)
	}
}

// mistaken has the Init of a Processor although it is a FixedKeyProcessor.
type mistaken struct{}

func (mistaken) Init(*stream.ProcessorContext[string, string]) error { return nil }

func (mistaken) Process(*stream.FixedKeyProcessorContext[string, string], stream.FixedKeyRecord[string, string]) error {
	return nil
}

func TestAnInitOfAnotherContextIsAFault(t *testing.T) {
	t.Parallel()
	wrong(t, func(b *stream.Builder) {
		b.Stream(textIn).ProcessValues(func() mistaken { return mistaken{} })
	}, "mistaken.Init is not Init(*stream.FixedKeyProcessorContext[string,string]) error and would never be called")
}

// ticking tells the instants of a schedule.
func ticking(start time.Time, by stream.PunctuationType) *stream.Builder {
	b := stream.NewBuilder()
	b.Stream(textIn).Process(func() *ticker { return &ticker{start, by} }).To(textOut)
	return b
}

type ticker struct {
	start time.Time
	by    stream.PunctuationType
}

func (c *ticker) Init(ctx *stream.ProcessorContext[string, string]) error {
	ctx.ScheduleAt(c.start, 10*time.Millisecond, c.by, func(now time.Time) error {
		return ctx.Emit("tick", strconv.FormatInt(now.UnixMilli(), 10))
	})
	return nil
}

func (*ticker) Process(*stream.ProcessorContext[string, string], stream.Record[string, string]) error {
	return nil
}

func TestScheduleAtBeginsThenAndKeepsTheRhythm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		start int64
		want  string
	}{
		{"to come", 25, "25 47 65"},       // due at 25, 35 (told at 47, with 45), 55 and so on
		{"in the past", -5, "5 25 47 65"}, // at whole intervals from then
	} {
		d := streamtest.New(t, ticking(time.UnixMilli(c.start), stream.WallClockTime))
		for _, by := range []int{5, 20, 22, 18} {
			d.Advance(time.Duration(by) * time.Millisecond)
		}
		if got := ticks(d); got != c.want {
			t.Errorf("%s: ticks at %s, want %s", c.name, got, c.want)
		}
	}
	d := streamtest.New(t, ticking(time.UnixMilli(25), stream.StreamTime))
	in := d.Input(textIn)
	for _, at := range []int64{5, 24, 25, 30, 58, 64, 65} {
		in.PipeAt(time.UnixMilli(at), "k", "v")
	}
	if got := ticks(d); got != "25 58 65" {
		t.Errorf("by stream time: ticks at %s", got)
	}
}

func ticks(d *streamtest.Driver) string {
	var out []string
	for _, r := range d.Output(textOut).ReadAll() {
		out = append(out, r.Value)
	}
	return strings.Join(out, " ")
}
