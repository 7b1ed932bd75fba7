package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// play runs a topology in the test driver: it pipes values under the key "k" into the topic "in", moves the clock by a
// minute, and prints what came out.
func play(b *stream.Builder, c stream.Config, values ...string) {
	t := &exampleT{}
	d := streamtest.New(t, b, streamtest.WithConfig(c))
	in := d.Input(stream.Topic[string, string]("in"))
	for _, v := range values {
		in.Pipe("k", v)
	}
	d.Advance(time.Minute)
	for line := range strings.Lines(d.Transcript()) {
		if strings.HasPrefix(line, "> ") {
			fmt.Print(line[2:])
		}
	}
	if err := d.Err(); err != nil {
		fmt.Println(err)
	}
	t.end()
}

// exampleT is the testing.TB of an example, which has none.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (*exampleT) Helper()            {}
func (*exampleT) Output() io.Writer  { return io.Discard }
func (*exampleT) Fatal(a ...any)     { fmt.Println(a...) }
func (t *exampleT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *exampleT) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

// A chain of stateless operators.
func ExampleKStream_MapValues() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		Filter(func(_, v string) bool { return v != "" }).
		MapValues(func(_, v string) int64 { return int64(len(v)) }).
		MapValues(func(k string, n int64) string { return fmt.Sprintf("%s has %d", k, n) }).
		To("out")
	play(b, stream.Config{}, "abc", "", "de")
	// Output:
	// out-0 "k"="k has 3" @0
	// out-0 "k"="k has 2" @0
}

// Any number of records out of one.
func ExampleKStream_FlatMap() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		FlatMap(func(k, v string, emit func(string, string)) {
			for word := range strings.FieldsSeq(v) {
				emit(word, k)
			}
		}).
		To("out")
	play(b, stream.Config{}, "one two")
	// Output:
	// out-0 "one"="k" @0
	// out-0 "two"="k" @0
}

// A switch: each record goes to the first branch that takes it.
func ExampleKStream_Split() {
	b := stream.NewBuilder()
	sw := b.Stream[string, string]("in").Split()
	loud := sw.Branch(func(_, v string) bool { return strings.HasSuffix(v, "!") })
	rest := sw.Default()
	loud.To("loud")
	rest.To("calm")
	play(b, stream.Config{}, "hey!", "hello")
	// Output:
	// loud-0 "k"="hey!" @0
	// calm-0 "k"="hello" @0
}

// An aggregate per key, kept in a store that queries can read.
func ExampleKGroupedStream_Aggregate() {
	type stats struct {
		N    int
		Last string
	}
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		GroupByKey().
		Aggregate(nil, func(_, v string, s stats) stats { return stats{s.N + 1, v} }, stream.As("stats")).
		ToStream().
		To("out")
	play(b, stream.Config{}, "a", "b")
	// Output:
	// out-0 "k"="{\"N\":1,\"Last\":\"a\"}" @0
	// out-0 "k"="{\"N\":2,\"Last\":\"b\"}" @0
}

// A reduction by a new key; the records of a key meet through a repartition topic.
func ExampleKStream_GroupBy() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		GroupBy(func(_, v string) string { return v[:1] }, stream.Named("by-letter")).
		Reduce(func(list, v string) string { return list + "," + v }, stream.As("lists")).
		ToStream().
		To("out")
	play(b, stream.Config{}, "ann", "bob", "amy")
	// Output:
	// out-0 "a"="ann" @0
	// out-0 "b"="bob" @0
	// out-0 "a"="ann,amy" @0
}

// A topic as a table: the latest value of each key.
func ExampleBuilder_Table() {
	b := stream.NewBuilder()
	b.Table[string, string]("in", stream.As("rows")).
		Filter(func(_, v string) bool { return v != "hidden" }).
		ToStream().
		To("out")
	play(b, stream.Config{}, "seen", "hidden")
	// Output:
	// out-0 "k"="seen" @0
	// out-0 "k"=null @0
}

var latest = state.KeyValue[string, string]("latest")

// reminder keeps the latest value of each key and repeats it every minute.
type reminder struct {
	latest state.KeyValueStore[string, string]
}

// Init opens the store and asks for a call every minute.
func (p *reminder) Init(ctx *stream.ProcessorContext[string, string]) error {
	p.latest = ctx.Store(latest)
	ctx.Schedule(time.Minute, stream.WallClockTime, func(time.Time) error {
		rows := p.latest.All()
		for k, v := range rows.All() {
			if err := ctx.Emit(k, "still "+v); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return nil
}

// Process keeps a value.
func (p *reminder) Process(_ *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
	return p.latest.Put(r.Key, r.Value)
}

// A processor with a store and a punctuation.
func ExampleKStream_Process() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		Process(func() *reminder { return &reminder{} }, stream.Uses(latest)).
		To("out")
	play(b, stream.Config{}, "a", "b")
	// Output:
	// out-0 "k"="still b" @60000
}

// A handler sends what cannot be processed to a dead letter topic, its bytes unchanged.
func ExampleDeadLetter() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		Process(stream.ProcessorFunc(func(ctx *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
			if r.Value == "bad" {
				return errors.New("not this one")
			}
			return ctx.Forward(r)
		})).
		To("out")
	play(b, stream.Config{
		ProcessingErrors: func(_ context.Context, f stream.Failure) stream.Response {
			fmt.Printf("%s of %s-%d@%d: %v\n", f.Stage, f.Topic, f.Partition, f.Offset, f.Err)
			return stream.Continue() // stream.DeadLetter("in.dlq") keeps it
		},
	}, "bad", "good")
	// Output:
	// processing of in-0@0: not this one
	// out-0 "k"="good" @0
}

// A wrong topology is told with the line that made it.
func ExampleTopologyError() {
	b := stream.NewBuilder()
	b.Stream[string, string]("no topic").To("out")
	_, err := b.Build(stream.Config{ApplicationID: "app"})
	if fault, ok := errors.AsType[*stream.TopologyError](err); ok {
		fmt.Println(fault.Op, fault.Line > 0, fault.Err)
	}
	// Output:
	// Stream true "no topic" is no topic's name: 1 to 249 of a-z A-Z 0-9 . _ -
}

// A configuration is checked before any broker is asked.
func ExampleNewApp() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	_, err := stream.NewApp(b, stream.Config{ApplicationID: "app"})
	fmt.Println(err)
	// Output:
	// stream: invalid configuration: Brokers are missing
}
