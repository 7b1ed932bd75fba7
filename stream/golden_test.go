package stream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// programs are the topologies that the golden files name.
var programs = map[string]func(*stream.Builder){
	"wordcount": func(b *stream.Builder) {
		b.Stream(lines).
			FlatMapValues(func(_ string, line string, emit func(string)) {
				for w := range strings.FieldsSeq(line) {
					emit(w)
				}
			}).
			GroupBy(func(_ string, w string) string { return w }).
			Count(stream.As("counts")).
			ToStream().To(counts)
	},
	"nulls": func(b *stream.Builder) {
		s := b.Stream[string, string]("in")
		s.MapValues(func(_, v string) int { return len(v) }).To("lengths") // a tombstone passes
		s.Filter(func(_, v string) bool { return v != "" }).To("kept")
		s.Map(func(k, v string) (string, string) { return v, k }).To("swapped") // and is dropped here
		sw := s.Split()
		sw.Branch(func(_, v string) bool { return v == "x" }).To("is-x")
		sw.Default().To("rest")
	},
	"table": func(b *stream.Builder) {
		t := b.Table[string, string]("in", stream.As("rows"))
		t.Filter(func(_, v string) bool { return len(v) > 2 }).ToStream().To("long")
		t.MapValues(func(_, v string) string { return strings.ToUpper(v) }, stream.As("upper")).ToStream().To("upper")
	},
	"sums": func(b *stream.Builder) {
		b.Stream[string, int64]("in").GroupByKey().
			Reduce(func(sum, n int64) int64 { return sum + n }, stream.As("sums")).
			ToStream().To("out")
	},
	"orders":      func(b *stream.Builder) { orders(b, false) },
	"orders-left": func(b *stream.Builder) { orders(b, true) },
	"fragile": func(b *stream.Builder) {
		s := b.Stream[string, int64]("in")
		s.To("raw")
		s.MapValues(func(_ string, n int64) int64 { return 100 / n }, stream.Named("divide")).To("out")
	},
	"ties": func(b *stream.Builder) {
		s := b.Stream[string, string]("in").SelectKey(func(_, v string) string { return v })
		for _, name := range []string{"one", "two", "three", "four", "five"} {
			s.GroupByKey().Count(stream.As(name), state.NoLogging()).ToStream().To(stream.Topic[string, int64]("out-" + name))
		}
	},
	"delayed": func(b *stream.Builder) {
		b.Stream[string, string]("in").Process(newDelay, stream.Uses(waiting), stream.Named("delay")).To("out")
	},
}

var waiting = state.KeyValue[string, string]("waiting")

// delay keeps the latest value of each key and tells all of them every second of the wall clock, and the number of them
// every 100 ms of stream time.
type delay struct {
	ctx     *stream.ProcessorContext[string, string]
	waiting state.KeyValueStore[string, string]
}

func newDelay() *delay { return &delay{} }

func (d *delay) Init(ctx *stream.ProcessorContext[string, string]) error {
	d.ctx, d.waiting = ctx, ctx.Store(waiting)
	ctx.Schedule(time.Second, stream.WallClockTime, d.tell)
	ctx.Schedule(100*time.Millisecond, stream.StreamTime, func(time.Time) error {
		n, err := d.waiting.ApproximateLen()
		if err != nil {
			return err
		}
		return ctx.Emit("waiting", fmt.Sprint(n))
	})
	return nil
}

func (d *delay) tell(time.Time) error {
	rows := d.waiting.All()
	for k, v := range rows.All() {
		if err := d.ctx.Emit(k, v); err != nil {
			return err
		}
		if _, _, err := d.waiting.Delete(k); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (d *delay) Process(_ *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
	if r.Value == "boom" {
		return errors.New("this value cannot be kept")
	}
	return d.waiting.Put(r.Key, r.Value)
}

// script is one golden file at work.
type script struct {
	d     *streamtest.Driver
	shown int
}

// news is what happened since the last command.
func (s *script) news() string {
	all := s.d.Transcript()
	out := all[s.shown:]
	s.shown = len(all)
	var kept []string
	for line := range strings.Lines(out) {
		// The stack of a panic names files and lines of the runtime.
		if i := strings.Index(line, " __streams.errors.stacktrace="); i >= 0 {
			j := strings.Index(line, " __streams.errors.topic=")
			line = line[:i] + line[j:]
		}
		kept = append(kept, line)
	}
	if len(kept) == 0 {
		return "ok\n"
	}
	return strings.Join(kept, "")
}

func (s *script) run(t *testing.T, td *datadriven.TestData) string {
	switch td.Cmd {
	case "new":
		s.begin(t, td)
	case "pipe", "bytes":
		s.pipe(t, td)
	case "advance":
		var d string
		td.ScanArgs(t, "by", &d)
		by, err := time.ParseDuration(d)
		if err != nil {
			t.Fatal(err)
		}
		s.d.Advance(by)
	case "commit":
		s.d.Commit()
	case "crash":
		s.d.Crash()
	case "error":
		return fmt.Sprintf("%v\n", s.d.Err())
	default:
		t.Fatalf("unknown command %q", td.Cmd)
	}
	return s.news()
}

// begin starts a program: new program=wordcount [partitions=2] [interval=1m] [errors=continue|dead]
func (s *script) begin(t *testing.T, td *datadriven.TestData) {
	var program string
	td.ScanArgs(t, "program", &program)
	partitions, interval, errs := 1, "0s", ""
	td.MaybeScanArgs(t, "partitions", &partitions)
	td.MaybeScanArgs(t, "interval", &interval)
	td.MaybeScanArgs(t, "errors", &errs)
	every, err := time.ParseDuration(interval)
	if err != nil {
		t.Fatal(err)
	}
	c := stream.Config{ApplicationID: "app", CommitInterval: every, DeadLetterTopic: "dead", CacheBytes: -1}
	var answer stream.Response
	switch errs {
	case "continue":
		answer = stream.Continue()
	case "dead":
		answer = stream.DeadLetter("")
	}
	h := func(context.Context, stream.Failure) stream.Response { return answer }
	c.DeserializationErrors, c.ProcessingErrors, c.ProductionErrors = h, h, h
	b := stream.NewBuilder()
	programs[program](b)
	s.d, s.shown = streamtest.New(t, b, streamtest.WithConfig(c), streamtest.WithPartitions(partitions)), 0
}

// pipe writes a record as text: pipe topic=in key=a value=x at=5. Key or value "null" are null, int64:5 is 8 bytes.
func (s *script) pipe(t *testing.T, td *datadriven.TestData) {
	var topic, key, value string
	var at int64
	td.ScanArgs(t, "topic", &topic)
	td.ScanArgs(t, "key", &key)
	td.ScanArgs(t, "value", &value)
	td.MaybeScanArgs(t, "at", &at)
	r := stream.Record[[]byte, []byte]{Key: raw(key), Value: raw(value), Timestamp: time.UnixMilli(at)}
	var header string
	if td.MaybeScanArgs(t, "header", &header) {
		k, v, _ := strings.Cut(header, ":")
		r.Headers = serde.Headers{{Key: k, Value: []byte(v)}}
	}
	s.d.Input(stream.Topic[[]byte, []byte](topic)).PipeRecord(r)
}

func raw(text string) []byte {
	if text == "null" {
		return nil
	}
	var n int64
	if _, err := fmt.Sscanf(text, "int64:%d", &n); err == nil {
		b, _ := serde.Int64().Append(nil, n, serde.Meta{})
		return b
	}
	return []byte(strings.ReplaceAll(text, "_", " "))
}

func TestGolden(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		t.Parallel()
		s := &script{}
		datadriven.RunTest(t, path, s.run)
	})
}

// described are the topologies whose description Java gave: testdata/describe holds what TopologyDescription.toString of
// Kafka Streams 4.3.1 printed for the same program.
var described = map[string]func(*stream.Builder){
	"names-aggregate": func(b *stream.Builder) {
		s := b.Stream[string, string]("in", stream.Named("the-source"))
		k := s.SelectKey(initial, stream.Named("the-key"))
		k.GroupByKey().Count(stream.Named("only-named")).ToStream(stream.Named("s1")).To("o1")
		k.GroupByKey(stream.Named("only-grouped")).Count().ToStream().To("o2")
		k.GroupByKey().Count(stream.As("only-store")).ToStream().To("o3")
		k.GroupByKey(stream.Named("g4")).Count(stream.Named("n4"), stream.As("m4")).ToStream().To("o4")
		s.GroupBy(initial, stream.Named("g5")).Count(stream.Named("n5")).ToStream().To("o5")
	},
	"aggregate-two-of-one": func(b *stream.Builder) {
		g := b.Stream[string, string]("in").SelectKey(initial).GroupByKey()
		g.Count().ToStream().To("counts")
		g.Reduce(func(a, v string) string { return a + v }).ToStream().To("lists")
	},
	"aggregate-two-of-one-named": func(b *stream.Builder) {
		g := b.Stream[string, string]("in").SelectKey(initial).GroupByKey(stream.Named("letters"))
		g.Count().ToStream().To("counts")
		g.Reduce(func(a, v string) string { return a + v }).ToStream().To("lists")
	},
	"branch-default": func(b *stream.Builder) {
		sw := b.Stream[string, string]("in").Split()
		even := sw.Branch(func(_, v string) bool { return len(v)%2 == 0 })
		long := sw.Branch(func(_, v string) bool { return len(v) > 4 })
		rest := sw.Default()
		even.To("even")
		long.To("long")
		rest.To("rest")
	},
	"table-chain": func(b *stream.Builder) {
		b.Table[string, string]("in").MapValues(initial).Filter(func(_, v string) bool { return len(v) != 2 }).
			MapValues(initial, stream.As("end")).ToStream().To("out")
	},
	"process-store-stream-time": func(b *stream.Builder) {
		h := state.KeyValue[string, string]("counts")
		b.Stream[string, string]("in").Process(newNothing, stream.Named("counter"), stream.Uses(h)).To("out")
	},
	"count-named": func(b *stream.Builder) {
		b.Stream[string, string]("in").GroupBy(initial, stream.Named("by-letter")).
			Count(stream.Named("tally"), stream.As("counts")).ToStream(stream.Named("as-stream")).To("out")
	},
	"merge-three-named": func(b *stream.Builder) {
		b.Stream[string, string]("in1").
			Merge(b.Stream[string, string]("in2"), stream.Named("first-merge")).
			Merge(b.Stream[string, string]("in3").MapValues(initial), stream.Named("second-merge")).To("out")
	},
}

func initial(_, v string) string { return v[:1] }

func newNothing() stream.Processor[string, string, string, string] {
	return stream.ProcessorFunc(func(*stream.ProcessorContext[string, string], stream.Record[string, string]) error { return nil })()
}

func TestDescribeIsJavasByteForByte(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/describe/*.txt")
	if err != nil || len(files) != len(described) {
		t.Fatalf("%d files for %d topologies: %v", len(files), len(described), err)
	}
	for name, program := range described {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(filepath.Join("testdata", "describe", name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			b := stream.NewBuilder()
			program(b)
			top, err := b.Build(stream.Config{ApplicationID: "conf"})
			if err != nil {
				t.Fatal(err)
			}
			if got := top.Describe(); got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
