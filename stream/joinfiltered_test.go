package stream_test

import (
	"strings"
	"testing"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// Recorded from Kafka Streams: a row that a filter without a store keeps out is no value for the joiner either.
func TestJoinersSeeNothingOfFilteredRows(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	right := b.Table(stream.Topic[string, *string]("right")).FilterNot(func(_ string, v *string) bool { return *v == "z" })
	b.Table(stream.Topic[string, *string]("left")).LeftJoin(right, func(_ string, _, o *string, ok bool) string {
		if o == nil && !ok {
			return "none"
		}
		return *o
	}).ToStream().To("out")
	d := streamtest.New(t, b)
	l, r := d.Input(stream.Topic[string, *string]("left")), d.Input(stream.Topic[string, *string]("right"))
	out := d.Output(stream.Topic[string, string]("out"))
	r.Pipe("k", new("z"))
	l.Pipe("k", new("x"))
	out.Want(out.R("k", "none"))
	r.Pipe("k", new("y"))
	out.Want(out.R("k", "y"))
}

// Recorded from Kafka Streams: what lies below a processor keeps its own repartition topics, whatever is optimized.
func TestRepartitionsBelowAProcessorAreNotMerged(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	p := b.Stream(stream.Topic[string, string]("in")).Process(stream.ProcessorFunc(
		func(c *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
			return c.Forward(r)
		}))
	p.GroupByKey().Count().ToStream().To("one")
	p.GroupByKey().Count().ToStream().To("two")
	top, err := b.Build(stream.Config{ApplicationID: "app", Optimize: stream.AllOptimizations})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(top.Describe(), "-repartition])"); n != 2 {
		t.Errorf("%d repartition topics are read, want 2:\n%s", n, top.Describe())
	}
}
