package stream_test

import (
	"strings"
	"testing"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

var common = state.KeyValue[string, string]("shared")

// writing puts what comes into the store shared.
type writing struct {
	s state.KeyValueStore[string, string]
}

func newWriting() *writing { return &writing{} }

func (w *writing) Init(ctx *stream.ProcessorContext[string, string]) error {
	w.s = ctx.Store(common)
	return nil
}

func (w *writing) Process(_ *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
	return w.s.Put(r.Key, r.Value)
}

// reading adds what the store shared has.
type reading struct{ writing }

func newReading() *reading { return &reading{} }

func (r *reading) Process(ctx *stream.ProcessorContext[string, string], rec stream.Record[string, string]) error {
	v, _, err := r.s.Get(rec.Key)
	if err != nil {
		return err
	}
	return ctx.Emit(rec.Key, v+rec.Value)
}

type textNode = stream.Node[string, string]

func TestATopologyOfProcessorsSharesAStore(t *testing.T) {
	t.Parallel()
	top := stream.NewTopology()
	one := top.AddSource("one", []textual{"in1"})
	two := top.AddSource("two", []textual{"in2", "in3"})
	top.AddProcessor("write", newWriting, []textNode{one}, stream.Uses(common))
	read := top.AddProcessor("read", newReading, []textNode{two}, stream.Uses(common))
	top.AddSink("sink", "out", []textNode{read, one})
	top.AddStore(common)
	read.Stream().MapValues(func(_, v string) string { return v + "!" }, stream.Named("shout")).To("loud")
	want := `Topologies:
   Sub-topology: 0
    Source: two (topics: [in2, in3])
      --> read
    Processor: read (stores: [shared])
      --> shout, sink
      <-- two
    Source: one (topics: [in1])
      --> sink, write
    Processor: shout (stores: [])
      --> KSTREAM-SINK-0000000001
      <-- read
    Sink: KSTREAM-SINK-0000000001 (topic: loud)
      <-- shout
    Sink: sink (topic: out)
      <-- read, one
    Processor: write (stores: [shared])
      --> none
      <-- one

`
	if got := top.Describe(); got != want {
		t.Errorf("got\n%s", got)
	}
	d := streamtest.New(t, top)
	d.Input(textual("in1")).Pipe("k", "a")
	d.Input(textual("in3")).Pipe("k", "b")
	out, loud := d.Output(textOut), d.Output(textual("loud"))
	out.Want(out.R("k", "a"), out.R("k", "ab"))
	loud.Want(loud.R("k", "ab!"))
}

func TestFaultsOfATopologyOfProcessors(t *testing.T) {
	t.Parallel()
	other := stream.NewTopology().AddSource("else", []textual{"x"})
	top := stream.NewTopology()
	src := top.AddSource("src", []textual{"in"}, stream.Named("else"))
	top.AddSource("", []textual{"in4"})
	top.AddSource("src", []textual{"in2"})
	top.AddSource("again", []textual{"in"})
	top.AddSource("none", []textual{})
	top.AddSink("lonely", "out", []textNode{})
	top.AddSink("strange", "out", []textNode{other, {}})
	top.AddSink("ints", "numbers", []stream.Node[string, int64]{top.AddSource("n", []stream.Topic[string, int64]{"numbers"})})
	top.AddSink("texts", "numbers", []textNode{src})
	top.AddStore(common, state.KeyValue[string, string]("shared"))
	_, err := stream.NewApp(top, stream.Config{ApplicationID: "app", Brokers: []string{"nowhere:1"}})
	if err == nil {
		t.Fatal("want an error")
	}
	for _, part := range []string{
		`Named says "else"`, "the name is missing", `the name "src" is taken at`, `topic "in" is already read at`, "there is no topic to read",
		"there is no parent", "parent else belongs to another Topology", "parent 1 is no node", `topic "numbers" holds string → string here`,
		`the store "shared" is declared twice`, `nobody uses the store "shared"`,
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in:\n%v", part, err)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, "bare_test.go:") {
			t.Errorf("no file and line: %s", line)
		}
	}
}

func TestABuiltTopologyDoesNotGrow(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(textIn).To(textOut)
	top, err := b.Build(stream.Config{ApplicationID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	top.AddSource("late", []textual{"more"})
	if _, err := stream.NewApp(top, stream.Config{ApplicationID: "app", Brokers: []string{"nowhere:1"}}); err == nil || !strings.Contains(err.Error(), "was built before") {
		t.Errorf("got %v", err)
	}
}

func TestAStoreThatNobodyUsesIsAFault(t *testing.T) {
	t.Parallel()
	wrong(t, func(b *stream.Builder) {
		b.AddStore(common)
		b.Stream(textIn).To(textOut)
	}, `nobody uses the store "shared": name it in the Uses of a processor`)
	b := stream.NewBuilder()
	b.AddStore(common)
	b.Stream(textIn).Process(newReading, stream.Uses(common)).To(textOut)
	if _, err := b.Build(stream.Config{ApplicationID: "app"}); err != nil {
		t.Error(err)
	}
}
