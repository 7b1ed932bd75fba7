package stream_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// convert looks a rate up, and its fallback if there is none: the second question depends on the first answer.
func convert(b *stream.Builder) {
	rates := b.GlobalTable[string, string]("rates", stream.Into(globalRates))
	b.Stream(textIn).FilterMapValues(func(_, v string) (string, bool) {
		rate, ok := rates.Get(v)
		if !ok {
			return "", false
		}
		if next, ok := rates.Get(rate); ok {
			rate = next
		}
		return rate, true
	}).To(textOut)
}

func TestAGlobalTableIsReadFromWithinAnyFunction(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	convert(b)
	d := streamtest.New(t, b, streamtest.WithPartitions(3))
	rates, in, out := d.Input(textual("rates")), d.Input(textIn), d.Output(textOut)
	rates.Pipe("usd", "2")
	rates.Pipe("mark", "eur")
	rates.Pipe("eur", "1")
	rates.PipeRecord(stream.Record[string, string]{Keyless: true, Value: "9", Timestamp: d.Now()}) // dropped
	in.Pipe("a", "usd")
	in.Pipe("b", "mark")
	in.Pipe("c", "chf")
	out.Want(out.R("a", "2"), out.R("b", "1"))
	rates.Delete("usd")
	in.Pipe("a", "usd")
	out.Want()
	d.Crash()
	in.Pipe("b", "mark")
	out.Want(out.R("b", "1"))
	if v, ok, err := d.Store(globalRates).Get("eur"); err != nil || !ok || v != "1" {
		t.Errorf("the store has %q %v %v", v, ok, err)
	}
}

func TestJoinsWithAGlobalTableMindNulls(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	rates := b.GlobalTable[string, *string]("rates")
	s := b.Stream(textIn)
	key := func(_, v string) (*string, bool) {
		switch v {
		case "none":
			return nil, false
		case "nil":
			return nil, true
		}
		return &v, true
	}
	other := b.GlobalTable[*string, string]("names")
	s.JoinGlobal(other, key, func(_, v, o string) string { return v + "=" + o }).To("inner")
	s.LeftJoinGlobal(other, key, func(_, v, o string, ok bool) string { return v + "=" + o }).To("left")
	s.MapValues(func(_, v string) string {
		if r, ok := rates.Get(v); ok {
			return *r
		}
		return "-"
	}).To("mapped")
	d := streamtest.New(t, b)
	d.Input(stream.Topic[string, string]("names")).Pipe("x", "ex")
	d.Input(textual("rates")).Pipe("x", "1")
	in := d.Input(textIn)
	for _, v := range []string{"x", "y", "none", "nil"} {
		in.Pipe("k", v)
	}
	in.Delete("k")
	in.PipeRecord(stream.Record[string, string]{Keyless: true, Value: "x", Timestamp: time.UnixMilli(5)})
	inner, left, mapped := d.Output(textual("inner")), d.Output(textual("left")), d.Output(textual("mapped"))
	got := inner.ReadAll()
	if len(got) != 2 || got[0].Value != "x=ex" || !got[1].Keyless || got[1].Value != "x=ex" || got[1].Timestamp.UnixMilli() != 5 {
		t.Errorf("inner: %v", got)
	}
	var values []string
	for _, r := range left.ReadAll() {
		values = append(values, r.Value)
	}
	if all := strings.Join(values, " "); all != "x=ex y= none= nil= x=ex" {
		t.Errorf("left: %s", all)
	}
	if got := mapped.ReadAll(); len(got) != 6 || got[0].Value != "1" || got[1].Value != "-" || !got[4].Tombstone {
		t.Errorf("mapped: %v", got)
	}
}

// upperCase keeps a global store of values in capitals.
type upperCase struct {
	s state.TimestampedKeyValueStore[string, string]
}

func newUpperCase() *upperCase { return &upperCase{} }

func (u *upperCase) Init(ctx *stream.ProcessorContext[struct{}, struct{}]) error {
	u.s = ctx.Store(globalRates)
	return nil
}

func (u *upperCase) Process(_ *stream.ProcessorContext[struct{}, struct{}], r stream.Record[string, string]) error {
	if r.Value == "broken" {
		return errors.New("this value cannot be kept")
	}
	return u.s.Put(r.Key, strings.ToUpper(r.Value), r.Timestamp)
}

// meddler reads the global store, and writes it if it is told to.
type meddler struct {
	s state.TimestampedKeyValueStore[string, string]
}

func (m *meddler) Init(ctx *stream.ProcessorContext[string, string]) error {
	m.s = ctx.Store(globalRates)
	return nil
}

func (m *meddler) Process(ctx *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
	if r.Value == "write" {
		return m.s.Put(r.Key, r.Value, r.Timestamp)
	}
	v, _, err := m.s.Get(r.Key)
	if err != nil {
		return err
	}
	return ctx.Emit(r.Key, v)
}

func TestAGlobalStoreHasOneWriterAndManyReaders(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.AddGlobalStore(globalRates, textual("rates"), newUpperCase)
	b.Stream(textIn).Process(func() *meddler { return &meddler{} }).To(textOut)
	d := streamtest.New(t, b)
	d.Input(textual("rates")).Pipe("a", "x")
	in, out := d.Input(textIn), d.Output(textOut)
	in.Pipe("a", "?")
	out.Want(out.R("a", "X"))
	d.Crash() // the processor sees the topic again
	in.Pipe("a", "?")
	out.Want(out.R("a", "X"))
	in.Pipe("a", "write")
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "written by its own processor alone") {
		t.Errorf("got %v", err)
	}
}

func TestAProcessorOfAGlobalStoreThatFailsStopsTheApplication(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.AddGlobalStore(globalRates, textual("rates"), newUpperCase)
	b.Stream(textIn).To(textOut)
	d := streamtest.New(t, b)
	d.Input(textual("rates")).Pipe("a", "broken")
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "this value cannot be kept") {
		t.Errorf("got %v", err)
	}
}

func TestFaultsOfGlobalStores(t *testing.T) {
	t.Parallel()
	elsewhere := stream.NewBuilder().GlobalTable[string, string]("names")
	windows := state.Window[string, string]("windows", time.Second, time.Minute)
	wrong(t, func(b *stream.Builder) {
		b.GlobalTable[string, string]("rates", stream.Into(globalRates))
		b.Stream(textual("rates")).To("copy")
		s := b.Stream(textIn)
		s.Process(func() *meddler { return &meddler{} }, stream.Uses(globalRates))
		s.JoinGlobal(elsewhere, func(_, v string) (string, bool) { return v, true }, func(_, v, o string) string { return v + o })
		b.AddGlobalStore(windows, textual("more"), newUpperCase)
	}, `topic "rates" is already read at`, `the store "rates" is global: every processor may open it`, "the global table belongs to another Builder",
		`the global store "windows" is of another kind`)
}

func TestAGlobalTableReadOutsideOfARunningTopologySaysSo(t *testing.T) {
	t.Parallel()
	rates := stream.NewBuilder().GlobalTable[string, string]("rates")
	defer func() {
		if err, _ := recover().(error); err == nil || !strings.Contains(err.Error(), "is not there yet") {
			t.Errorf("got %v", err)
		}
	}()
	rates.Get("x")
}

func TestAGlobalSubTopologyTakesANumberAndNoTasks(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	convert(b)
	top, err := b.Build(stream.Config{ApplicationID: "app", Optimize: stream.AllOptimizations})
	if err != nil {
		t.Fatal(err)
	}
	want := `Topologies:
   Sub-topology: 0 for global store (will not generate tasks)
    Source: KSTREAM-SOURCE-0000000000 (topics: [rates])
      --> KTABLE-SOURCE-0000000001
    Processor: KTABLE-SOURCE-0000000001 (stores: [rates])
      --> none
      <-- KSTREAM-SOURCE-0000000000
  Sub-topology: 1
    Source: KSTREAM-SOURCE-0000000002 (topics: [in])
`
	if !strings.HasPrefix(top.Describe(), want) {
		t.Errorf("got\n%s", top.Describe())
	}
	for _, n := range top.Graph().Nodes {
		if global := strings.Contains(n.Name, "KTABLE"); global != (n.Subtopology == -1) && n.Kind == "Processor" {
			t.Errorf("%s is of sub-topology %d", n.Name, n.Subtopology)
		}
	}
	if topics := top.Graph().Topics; len(topics) != 0 {
		t.Errorf("internal topics: %v", topics)
	}
}
