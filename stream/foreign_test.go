package stream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// orders joins orders, "ann:5", with customers, "Rome", by the name before the colon; "guest" refers to nobody.
func orders(b *stream.Builder, outer bool) {
	o, c := b.Table[string, string]("orders"), b.Table[string, string]("customers")
	opts := []stream.TableJoined{stream.Named("meet"), stream.As("joined")}
	var joined stream.KTable[string, string]
	if outer {
		joined = o.LeftJoinForeign(c, customer, func(_, order, city string, ok bool) string { return fmt.Sprint(order, " ", city, ok) }, opts...)
	} else {
		joined = o.JoinForeign(c, customer, func(_, order, city string) string { return shipped(order, city) }, opts...)
	}
	joined.ToStream().To("out")
}

func customer(_, order string) (string, bool) {
	name, _, ok := strings.Cut(order, ":")
	if name == "boom" {
		panic("this order cannot be read")
	}
	return name, ok
}

func shipped(order, city string) string {
	if city == "nowhere" {
		panic("there is no such city")
	}
	return order + " to " + city
}

const (
	registration = stream.Topic[string, []byte]("test-meet-subscription-registration-topic")
	response     = stream.Topic[string, []byte]("test-meet-subscription-response-topic")
)

// meet is a driver of the inner join, Ann's order in it.
func meet(t *testing.T, opts ...streamtest.Option) *streamtest.Driver {
	t.Helper()
	b := stream.NewBuilder()
	orders(b, false)
	d := streamtest.New(t, b, opts...)
	d.Input[string, string]("customers").Pipe("ann", "Rome")
	d.Input[string, string]("orders").Pipe("o1", "ann:5")
	d.Output[string, string]("out").Want(stream.Record[string, string]{Key: "o1", Value: "ann:5 to Rome"})
	return d
}

// answerTo is an answer to a row with that value.
func answerTo(row, right string) []byte {
	h := layout.Hash128([]byte(row))
	return layout.AppendResponse(nil, h[:], []byte(right))
}

func TestAnswersToARowThatHasChangedAreDropped(t *testing.T) {
	t.Parallel()
	d := meet(t)
	in, out := d.Input(response), d.Output[string, string]("out")
	in.PipeBytes([]byte("o1"), answerTo("ann:4", "Oslo"))            // an older row
	in.PipeBytes([]byte("o1"), layout.AppendResponse(nil, nil, nil)) // a row that was deleted
	in.PipeBytes([]byte("o2"), answerTo("ann:5", "Oslo"))            // a row that is gone by now
	in.PipeBytes(nil, answerTo("ann:5", "Oslo"))                     // no row at all
	in.PipeBytes([]byte("o1"), nil)                                  // no answer at all
	out.Want()
	in.PipeBytes([]byte("o1"), answerTo("ann:5", "Oslo"))
	out.Want(stream.Record[string, string]{Key: "o1", Value: "ann:5 to Oslo"})
	in.PipeBytes([]byte("o1"), answerTo("ann:5", ""))
	out.Want(stream.Record[string, string]{Key: "o1", Tombstone: true})
}

func TestSubscriptionsOfOlderReleasesAreAnswered(t *testing.T) {
	t.Parallel()
	d := meet(t)
	h := layout.Hash128([]byte("ann:5"))
	d.Input(registration).PipeBytes([]byte("ann"), layout.AppendSubscription(nil, layout.Subscription{
		Version: layout.SubscriptionV0, Instruction: layout.PropagateOnlyIfForeign, Hash: h[:], Primary: []byte("o1"),
	}))
	d.Output[string, string]("out").Want(stream.Record[string, string]{Key: "o1", Value: "ann:5 to Rome"})
	d.Input[string, string]("customers").Pipe("ann", "Oslo") // the store holds the old version now
	d.Output[string, string]("out").Want(stream.Record[string, string]{Key: "o1", Value: "ann:5 to Oslo"})
}

func TestSubscriptionsToNothingAreDropped(t *testing.T) {
	t.Parallel()
	d := meet(t)
	for _, do := range []layout.Instruction{layout.DeleteKeyAndPropagate, layout.DeleteKeyNoPropagate, layout.PropagateOnlyIfForeign} {
		d.Input(registration).PipeBytes(nil, layout.AppendSubscription(nil, layout.Subscription{Version: 1, Instruction: do, Primary: []byte("o1")}))
	}
	d.Input(registration).PipeBytes([]byte("ann"), nil)
	if n := strings.Count(d.Transcript(), "response"); n != 1 {
		t.Errorf("%d answers were sent, want that of the order alone\n%s", n, d.Transcript())
	}
}

func TestDamagedTopicsOfAJoinAreFaultsOfReading(t *testing.T) {
	t.Parallel()
	for topic, b := range map[stream.Topic[string, []byte]][]byte{registration: {0x81}, response: {0x00, 1, 2}} {
		d := meet(t)
		d.Input(topic).PipeBytes([]byte("ann"), b)
		var at *stream.TaskError
		if err := d.Err(); !errors.As(err, &at) || !errors.Is(err, layout.ErrLayout) || at.Topic != string(topic) {
			t.Errorf("%s: got %v", topic, err)
		}
	}
}

func TestFunctionsOfAJoinMayPanic(t *testing.T) {
	t.Parallel()
	goOn := func(errs *[]string) stream.Config {
		c := stream.Config{CacheBytes: -1}
		c.ProcessingErrors = func(_ context.Context, f stream.Failure) stream.Response {
			*errs = append(*errs, f.Node)
			return stream.Continue()
		}
		return c
	}
	var errs []string
	d := meet(t, streamtest.WithConfig(goOn(&errs)))
	out := d.Output[string, string]("out")
	d.Input[string, string]("orders").Pipe("o2", "boom:1")
	out.Want()
	d.Input[string, string]("customers").Pipe("ann", "nowhere")
	out.Want()
	d.Input[string, string]("customers").Pipe("ann", "Oslo")
	out.Want(stream.Record[string, string]{Key: "o1", Value: "ann:5 to Oslo"})
	if want := []string{"meet-subscription-registration-processor", "meet-subscription-response-resolver"}; !slices.Equal(errs, want) {
		t.Errorf("got %v, want %v", errs, want)
	}
}

func TestAForeignKeyMayBeANilPointer(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	rights := b.Table[*string, string]("rights")
	b.Table[string, string]("lefts").LeftJoinForeign(rights, func(_, v string) (*string, bool) {
		if v == "" {
			return nil, true
		}
		return &v, true
	}, func(_, v, o string, ok bool) string { return fmt.Sprint(v, o, ok) }).ToStream().To("out")
	d := streamtest.New(t, b, streamtest.WithPartitions(3))
	d.Input[string, string]("rights").Pipe("a", "x")
	in := d.Input[string, string]("lefts")
	in.Pipe("l", "a")
	in.Pipe("l", "")
	d.Output[string, string]("out").Want(stream.Record[string, string]{Key: "l", Value: "axtrue"}, stream.Record[string, string]{Key: "l", Value: "false"})
}

func TestDeleteWhenDeletesJoinedRows(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	h := state.TimestampedKeyValue[string, string]("joined")
	b.Table[string, string]("lefts").JoinForeign(b.Table[string, string]("rights"), func(_, v string) (string, bool) { return v, true },
		func(_, _, o string) string { return o }, stream.Into(h), stream.DeleteWhen(func(r string) bool { return r == "off" }))
	d := streamtest.New(t, b)
	d.Input[string, string]("rights").Pipe("a", "on")
	d.Input[string, string]("lefts").Pipe("l", "a")
	if v, ok, err := d.Store(h).Get("l"); v != "on" || !ok || err != nil {
		t.Errorf("got %q %v %v", v, ok, err)
	}
	d.Input[string, string]("rights").Pipe("a", "off")
	if v, ok, err := d.Store(h).Get("l"); ok || err != nil {
		t.Errorf("got %q %v %v", v, ok, err)
	}
}

func TestForeignPartitionMeetsTablesThatAreWrittenElsewhere(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	last := func(_ string, _ string, n int) int { return n - 1 }
	b.Table[string, string]("lefts").JoinForeign(b.Table[string, string]("rights"), func(_, v string) (string, bool) { return v, true },
		func(_, l, r string) string { return l + r }, stream.Named("meet"), stream.ForeignPartition(last, last)).ToStream().To("out")
	w := newFleet(t, b, stream.Config{ApplicationID: "test", MaxTaskIdle: -1, CacheBytes: -1}, map[string]int32{"lefts": 2, "rights": 3, "out": 1})
	w.writeTo("lefts", 1, "l", "r")
	w.writeTo("rights", 2, "r", "x")
	for ways := w.ways(); len(ways) > 0; ways = w.ways() {
		if err := w.deliver(ways[0]); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.latest("out"); !maps.Equal(got, map[string]string{"l": "rx"}) {
		t.Errorf("got %v\n%s", got, w)
	}
}

func TestTopicsOfAJoinAreAsWideAsTheTables(t *testing.T) {
	t.Parallel()
	for _, n := range [][2]int32{{2, 5}, {5, 2}, {3, 3}} {
		b := stream.NewBuilder()
		orders(b, true)
		prog, err := stream.Assemble(opt.Seal{}, b, stream.Config{ApplicationID: "test"})
		if err != nil {
			t.Fatal(err)
		}
		widths := map[string]int32{"orders": n[0], "customers": n[1]}
		if _, err := prog.Plan.Internal(widths, nil); err != nil {
			t.Fatal(err)
		}
		if widths[string(registration)] != n[1] || widths[string(response)] != n[0] {
			t.Errorf("%v: got %v", n, widths)
		}
	}
}

func TestAJoinWithItselfHasPartitionsToo(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	in := b.Table[string, string]("in")
	in.JoinForeign(in, func(_, v string) (string, bool) { return v, true }, func(_, l, r string) string { return l + r }, stream.Named("meet"))
	prog, err := stream.Assemble(opt.Seal{}, b, stream.Config{ApplicationID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	widths := map[string]int32{"in": 4}
	if _, err := prog.Plan.Internal(widths, nil); err != nil || widths[string(registration)] != 4 || widths[string(response)] != 4 {
		t.Errorf("got %v (%v)", widths, err)
	}
}

func TestFaultsOfAForeignKeyJoinAreNamed(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	l, r := b.Table[string, string]("l"), b.Table[int64, string]("r")
	ref := func(_, _ string) (int64, bool) { return 0, false }
	join := func(_, v, _ string) string { return v }
	l.JoinForeign(stream.NewBuilder().Table[int64, string]("r"), ref, join, stream.Named("elsewhere"))
	l.JoinForeign(r, ref, join, stream.ForeignPartition(
		func(string, int, int) int { return 0 }, func(string, int64, int) int { return 0 }))
	l.JoinForeign(r, ref, join, stream.As("joined"), stream.ValueSerde(serde.Int64()))
	l.JoinForeign(r, ref, join, stream.Named("no name"))
	l.JoinForeign(r, ref, join, stream.As("odd"), stream.DeleteWhen(func(int64) bool { return false }))
	_, err := b.Build(stream.Config{ApplicationID: "test"})
	if err == nil {
		t.Fatal("it was built")
	}
	for _, part := range []string{
		"foreign_test.go", "JoinForeign", "made with another Builder", "ForeignPartition's primary function", "which does not take string",
		"ValueSerde is", "is no topic's name", "DeleteWhen is",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in:\n%v", part, err)
		}
	}
}

// The serdes are told pseudo topics, as a registry's subjects depend on them.
func TestSerdesOfAJoinAreToldKafkaStreamsTopics(t *testing.T) {
	t.Parallel()
	told := map[string]bool{}
	spy := func(what string) serde.Serde[string] { return spying{serde.String(), what, told} }
	b := stream.NewBuilder()
	l := b.Table[string, string]("l", stream.KeySerde(spy("pk")), stream.ValueSerde(spy("row")))
	r := b.Table[string, string]("r", stream.KeySerde(spy("fk")), stream.ValueSerde(spy("right")))
	l.JoinForeign(r, func(_, v string) (string, bool) { return v, true }, func(_, l, r string) string { return l + r }, stream.Named("meet"))
	d := streamtest.New(t, b)
	d.Input(stream.Topic[[]byte, []byte]("l")).Pipe([]byte("k"), []byte("a"))
	d.Input(stream.Topic[[]byte, []byte]("r")).Pipe([]byte("a"), []byte("x"))
	topic := "test-meet-subscription-registration-topic"
	for _, want := range []string{
		"pk " + topic + "-pk", "fk " + topic + "-fk", "row " + topic + "-vh", "fk " + topic,
		"pk " + string(response), "right " + string(response),
	} {
		if !told[want] {
			t.Errorf("%s was not told, but %v", want, slices.Sorted(maps.Keys(told)))
		}
	}
}

type spying struct {
	serde.Serde[string]
	what string
	told map[string]bool
}

func (s spying) Append(dst []byte, v string, m serde.Meta) ([]byte, error) {
	s.told[s.what+" "+m.Topic] = true
	return s.Serde.Append(dst, v, m)
}

func TestTheStoreOfSubscriptionsSurvivesACrash(t *testing.T) {
	t.Parallel()
	d := meet(t)
	d.Commit()
	d.Crash()
	d.Input(stream.Topic[string, string]("customers")).PipeAt(time.UnixMilli(5), "ann", "Oslo")
	d.Output[string, string]("out").Want(stream.Record[string, string]{Key: "o1", Value: "ann:5 to Oslo"})
}

// A result without a name keeps a store as soon as somebody has to read it, under the name that Kafka Streams gives it.
func TestAResultIsKeptWhereItIsNeeded(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	o, c := b.Table[string, string]("orders"), b.Table[string, string]("customers")
	joined := func() stream.KTable[string, string] {
		return o.JoinForeign(c, customer, func(_, order, city string) string { return shipped(order, city) })
	}
	if name := joined().StoreName(); name != "" {
		t.Errorf("nobody needs it, and it is %s", name)
	}
	grouped, read := joined(), joined()
	grouped.GroupBy(func(_, v string) (string, string) { return v, v }).Count().ToStream().To("counts")
	read.Join(o, func(_, v, order string) string { return order + ", " + v }).ToStream().To("out")
	for name, got := range map[string]string{
		"KTABLE-FK-JOIN-OUTPUT-STATE-STORE-0000000033": grouped.StoreName(), "KTABLE-FK-JOIN-OUTPUT-STATE-STORE-0000000047": read.StoreName(),
	} {
		if got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1}))
	d.Input[string, string]("customers").Pipe("ann", "Rome")
	d.Input[string, string]("orders").Pipe("o1", "ann:5")
	d.Output[string, string]("out").Want(stream.Record[string, string]{Key: "o1", Value: "ann:5, ann:5 to Rome"})
	d.Output[string, int64]("counts").Want(stream.Record[string, int64]{Key: "ann:5 to Rome", Value: 1})
	d.Input[string, string]("orders").Delete("o1")
	d.Output[string, int64]("counts").Want(stream.Record[string, int64]{Key: "ann:5 to Rome", Value: 0})
}
