package stream_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// Topics of these tests.
const (
	texts stream.Topic[string, string] = "texts"
	outs  stream.Topic[string, string] = "outs"
)

func TestStatelessOperators(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		build func(s stream.KStream[string, string]) stream.KStream[string, string]
		want  []string // key=value
	}{
		"Filter":        {func(s stream.KStream[string, string]) stream.KStream[string, string] { return s.Filter(isB) }, []string{"k=b"}},
		"FilterNot":     {func(s stream.KStream[string, string]) stream.KStream[string, string] { return s.FilterNot(isB) }, []string{"k=a"}},
		"Map":           {func(s stream.KStream[string, string]) stream.KStream[string, string] { return s.Map(swap) }, []string{"a=k", "b=k"}},
		"MapValues":     {func(s stream.KStream[string, string]) stream.KStream[string, string] { return s.MapValues(shout) }, []string{"k=A", "k=B"}},
		"SelectKey":     {func(s stream.KStream[string, string]) stream.KStream[string, string] { return s.SelectKey(shout) }, []string{"A=a", "B=b"}},
		"FlatMap":       {func(s stream.KStream[string, string]) stream.KStream[string, string] { return s.FlatMap(both) }, []string{"a=k", "k=a", "b=k", "k=b"}},
		"FlatMapValues": {func(s stream.KStream[string, string]) stream.KStream[string, string] { return s.FlatMapValues(double) }, []string{"k=a", "k=a", "k=b", "k=b"}},
		"Merge": {func(s stream.KStream[string, string]) stream.KStream[string, string] {
			return s.Merge(s.MapValues(shout))
		}, []string{"k=A", "k=a", "k=B", "k=b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := stream.NewBuilder()
			c.build(b.Stream(texts)).To(outs)
			d := streamtest.New(t, b)
			in, out := d.Input(texts), d.Output(outs)
			in.Pipe("k", "a")
			in.Pipe("k", "b")
			var got []string
			for _, r := range out.ReadAll() {
				got = append(got, r.Key+"="+r.Value)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func isB(_, v string) bool                  { return v == "b" }
func swap(k, v string) (string, string)     { return v, k }
func shout(_, v string) string              { return strings.ToUpper(v) }
func double(_, v string, emit func(string)) { emit(v); emit(v) }
func both(k, v string, emit func(string, string)) {
	emit(v, k)
	emit(k, v)
}

func TestPeekAndForEachSeeWhatPasses(t *testing.T) {
	t.Parallel()
	var peeked, seen []string
	b := stream.NewBuilder()
	b.Stream(texts).Peek(func(_, v string) { peeked = append(peeked, v) }).ForEach(func(_, v string) { seen = append(seen, v) })
	d := streamtest.New(t, b)
	in := d.Input(texts)
	in.Pipe("k", "a")
	in.Delete("k")
	if !slices.Equal(peeked, []string{"a"}) || !slices.Equal(seen, []string{"a"}) {
		t.Errorf("peeked %v, seen %v", peeked, seen)
	}
}

func TestPointersSeeNullAsJavaDoes(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	s := b.Stream[*string, *string]("in")
	s.MapValues(func(_, v *string) int64 {
		if v == nil {
			return -1
		}
		return int64(len(*v))
	}).To("lengths")
	s.MapValues(func(_, v *string) *string { return nil }).To("nothing")
	s.GroupByKey().Aggregate(func() *int64 { return new(int64) }, func(_ *string, v *string, n *int64) *int64 {
		if *v == "stop" {
			return nil // deletes
		}
		m := *n + 1
		return &m
	}, stream.As("n")).ToStream().To("counts")
	d := streamtest.New(t, b)
	in := d.Input(stream.Topic[*string, *string]("in"))
	lengths, nothing := d.Output(stream.Topic[string, int64]("lengths")), d.Output(stream.Topic[string, string]("nothing"))
	counts := d.Output(stream.Topic[string, int64]("counts"))
	k, v, stop := "k", "abc", "stop"
	in.Pipe(&k, &v)
	in.Pipe(&k, nil)
	in.Pipe(&k, &stop)
	lengths.Want(lengths.R("k", 3), lengths.R("k", -1), lengths.R("k", 4))
	nothing.Want(nothing.D("k"), nothing.D("k"), nothing.D("k"))
	counts.Want(counts.R("k", 1), counts.D("k"))
}

func TestATombstoneBecomesNilWhereTheNextTypeHasOne(t *testing.T) {
	t.Parallel()
	var nils int
	b := stream.NewBuilder()
	b.Stream(texts).
		MapValues(func(_, v string) *string { return &v }).
		Peek(func(_ string, v *string) {
			if v == nil {
				nils++
			}
		}).
		MapValues(func(_ string, v *string) string {
			if v == nil {
				return "none"
			}
			return *v
		}).To(outs)
	d := streamtest.New(t, b)
	in, out := d.Input(texts), d.Output(outs)
	in.Delete("k")
	out.Want(out.R("k", "none"))
	if nils != 1 {
		t.Errorf("the function saw nil %d times", nils)
	}
}

func TestPartitionIsChosenByTheProgram(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(texts).To(outs, stream.Partition(func(topic string, _, v string, n int) int {
		if topic != "outs" || n != 4 {
			t.Errorf("asked for %d partitions of %s", n, topic)
		}
		return len(v)
	}))
	d := streamtest.New(t, b, streamtest.WithPartitions(4))
	in := d.Input(texts)
	in.Pipe("k", "abc")
	if !strings.Contains(d.Transcript(), "> outs-3 ") {
		t.Errorf("not in partition 3:\n%s", d.Transcript())
	}
	in.Pipe("k", "abcde")
	var e *stream.TaskError
	if !errors.As(d.Err(), &e) || e.Op != "serialization" || !strings.Contains(e.Error(), "chose 5 of 4") {
		t.Errorf("got %v", d.Err())
	}
}

// router sends each record to the child that its value names.
func router(ctx *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
	return ctx.ForwardTo(r.Value, r)
}

func TestForwardToReachesOneChild(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	s := b.Stream(texts).Process(stream.ProcessorFunc(router), stream.Named("router"))
	s.MapValues(func(string, string) string { return "left" }, stream.Named("l")).To(outs)
	s.MapValues(func(string, string) string { return "right" }, stream.Named("r")).To(outs)
	d := streamtest.New(t, b)
	in, out := d.Input(texts), d.Output(outs)
	in.Pipe("k", "r")
	in.Pipe("k", "l")
	out.Want(out.R("k", "right"), out.R("k", "left"))
	in.Pipe("k", "nobody")
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), `no child "nobody"`) {
		t.Errorf("got %v", err)
	}
}

// all uses everything a context offers.
type all struct {
	t      *testing.T
	closed *int
}

func (p *all) Init(ctx *stream.ProcessorContext[string, string]) error {
	if ctx.ApplicationID() != "everything" || ctx.TaskID().String() != "0_0" || !ctx.StreamTime().IsZero() {
		p.t.Errorf("init: %s %s %s", ctx.ApplicationID(), ctx.TaskID(), ctx.StreamTime())
	}
	if _, ok := ctx.Metadata(); ok {
		p.t.Error("there is no record in Init")
	}
	return nil
}

func (p *all) Process(ctx *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
	m, ok := ctx.Metadata()
	if !ok || m != (stream.RecordMetadata{Topic: "texts", Partition: 0, Offset: 0}) {
		p.t.Errorf("metadata: %+v", m)
	}
	if !ctx.StreamTime().Equal(r.Timestamp) || !ctx.Now().Equal(time.Unix(9, 0)) {
		p.t.Errorf("times: %s %s", ctx.StreamTime(), ctx.Now())
	}
	if ctx.Context().Err() != nil {
		p.t.Error("the context has ended")
	}
	ctx.Metrics().Add("mine", 1)
	ctx.Log().Info("hello")
	ctx.Commit()
	h := r.Headers
	h.Set("seen", []byte("yes"))
	err := ctx.Forward(stream.Record[string, string]{Key: "n", Value: "v", Timestamp: time.UnixMilli(77), Headers: h})
	return errors.Join(err, ctx.Emit("e", "v"), ctx.Delete("d"), ctx.Forward(stream.Record[string, string]{Keyless: true, Tombstone: true, Value: "ignored", Timestamp: r.Timestamp}))
}

func (p *all) Close() error {
	*p.closed++
	return nil
}

func TestAProcessorsContext(t *testing.T) {
	t.Parallel()
	closed := 0
	b := stream.NewBuilder()
	b.Stream(texts).Process(func() *all { return &all{t, &closed} }).To(outs)
	t.Run("driver", func(t *testing.T) {
		d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{ApplicationID: "everything", CommitInterval: time.Hour, CacheBytes: -1}), streamtest.StartAt(time.Unix(9, 0)))
		in, out := d.Input(texts), d.Output(outs)
		in.PipeRecord(stream.Record[string, string]{Key: "k", Value: "v", Timestamp: time.UnixMilli(5), Headers: serde.Headers{{Key: "h", Value: []byte("1")}}})
		got := out.ReadAll()
		if len(got) != 4 {
			t.Fatalf("got %v", got)
		}
		if x, _ := got[0].Headers.Get("seen"); string(x) != "yes" || got[0].Timestamp.UnixMilli() != 77 || len(got[0].Headers) != 2 {
			t.Errorf("forwarded: %+v", got[0])
		}
		if len(got[1].Headers) != 1 || got[1].Timestamp.UnixMilli() != 5 {
			t.Errorf("Emit carries the record's own time and headers: %+v", got[1])
		}
		if !got[2].Tombstone || got[2].Key != "d" || !got[3].Keyless || !got[3].Tombstone {
			t.Errorf("got %+v", got[2:])
		}
	})
	if closed != 1 {
		t.Errorf("Close was called %d times", closed)
	}
}

// thief opens a store it does not use.
type thief struct{}

func (thief) Init(ctx *stream.ProcessorContext[string, string]) error {
	ctx.Store(waiting)
	return nil
}

func (thief) Process(*stream.ProcessorContext[string, string], stream.Record[string, string]) error {
	return nil
}

func TestAStoreThatIsNotUsedCannotBeOpened(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(texts).Process(func() thief { return thief{} }).To(outs)
	d := streamtest.New(t, b)
	if err := d.Err(); !errors.Is(err, stream.ErrUnknownStore) || !strings.Contains(err.Error(), "stream.Uses") {
		t.Errorf("got %v", err)
	}
}

// flaky fails twice and says that it may pass.
type flaky struct{ left *int }

type passing struct{}

func (passing) Error() string   { return "not yet" }
func (passing) Retryable() bool { return true }

func (f flaky) Process(ctx *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
	if *f.left > 0 {
		*f.left--
		return passing{}
	}
	return ctx.Forward(r)
}

func TestRetryRepeatsWhatMayPassAndFailsWhatMayNot(t *testing.T) {
	t.Parallel()
	left, attempts := 2, 0
	cfg := stream.Config{ProcessingErrors: func(_ context.Context, f stream.Failure) stream.Response {
		attempts = f.Attempts
		if f.Stage != "processing" || f.Topic != "texts" || string(f.Value) != "v" || f.Node != "flaky" {
			t.Errorf("failure: %+v", f)
		}
		return stream.Retry()
	}}
	b := stream.NewBuilder()
	s := b.Stream(texts)
	s.Process(func() flaky { return flaky{&left} }, stream.Named("flaky")).To(outs)
	s.To("copy")
	d := streamtest.New(t, b, streamtest.WithConfig(cfg))
	in, out, copied := d.Input(texts), d.Output(outs), d.Output(stream.Topic[string, string]("copy"))
	in.Pipe("k", "v")
	out.Want(out.R("k", "v"))
	copied.Want(copied.R("k", "v"))
	if attempts != 2 {
		t.Errorf("%d attempts", attempts)
	}

	b = stream.NewBuilder()
	b.Stream(texts).MapValues(func(string, string) string { panic("never") }).To(outs)
	d = streamtest.New(t, b, streamtest.WithConfig(stream.Config{ProcessingErrors: func(context.Context, stream.Failure) stream.Response { return stream.Retry() }}))
	d.Input(texts).Pipe("k", "v")
	var e *stream.TaskError
	if !errors.As(d.Err(), &e) || !strings.Contains(e.Stack, "dsl_test.go") {
		t.Errorf("what cannot pass stops the task, with the stack of the panic: %v", d.Err())
	}
}

func TestADeadLetterWithoutTopicStopsAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(texts).MapValues(func(string, string) string { panic("no") }).To(outs)
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{ProcessingErrors: func(context.Context, stream.Failure) stream.Response { return stream.DeadLetter("") }}))
	d.Input(texts).Pipe("k", "v")
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "Config.DeadLetterTopic") {
		t.Errorf("got %v", err)
	}
}

func TestANegativeTimestampStopsTheTask(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(texts).To(outs)
	d := streamtest.New(t, b)
	d.Input(texts).PipeAt(time.UnixMilli(-1), "k", "v")
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "timestamp is negative") {
		t.Errorf("got %v", err)
	}
}

func TestTheDriversStoreIsTheTasks(t *testing.T) {
	t.Parallel()
	h := state.TimestampedKeyValue[string, int64]("counts")
	b := stream.NewBuilder()
	table := b.Stream(texts).GroupByKey().Count(stream.Into(h))
	if table.StoreName() != "counts" || b.Table[string, string]("t").StoreName() != "" {
		t.Error("a table's store is that of Into, or none")
	}
	d := streamtest.New(t, b, streamtest.WithPartitions(3), streamtest.WithConfig(stream.Config{CacheBytes: -1}))
	in := d.Input(texts)
	for _, k := range []string{"a", "b", "c", "d", "a"} {
		in.PipeAt(time.UnixMilli(3), k, "v")
	}
	s := d.Store(h)
	if v, ok, err := s.GetTimestamped("a"); err != nil || !ok || v.Value != 2 || v.Time.UnixMilli() != 3 {
		t.Errorf("got %+v %v %v", v, ok, err)
	}
	if err := s.Put("e", 9, time.UnixMilli(1)); err != nil {
		t.Error(err)
	}
	var keys []string
	rows := s.All()
	for k := range rows.All() {
		keys = append(keys, k)
	}
	if !slices.Equal(keys, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("all partitions in the order of keys: %v", keys)
	}
	if n, err := s.ApproximateLen(); err != nil || n != 5 {
		t.Errorf("%d rows, %v", n, err)
	}
}
