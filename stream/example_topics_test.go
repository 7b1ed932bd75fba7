package stream_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// A stream through a topic of its own: behind it all records of a key are in one partition.
func ExampleKStream_Repartition() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		SelectKey(func(_, v string) string { return v[:1] }).
		Repartition(stream.Named("by-letter"), stream.Partitions(4)).
		To("out")
	top, err := b.Build(stream.Config{ApplicationID: "app"})
	if err != nil {
		panic(err)
	}
	for _, t := range top.Graph().Topics {
		fmt.Println(t.Name, t.Partitions)
	}
	play(b, stream.Config{}, "apple")
	// Output:
	// app-by-letter-repartition 4
	// out-0 "a"="apple" @0
}

// One source of several topics.
func ExampleBuilder_Streams() {
	b := stream.NewBuilder()
	b.Streams([]stream.Topic[string, string]{"in", "more"}).To("out")
	play(b, stream.Config{}, "x")
	// Output: out-0 "k"="x" @0
}

// Every topic whose name matches, those that are made later too.
func ExampleBuilder_StreamPattern() {
	b := stream.NewBuilder()
	b.StreamPattern[string, string](regexp.MustCompile("i.|invoices-.*")).To("out")
	play(b, stream.Config{}, "x")
	// Output: out-0 "k"="x" @0
}

// A topic chosen for each record.
func ExampleKStream_ToDynamic() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		ToDynamic(func(_, v string, _ stream.RecordMetadata) string { return "orders-" + v[:2] })
	play(b, stream.Config{}, "de 100", "fr 200")
	// Output:
	// orders-de-0 "k"="de 100" @0
	// orders-fr-0 "k"="fr 200" @0
}

// Event time out of the value.
func ExampleTimestamps() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in", stream.Timestamps(func(r stream.Record[string, string], prev time.Time) time.Time {
		ms, err := strconv.ParseInt(r.Value, 10, 64)
		if err != nil {
			return prev // the latest time so far; with none yet the record is dropped
		}
		return time.UnixMilli(ms)
	})).To("out")
	play(b, stream.Config{}, "unknown", "1500", "unknown")
	// Output:
	// out-0 "k"="1500" @1500
	// out-0 "k"="unknown" @1500
}

// A record for several partitions.
func ExampleMulticast() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		To("out", stream.Multicast(func(_ string, _, v string, n int) []int {
			if v != "to all" {
				return []int{0}
			}
			all := make([]int, n)
			for i := range all {
				all[i] = i
			}
			return all
		}))
	play(b, stream.Config{}, "to all")
	// Output: out-0 "k"="to all" @0
}

// A type switch over records.
func ExampleBranchedKStream_BranchAs() {
	b := stream.NewBuilder()
	sw := b.Stream[string, string]("in").Split()
	numbers := sw.BranchAs(func(_, v string) (int, bool) {
		n, err := strconv.Atoi(v)
		return n, err == nil
	})
	rest := sw.Default()

	numbers.MapValues(func(_ string, n int) string { return fmt.Sprint(n * 2) }).To("doubled")
	rest.To("others")
	play(b, stream.Config{}, "21", "half")
	// Output:
	// doubled-0 "k"="42" @0
	// others-0 "k"="half" @0
}

// Filter and map in one.
func ExampleKStream_FilterMapValues() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		FilterMapValues(func(_, v string) (string, bool) { return v + v, len(v) == 1 }).
		To("out")
	play(b, stream.Config{}, "a", "bc")
	// Output: out-0 "k"="aa" @0
}

// Tombstones as nil pointers.
func ExamplePointers() {
	b := stream.NewBuilder()
	s := b.Stream[string, string]("in")
	stream.Pointers(s).
		MapValues(func(_ string, v *string) string {
			if v == nil {
				return "deleted"
			}
			return *v
		}).To("out")
	t := &exampleT{}
	d := streamtest.New(t, b)
	d.Input(stream.Topic[string, string]("in")).Delete("k")
	fmt.Println(d.Output(stream.Topic[string, string]("out")).ReadValues()[0].Value)
	// Output: deleted
}

// Records as lines of text.
func ExampleKStream_Print() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in", stream.Named("texts")).Print(stream.Output(os.Stdout))
	play(b, stream.Config{}, "x")
	// Output: [texts]: k, x
}

var lastValues = state.KeyValue[string, string]("last-values")

// changes forwards a value unless it is the one before.
type changes struct {
	last state.KeyValueStore[string, string]
}

func newChanges() *changes { return &changes{} }

func (c *changes) Init(ctx *stream.FixedKeyProcessorContext[string, string]) error {
	c.last = ctx.Store(lastValues)
	return nil
}

func (c *changes) Process(ctx *stream.FixedKeyProcessorContext[string, string], r stream.FixedKeyRecord[string, string]) error {
	k, ok := r.Key()
	if !ok {
		return nil
	}
	old, ok, err := c.last.Get(k)
	if err != nil || ok && old == r.Value {
		return err
	}
	if err := c.last.Put(k, r.Value); err != nil {
		return err
	}
	return ctx.Forward(r)
}

// A processor with a store, which cannot change the key: nothing behind it repartitions.
func ExampleKStream_ProcessValues() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").ProcessValues(newChanges, stream.Uses(lastValues)).To("out")
	play(b, stream.Config{}, "on", "on", "off")
	// Output:
	// out-0 "k"="on" @0
	// out-0 "k"="off" @0
}

// The Processor API: nodes with names and types, and no generated ones.
func ExampleNewTopology() {
	t := stream.NewTopology()
	in := t.AddSource("read", []stream.Topic[string, string]{"in"})
	upper := t.AddProcessor("twice", stream.ProcessorFunc(func(ctx *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
		return ctx.Emit(r.Key, r.Value+r.Value)
	}), []stream.Node[string, string]{in})
	t.AddSink("write", "out", []stream.Node[string, string]{upper})
	fmt.Print(t.Describe())
	// Output:
	// Topologies:
	//    Sub-topology: 0
	//     Source: read (topics: [in])
	//       --> twice
	//     Processor: twice (stores: [])
	//       --> write
	//       <-- read
	//     Sink: write (topic: out)
	//       <-- twice
}

// A table that every instance holds in full, read from within a function as often as need be.
func ExampleGlobalKTable_Get() {
	b := stream.NewBuilder()
	rates := b.GlobalTable[string, string]("rates")
	b.Stream[string, string]("in").
		FilterMapValues(func(_, currency string) (string, bool) {
			if rate, ok := rates.Get(currency); ok {
				return rate, true
			}
			return rates.Get("default")
		}).
		To("out")
	t := &exampleT{}
	d := streamtest.New(t, b)
	in, table := d.Input(stream.Topic[string, string]("in")), d.Input(stream.Topic[string, string]("rates"))
	table.Pipe("usd", "1.1")
	table.Pipe("default", "1.0")
	in.Pipe("anna", "usd")
	in.Pipe("bob", "xyz")
	for _, r := range d.Output(stream.Topic[string, string]("out")).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// anna 1.1
	// bob 1.0
}

// Another key than the record's own looked up in a global table.
func ExampleKStream_LeftJoinGlobal() {
	b := stream.NewBuilder()
	countries := b.GlobalTable[string, string]("countries")
	b.Stream[string, string]("in").
		LeftJoinGlobal(countries,
			func(_, code string) (string, bool) { return code, code != "" },
			func(_, code, country string, ok bool) string {
				if !ok {
					return "unknown"
				}
				return country
			}).
		To("out")
	t := &exampleT{}
	d := streamtest.New(t, b)
	d.Input(stream.Topic[string, string]("countries")).Pipe("de", "Germany")
	in := d.Input(stream.Topic[string, string]("in"))
	in.Pipe("anna", "de")
	in.Pipe("bob", "xx")
	for _, r := range d.Output(stream.Topic[string, string]("out")).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// anna Germany
	// bob unknown
}

// allCaps keeps a global store.
type allCaps struct {
	rows state.TimestampedKeyValueStore[string, string]
}

var globalNames = state.TimestampedKeyValue[string, string]("names")

func newAllCaps() *allCaps { return &allCaps{} }

func (a *allCaps) Init(ctx *stream.ProcessorContext[struct{}, struct{}]) error {
	a.rows = ctx.Store(globalNames)
	return nil
}

func (a *allCaps) Process(_ *stream.ProcessorContext[struct{}, struct{}], r stream.Record[string, string]) error {
	return a.rows.Put(r.Key, "["+r.Value+"]", r.Timestamp)
}

// A global store that a processor of its own keeps.
func ExampleBuilder_AddGlobalStore() {
	b := stream.NewBuilder()
	b.AddGlobalStore(globalNames, stream.Topic[string, string]("names"), newAllCaps)
	b.Stream[string, string]("in").To("out")
	t := &exampleT{}
	d := streamtest.New(t, b)
	d.Input(stream.Topic[string, string]("names")).Pipe("a", "anna")
	name, _, err := d.Store(globalNames).Get("a")
	fmt.Println(name, err)
	// Output: [anna] <nil>
}

// One topic instead of two for what is grouped by one new key.
func ExampleOptimization() {
	build := func(o stream.Optimization) int {
		b := stream.NewBuilder()
		words := b.Stream[string, string]("in").SelectKey(func(_, v string) string { return v })
		words.GroupByKey().Count(stream.As("counts"), state.NoLogging())
		words.GroupByKey().Reduce(func(_, v string) string { return v }, stream.As("latest"), state.NoLogging())
		top, err := b.Build(stream.Config{ApplicationID: "app", Optimize: o})
		if err != nil {
			panic(err)
		}
		return len(top.Graph().Topics)
	}
	fmt.Println(build(0), build(stream.MergeRepartitionTopics))
	// Output: 2 1
}
