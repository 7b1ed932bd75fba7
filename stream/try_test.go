package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/streamtest"
)

func parse(_, v string) (int64, error) { return strconv.ParseInt(v, 10, 64) }

func TestFailuresAreAStream(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	numbers, failed := b.Stream[string, string]("in").TryMapValues(parse, stream.Named("parse"))
	numbers.To("numbers")
	numbers.MapValues(func(_ string, n int64) int64 { return 2 * n }).To("doubles")
	failed.To("in.dlq")
	failed.Filter(func(_ []byte, f stream.Failure) bool { return f.Offset > 1 }).
		MapValues(func(_ []byte, f stream.Failure) string { return fmt.Sprint(f.Node, " ", f.Topic, f.Offset, " ", f.Err) }).To("late")
	d := streamtest.New(t, b)
	in := d.Input(stream.Topic[string, string]("in"))
	in.PipeAt(at(1), "a", "7")
	in.PipeRecord(stream.Record[string, string]{Key: "b", Value: "x", Timestamp: at(2), Headers: header("trace", "1")})
	in.PipeRecord(stream.Record[string, string]{Value: "y", Keyless: true, Timestamp: at(3)})
	in.PipeRecord(stream.Record[string, string]{Key: "a", Tombstone: true, Timestamp: at(4)})
	out := d.Output(stream.Topic[string, int64]("numbers"))
	out.Want(out.R("a", 7), out.D("a"))
	d.Output(stream.Topic[string, int64]("doubles")).Want(out.R("a", 14), out.D("a"))
	dlq := d.Output(stream.Topic[[]byte, stream.Failure]("in.dlq"))
	for i, want := range []string{"b x 2 in 0 1", " y 3 in 0 2"} {
		r, ok := dlq.Read()
		f := r.Value
		if got := fmt.Sprint(string(r.Key), " ", string(f.Value), " ", r.Timestamp.UnixMilli(), " ", f.Topic, " ", f.Partition, " ", f.Offset); !ok || got != want || f.Err == nil {
			t.Errorf("dead letter %d: %s %v, want %s", i, got, f.Err, want)
		}
		if trace, _ := r.Headers.Get("trace"); i == 0 && string(trace) != "1" {
			t.Errorf("the source's headers are gone: %v", r.Headers)
		}
		if kind, _ := r.Headers.Get("__streams.errors.exception"); string(kind) != "strconv.NumError" {
			t.Errorf("the cause is %q", kind)
		}
	}
	late := d.Output(stream.Topic[[]byte, string]("late"))
	want := late.R(nil, `parse in2 strconv.ParseInt: parsing "y": invalid syntax`)
	want.Keyless = true
	late.Want(want)
}

// A failure stream and the handler that writes dead letters write the same record.
func TestAFailureIsADeadLetter(t *testing.T) {
	t.Parallel()
	run := func(read bool) string {
		b := stream.NewBuilder()
		s := b.Stream[string, *string]("in")
		_, failed := s.TryMapValues(func(_ string, v *string) (*string, error) {
			if v == nil || *v == "bad" {
				return nil, fmt.Errorf("it is bad")
			}
			return v, nil
		}, stream.Named("step"))
		if read {
			failed.To("dlq")
		}
		d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{ProcessingErrors: func(context.Context, stream.Failure) stream.Response {
			return stream.DeadLetter("dlq")
		}}))
		in := d.Input(stream.Topic[string, *string]("in"))
		in.PipeRecord(stream.Record[string, *string]{Key: "k", Value: new("bad"), Timestamp: at(5), Headers: header("h", "1")})
		in.PipeRecord(stream.Record[string, *string]{Key: "k", Timestamp: at(6)})
		return fmt.Sprint(d.Sent())
	}
	handled, streamed := run(false), run(true)
	if handled != streamed || !strings.Contains(handled, "__streams.errors.offset") {
		t.Errorf("by the handler\n%s\nby the stream\n%s", handled, streamed)
	}
}

func TestUnreadFailuresAndPanicsGoToTheHandler(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	good, _ := b.Stream[string, string]("in").TryMap(func(k, v string) (string, int64, error) {
		if v == "panic" {
			panic("no")
		}
		n, err := parse(k, v)
		return v, n, err
	}, stream.Named("swap"))
	good.To("out")
	var seen []string
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{ProcessingErrors: func(_ context.Context, f stream.Failure) stream.Response {
		seen = append(seen, fmt.Sprint(f.Node, " ", errors.Is(f.Err, strconv.ErrSyntax), " ", string(f.Value)))
		return stream.Continue()
	}}))
	in, out := d.Input(stream.Topic[string, string]("in")), d.Output(stream.Topic[string, int64]("out"))
	in.Pipe("a", "panic")
	in.Pipe("a", "x")
	in.Pipe("a", "3")
	in.Delete("a")
	out.Want(out.R("3", 3))
	if got := strings.Join(seen, "; "); got != "swap false panic; swap true x" {
		t.Errorf("the handler saw %s", got)
	}
}

// Without a handler an unread failure stops the task, as every error does.
func TestAnUnreadFailureStopsTheTask(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	good, _ := b.Stream[string, string]("in").TryMapValues(parse)
	good.To("out")
	d := streamtest.New(t, b)
	d.Input(stream.Topic[string, string]("in")).Pipe("a", "x")
	if err := d.Err(); !errors.Is(err, strconv.ErrSyntax) {
		t.Errorf("got %v", err)
	}
}

// Behind a step that may fail a stream of keys that stayed needs no repartitioning, one of new keys does.
func TestTryMapRepartitions(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	s := b.Stream[string, string]("in")
	values, _ := s.TryMapValues(parse)
	values.GroupByKey().Count(stream.As("kept"))
	swapped, failed := s.TryMap(func(k, v string) (string, string, error) { return v, k, nil })
	swapped.GroupByKey().Count(stream.As("moved"))
	failed.To("dlq")
	topology, err := b.Build(stream.Config{ApplicationID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	text := topology.Describe()
	if strings.Contains(text, "kept-repartition") || !strings.Contains(text, "moved-repartition") {
		t.Error(text)
	}
}

func TestADeadLetterIsRead(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[[]byte, stream.Failure]("dlq").
		MapValues(func(_ []byte, f stream.Failure) string {
			return fmt.Sprint(f.Topic, f.Partition, f.Offset, f.Err, string(f.Value))
		}).To("out")
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{DeserializationErrors: func(context.Context, stream.Failure) stream.Response { return stream.Continue() }}))
	in, out := d.Input(stream.Topic[[]byte, []byte]("dlq")), d.Output(stream.Topic[[]byte, string]("out"))
	in.PipeRecord(stream.Record[[]byte, []byte]{Key: []byte("k"), Value: []byte("v"), Timestamp: at(1), Headers: serde.Headers{
		{Key: "__streams.errors.message", Value: []byte("broken")}, {Key: "__streams.errors.topic", Value: []byte("orders")},
		{Key: "__streams.errors.partition", Value: []byte("3")}, {Key: "__streams.errors.offset", Value: []byte("12")},
	}})
	in.PipeRecord(stream.Record[[]byte, []byte]{Key: []byte("k"), Value: []byte("v"), Timestamp: at(2), Headers: header("__streams.errors.offset", "far")})
	in.PipeRecord(stream.Record[[]byte, []byte]{Key: []byte("k"), Value: []byte("plain"), Timestamp: at(3)})
	out.Want(out.R([]byte("k"), "orders3 12 brokenv"), out.R([]byte("k"), "0 0 <nil>plain"))
}
