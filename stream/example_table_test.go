package stream_test

import (
	"fmt"
	"strings"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// people pipes two people and where they live, and prints what comes out, one change at a time.
func people(b *stream.Builder) {
	t := &exampleT{}
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1}))
	names, cities := d.Input[string, string]("names"), d.Input[string, string]("cities")
	names.Pipe("1", "Ann")
	cities.Pipe("1", "Rome")
	cities.Pipe("2", "Oslo")
	names.Delete("1")
	for line := range strings.Lines(d.Transcript()) {
		if strings.HasPrefix(line, "> ") {
			fmt.Print(line[2:])
		}
	}
	for _, f := range t.cleanups {
		f()
	}
}

// A row of both tables, as long as both are there.
func ExampleKTable_Join() {
	b := stream.NewBuilder()
	names, cities := b.Table[string, string]("names"), b.Table[string, string]("cities")
	names.Join(cities, func(_, name, city string) string { return name + " in " + city }).
		ToStream().To("out")
	people(b)
	// Output:
	// out-0 "1"="Ann in Rome" @0
	// out-0 "1"=null @0
}

// Every name, with the city where it is known.
func ExampleKTable_LeftJoin() {
	b := stream.NewBuilder()
	names, cities := b.Table[string, string]("names"), b.Table[string, string]("cities")
	names.LeftJoin(cities, func(_, name, city string, ok bool) string {
		if !ok {
			city = "nowhere"
		}
		return name + " in " + city
	}).ToStream().To("out")
	people(b)
	// Output:
	// out-0 "1"="Ann in nowhere" @0
	// out-0 "1"="Ann in Rome" @0
	// out-0 "1"=null @0
}

// Whatever is known of a key.
func ExampleKTable_OuterJoin() {
	b := stream.NewBuilder()
	names, cities := b.Table[string, string]("names"), b.Table[string, string]("cities")
	names.OuterJoin(cities, func(_, name string, named bool, city string, placed bool) string {
		return fmt.Sprintf("%q %t, %q %t", name, named, city, placed)
	}).ToStream().To("out")
	people(b)
	// Output:
	// out-0 "1"="\"Ann\" true, \"\" false" @0
	// out-0 "1"="\"Ann\" true, \"Rome\" true" @0
	// out-0 "2"="\"\" false, \"Oslo\" true" @0
	// out-0 "1"="\"\" false, \"Rome\" true" @0
}

// How many live in each city: who moves is taken out of one group and put into another, and a city without people is none.
func ExampleKTable_GroupBy() {
	b := stream.NewBuilder()
	b.Table[string, string]("in").
		GroupBy(func(person, city string) (string, string) { return city, person }).
		Count(stream.DeleteWhen(func(n int64) bool { return n == 0 })).
		MapValues(func(_ string, n int64) string { return fmt.Sprint(n, " live here") }).
		ToStream().To("out")
	play(b, stream.Config{CacheBytes: -1}, "Rome", "Oslo")
	// Output:
	// out-0 "Rome"="1 live here" @0
	// out-0 "Rome"=null @0
	// out-0 "Oslo"="1 live here" @0
}

// Each order with the city of its customer as it is when the order comes.
func ExampleKStream_LeftJoinTable() {
	b := stream.NewBuilder()
	cities := b.Stream[string, string]("in").
		Filter(func(_, v string) bool { return strings.HasPrefix(v, "moves to ") }).
		MapValues(func(_, v string) string { return strings.TrimPrefix(v, "moves to ") }).
		ToTable(stream.As("cities"))
	b.Stream[string, string]("in").
		Filter(func(_, v string) bool { return !strings.HasPrefix(v, "moves to ") }).
		LeftJoinTable(cities, func(_, order, city string, ok bool) string {
			if !ok {
				return order + " to be fetched"
			}
			return order + " to " + city
		}).To("out")
	play(b, stream.Config{}, "tea", "moves to Rome", "milk")
	// Output:
	// out-0 "k"="tea to be fetched" @0
	// out-0 "k"="milk to Rome" @0
}

// changesSeen counts how often each row was changed.
var changesSeen = state.KeyValue[string, int64]("changes-seen")

// changeCounter puts the number of changes behind a value.
type changeCounter struct {
	seen state.KeyValueStore[string, int64]
}

// Init opens the store.
func (c *changeCounter) Init(ctx *stream.FixedKeyProcessorContext[string, string]) error {
	c.seen = ctx.Store(changesSeen)
	return nil
}

// Process is called for every change, deletions too.
func (c *changeCounter) Process(ctx *stream.FixedKeyProcessorContext[string, string], r stream.FixedKeyRecord[string, string]) error {
	k, _ := r.Key()
	n, _, err := c.seen.Get(k)
	if err != nil {
		return err
	}
	if err := c.seen.Put(k, n+1); err != nil || r.Tombstone {
		return err // nothing forwarded: the row is deleted
	}
	return ctx.Forward(r.WithValue(fmt.Sprintf("%s (%d)", r.Value, n+1)))
}

// A table's values with something that a store remembers.
func ExampleKTable_TransformValues() {
	b := stream.NewBuilder()
	b.Table[string, string]("in").
		TransformValues(func() *changeCounter { return &changeCounter{} }, stream.Uses(changesSeen), stream.As("numbered")).
		ToStream().To("out")
	play(b, stream.Config{CacheBytes: -1}, "red", "blue")
	// Output:
	// out-0 "k"="red (1)" @0
	// out-0 "k"="blue (2)" @0
}
