package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// Topics of these tests.
const (
	lefts1  stream.Topic[string, string] = "left"
	rights1 stream.Topic[string, string] = "right"
)

// uncached is an application whose changes are seen one by one.
var uncached = streamtest.WithConfig(stream.Config{CacheBytes: -1})

func join2(_, v, o string) string { return v + "+" + o }

func TestAJoinedRowIsAsNewAsItsNewerSide(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Table(lefts1).Join(b.Table(rights1), join2).ToStream().To(outs)
	d := streamtest.New(t, b, uncached)
	left, right, out := d.Input(lefts1), d.Input(rights1), d.Output(outs)
	left.PipeAt(at(50), "k", "l")
	right.PipeAt(at(20), "k", "r")  // late: the result is as new as the left row
	right.PipeAt(at(70), "k", "r2") // newer
	left.PipeRecord(stream.Record[string, string]{Key: "k", Tombstone: true, Timestamp: at(60)})
	left.PipeRecord(stream.Record[string, string]{Key: "k", Tombstone: true, Timestamp: at(90)}) // deleted before, but told
	for _, want := range []string{"l+r @50", "l+r2 @70", " @70", " @90"} {
		r, ok := out.Read()
		if got := fmt.Sprintf("%s @%d", r.Value, r.Timestamp.UnixMilli()); !ok || got != want {
			t.Errorf("got %q %v, want %q", got, ok, want)
		}
	}
	if r, ok := out.Read(); ok {
		t.Errorf("and %v", r)
	}
}

func TestDeleteWhenDeletesWhateverMakesTheRow(t *testing.T) {
	t.Parallel()
	gone := stream.DeleteWhen(func(v string) bool { return strings.HasSuffix(v, "-") })
	for name, build := range map[string]func(b *stream.Builder) stream.KTable[string, string]{
		"Table":     func(b *stream.Builder) stream.KTable[string, string] { return b.Table(lefts1, gone) },
		"ToTable":   func(b *stream.Builder) stream.KTable[string, string] { return b.Stream(lefts1).ToTable(gone) },
		"Filter":    func(b *stream.Builder) stream.KTable[string, string] { return b.Table(lefts1).Filter(always, gone) },
		"FilterNot": func(b *stream.Builder) stream.KTable[string, string] { return b.Table(lefts1).FilterNot(never, gone) },
		"MapValues": func(b *stream.Builder) stream.KTable[string, string] {
			return b.Table(lefts1).MapValues(keepValue, gone)
		},
		"TransformValues": func(b *stream.Builder) stream.KTable[string, string] {
			return b.Table(lefts1).TransformValues(stream.FixedKeyProcessorFunc(forwardValue), gone)
		},
		"Join": func(b *stream.Builder) stream.KTable[string, string] {
			table := b.Table(lefts1)
			return table.Join(table, func(_, v, _ string) string { return v }, gone)
		},
		"Reduce": func(b *stream.Builder) stream.KTable[string, string] {
			return b.Table(lefts1).GroupBy(swapped).Reduce(func(_, v string) string { return v }, func(agg, _ string) string { return agg }, gone).MapValues(keepValue)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := stream.NewBuilder()
			build(b).ToStream().To(outs)
			d := streamtest.New(t, b, uncached)
			in, out := d.Input(lefts1), d.Output(outs)
			in.Pipe("k", "a")
			in.Pipe("k", "a-")
			all := out.ReadAll()
			if len(all) < 2 || all[0].Value != "a" || !all[len(all)-1].Tombstone {
				t.Errorf("got %v", all)
			}
		})
	}
}

func always(string, string) bool           { return true }
func never(string, string) bool            { return false }
func keepValue(_, v string) string         { return v }
func swapped(k, v string) (string, string) { return k, v }
func forwardValue(ctx *stream.FixedKeyProcessorContext[string, string], r stream.FixedKeyRecord[string, string]) error {
	return ctx.Forward(r)
}

func TestRowsWithoutANewKeyOrValueAreInNoGroup(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Table[string, string]("in").GroupBy(func(_, v string) (*string, *string) {
		switch v {
		case "no key":
			return nil, &v
		case "no value":
			return &v, nil
		}
		return new("g"), &v
	}).Count(stream.As("n"), stream.DeleteWhen(func(n int64) bool { return n == 0 })).ToStream().To("out")
	d := streamtest.New(t, b, uncached)
	in, out := d.Input(stream.Topic[string, string]("in")), d.Output(stream.Topic[string, int64]("out"))
	in.Pipe("a", "no key")
	in.Pipe("a", "no value")
	out.Want()
	in.Pipe("a", "x")
	in.Pipe("b", "x")
	in.Pipe("a", "no key") // leaves its group
	in.Delete("b")
	out.Want(out.R("g", 1), out.R("g", 2), out.R("g", 1), out.D("g"))
	if n := strings.Count(d.Transcript(), "n-repartition"); n != 4 {
		t.Errorf("%d changes were sent, want 4: rows that are in no group are not sent\n%s", n, d.Transcript())
	}
}

func TestARowWithoutKeyIsDroppedAndCounted(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	table := b.Table[string, string]("left")
	table.GroupBy(swapped).Count().ToStream().To("groups")
	s := b.Stream[string, string]("in")
	s.ToTable().ToStream().To("table")
	s.JoinTable(table, join2).To("inner")
	s.LeftJoinTable(table, func(k, v, o string, ok bool) string { return fmt.Sprint(k, v, o, ok) }).To("outer")
	d := streamtest.New(t, b, uncached)
	for _, topic := range []stream.Topic[string, string]{"left", "in"} {
		d.Input(topic).PipeRecord(stream.Record[string, string]{Keyless: true, Value: "v", Timestamp: at(0)})
	}
	for _, topic := range []stream.Topic[string, string]{"groups", "table", "inner"} {
		if all := d.Output(topic).ReadAll(); len(all) != 0 {
			t.Errorf("%s has %v", topic, all)
		}
	}
	all := d.Output(stream.Topic[string, string]("outer")).ReadAll()
	if len(all) != 1 || !all[0].Keyless || all[0].Value != "vfalse" {
		t.Errorf("the left join made %v", all)
	}
}

// boom is a user function that panics when it is told to.
func boom(v string) string {
	if v == "boom" {
		panic("boom")
	}
	return v
}

// fragile are tables with a function that may fail.
var fragile = map[string]struct {
	build func(b *stream.Builder)
	node  string
	last  string // what is seen in the end if a handler goes on
}{
	"Join": {func(b *stream.Builder) {
		table := b.Table[string, string]("in")
		table.LeftJoin(table, func(_, v, _ string, _ bool) string { return boom(v) }, stream.Named("x")).ToStream().To("out")
	}, "x-join-this", "last"},
	"JoinTable": {func(b *stream.Builder) {
		s := b.Stream[string, string]("in")
		s.LeftJoinTable(s.ToTable(), func(_, v, _ string, _ bool) string { return boom(v) }, stream.Named("x")).To("out")
	}, "x", "last"},
	"GroupBy": {func(b *stream.Builder) {
		b.Table[string, string]("in").GroupBy(func(k, v string) (string, string) { return boom(v), v }, stream.Named("x")).
			Reduce(keepFirst, keepFirst).ToStream().To("out")
	}, "x", "fine"}, // the next change would take the row out of the group it was never in
	"Reduce": {func(b *stream.Builder) {
		b.Table[string, string]("in").GroupBy(swapped).
			Reduce(func(_, v string) string { return boom(v) }, keepFirst, stream.Named("x")).ToStream().To("out")
	}, "x", "last"},
	"TransformValues": {func(b *stream.Builder) {
		b.Table[string, string]("in").TransformValues(stream.FixedKeyProcessorFunc(
			func(ctx *stream.FixedKeyProcessorContext[string, string], r stream.FixedKeyRecord[string, string]) error {
				if r.Value == "boom" {
					return errors.New("boom")
				}
				return ctx.Forward(r)
			}), stream.Named("x")).ToStream().To("out")
	}, "x", "last"},
}

func TestAFailingFunctionOfATableIsTheHandlers(t *testing.T) {
	t.Parallel()
	for name, c := range fragile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, goOn := range []bool{false, true} {
				b := stream.NewBuilder()
				c.build(b)
				cfg := stream.Config{CacheBytes: -1}
				if goOn {
					cfg.ProcessingErrors = func(_ context.Context, f stream.Failure) stream.Response { return stream.Continue() }
				}
				d := streamtest.New(t, b, streamtest.WithConfig(cfg))
				in := d.Input(stream.Topic[string, string]("in"))
				in.Pipe("k", "fine")
				in.Pipe("k", "boom")
				failed, ok := errors.AsType[*stream.TaskError](d.Err())
				if goOn {
					in.Pipe("k", "last")
					all := d.Output(stream.Topic[string, string]("out")).ReadAll()
					if d.Err() != nil || len(all) == 0 || all[len(all)-1].Value != c.last {
						t.Errorf("with a handler that goes on: %v, %v", all, d.Err())
					}
					continue
				}
				if !ok || failed.Node != c.node || !strings.Contains(failed.Error(), "boom") {
					t.Errorf("got %v", d.Err())
				}
			}
		})
	}
}

func keepFirst(agg, _ string) string { return agg }

func TestWrongUseOfTablesIsAFault(t *testing.T) {
	t.Parallel()
	elsewhere := stream.NewBuilder().Table[string, string]("elsewhere")
	for name, c := range map[string]struct {
		build func(b *stream.Builder)
		want  string
	}{
		"another builder's table":               {func(b *stream.Builder) { b.Table(lefts1).Join(elsewhere, join2) }, "another Builder"},
		"another builder's table to look up in": {func(b *stream.Builder) { b.Stream(lefts1).JoinTable(elsewhere, join2) }, "another Builder"},
		"a serde of another type": {func(b *stream.Builder) {
			b.Table(lefts1).GroupBy(swapped, stream.ValueSerde(serde.Int64())).Count()
		}, "none of string"},
		"a joined serde of another type": {func(b *stream.Builder) {
			b.Stream(lefts1).JoinTable(b.Table(rights1), join2, stream.OtherSerde(serde.Int64()))
		}, "OtherSerde"},
		"a store of another type": {func(b *stream.Builder) {
			b.Table(lefts1).GroupBy(swapped).Count(stream.Into(state.TimestampedKeyValue[string, string]("n")))
		}, "Into needs"},
		"an emptiness of another type": {func(b *stream.Builder) {
			b.Table(lefts1).GroupBy(swapped).Count(stream.DeleteWhen(func(string) bool { return true }))
		}, "DeleteWhen"},
		"one name for two groupings": {func(b *stream.Builder) {
			table := b.Table(lefts1)
			table.GroupBy(swapped, stream.Named("g")).Count()
			table.MapValues(keepValue).GroupBy(swapped, stream.Named("g")).Count()
		}, `"g" is taken`},
		"no rows at all": {func(b *stream.Builder) { b.Table(lefts1, stream.As("few"), state.LRU(0)).ToStream().To(outs) }, "LRU"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := stream.NewBuilder()
			c.build(b)
			_, err := b.Build(stream.Config{ApplicationID: "test"})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "table_test.go") {
				t.Errorf("got %v, want something of %q", err, c.want)
			}
		})
	}
}

func TestANamedGroupingHasOneTopicForAllItsAggregates(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	g := b.Table(lefts1).GroupBy(func(_, v string) (string, string) { return v[:1], v }, stream.Named("letters"))
	g.Count().ToStream().To("counts")
	g.Reduce(func(agg, v string) string { return agg + v }, func(agg, v string) string { return strings.Replace(agg, v, "", 1) }).ToStream().To("lists")
	d := streamtest.New(t, b, uncached)
	in, counts, lists := d.Input(lefts1), d.Output(stream.Topic[string, int64]("counts")), d.Output(stream.Topic[string, string]("lists"))
	in.Pipe("a", "x1")
	in.Pipe("b", "x2")
	in.Pipe("a", "y")
	counts.Want(counts.R("x", 1), counts.R("x", 2), counts.R("x", 1), counts.R("y", 1))
	lists.Want(lists.R("x", "x1"), lists.R("x", "x1x2"), lists.R("x", "x2"), lists.R("y", "y"))
	if n := strings.Count(d.Transcript(), "letters-repartition"); n != 4 {
		t.Errorf("%d records were sent through the topic, want 4:\n%s", n, d.Transcript())
	}
}

func TestAJoinReadsATransformedTableThatIsNotKept(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	numbered := b.Table(rights1).TransformValues(newNumberer, stream.Uses(numbers), stream.Named("number"))
	b.Stream(texts).JoinTable(numbered, join2).To(outs)
	d := streamtest.New(t, b, uncached)
	in, rows, out := d.Input(texts), d.Input(rights1), d.Output(outs)
	rows.PipeAt(at(7), "k", "r")
	in.PipeAt(at(9), "k", "a")
	in.PipeAt(at(9), "none", "b")
	out.Want(stream.Record[string, string]{Key: "k", Value: "a+r#2@7", Timestamp: at(9)})
}

var numbers = state.KeyValue[string, int64]("numbers")

// numberer numbers the times that it was asked about a key.
type numberer struct {
	n state.KeyValueStore[string, int64]
}

func newNumberer() *numberer { return &numberer{} }

func (p *numberer) Init(ctx *stream.FixedKeyProcessorContext[string, string]) error {
	p.n = ctx.Store(numbers)
	return nil
}

func (p *numberer) Process(ctx *stream.FixedKeyProcessorContext[string, string], r stream.FixedKeyRecord[string, string]) error {
	k, _ := r.Key()
	n, _, err := p.n.Get(k)
	if err != nil {
		return err
	}
	if err := p.n.Put(k, n+1); err != nil || r.Tombstone {
		return err // nothing forwarded: no row
	}
	if err := ctx.Forward(r.WithValue("overwritten")); err != nil {
		return err
	}
	return ctx.Forward(r.WithValue(fmt.Sprintf("%s#%d@%d", r.Value, n+1, r.Timestamp.UnixMilli())))
}

func TestSidesOfATableJoinNeedEquallyManyPartitions(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func(b *stream.Builder){
		"Join": func(b *stream.Builder) {
			l := b.Table(lefts1)
			l.Join(b.Table(rights1), join2).ToStream().To(outs)
		},
		"JoinTable": func(b *stream.Builder) { b.Stream(lefts1).JoinTable(b.Table(rights1), join2).To(outs) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fake(t)
			c.topics(2, "left")
			c.topics(3, "right", "outs")
			b := stream.NewBuilder()
			build(b)
			err := c.ended(b, stream.Config{ApplicationID: "joined"})
			if err == nil || !strings.Contains(err.Error(), "equally many") && !strings.Contains(err.Error(), "left") {
				t.Errorf("got %v", err)
			}
		})
	}
}
