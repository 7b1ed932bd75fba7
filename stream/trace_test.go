package stream_test

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// recorder is a TracerProvider that keeps what it is told.
type recorder struct {
	embedded.TracerProvider
	mu    sync.Mutex
	spans []*recorded
}

// recordingTracer is its only Tracer.
type recordingTracer struct {
	embedded.Tracer
	r *recorder
}

// recorded is one of its spans.
type recorded struct {
	noop.Span
	r            *recorder
	name         string
	parent, self trace.SpanContext
	topic        string
	status       codes.Code
	ended        bool
}

func (r *recorder) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return recordingTracer{r: r}
}

// Start numbers the spans of all traces from 1 on.
func (t recordingTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	s := &recorded{r: t.r, name: name, parent: trace.SpanContextFromContext(ctx)}
	var id trace.SpanID
	binary.BigEndian.PutUint64(id[:], uint64(len(t.r.spans)+1))
	s.self = s.parent.WithSpanID(id).WithRemote(false)
	cfg := trace.NewSpanStartConfig(opts...)
	for _, a := range cfg.Attributes() {
		if a.Key == "messaging.destination.name" {
			s.topic = a.Value.AsString()
		}
	}
	t.r.spans = append(t.r.spans, s)
	return trace.ContextWithSpan(ctx, s), s
}

func (s *recorded) SpanContext() trace.SpanContext { return s.self }

func (s *recorded) SetStatus(c codes.Code, _ string) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.status = c
}

func (s *recorded) End(...trace.SpanEndOption) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.ended = true
}

// Contexts of records: of a trace that is recorded, of one that is not, and what is none.
const (
	traceID   = "0af7651916cd43dd8448eb211c80319c"
	sampledBy = "00-" + traceID + "-b7ad6b7169203331-01"
	unsampled = "00-" + traceID + "-b7ad6b7169203331-00"
)

// send produces a record with a context; without a value it deletes.
func (c *cluster) send(topic, key, value, parent string) {
	c.t.Helper()
	r := &kgo.Record{Topic: topic, Key: []byte(key), Headers: []kgo.RecordHeader{{Key: "other", Value: []byte("kept")}, {Key: "traceparent", Value: []byte(parent)}}}
	if value != "" {
		r.Value = []byte(value)
	}
	if err := c.client.ProduceSync(c.ctx(), r).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// parents reads a topic until it has seen a key, and returns what contexts each key's last record carries.
func (c *cluster) parents(topic, until string) map[string]string {
	c.t.Helper()
	out := map[string]string{}
	c.read(topic, func(r *kgo.Record) bool {
		for _, h := range r.Headers {
			if h.Key == "traceparent" {
				out[string(r.Key)] = string(h.Value)
			}
		}
		return string(r.Key) == until
	})
	return out
}

// keeping reads a table that keeps headers and sends its changes on.
func keeping() *stream.Builder {
	b := stream.NewBuilder()
	b.Stream[string, string]("lines").ToTable(stream.As("kept")).ToStream().To("out")
	return b
}

func TestRecordsCarryTheContextOfTheSpanTheyCameFrom(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "out")
	r := &recorder{}
	_, stop := c.app(keeping(), stream.Config{ApplicationID: "traced", Tracer: r, StoreFormat: state.WithHeaders, CacheBytes: -1})
	c.send("lines", "yes", "", sampledBy)
	c.send("lines", "no", "1", unsampled)
	for i, broken := range []string{"", "00-xx", "ff" + sampledBy[2:], sampledBy + "0", strings.Repeat("0", 55), strings.ReplaceAll(sampledBy, "-", "_"), strings.Replace(sampledBy, "0a", "zz", 1)} {
		c.send("lines", "broken"+string(rune('0'+i)), "1", broken)
	}
	c.send("lines", "last", "", "01"+sampledBy[2:]+"-of the future")
	got := c.parents("out", "last")
	kept := c.parents("traced-kept-changelog", "last")
	stop()
	if len(r.spans) != 2 {
		t.Fatalf("%d spans, want one of each sampled context", len(r.spans))
	}
	for i, s := range r.spans {
		if s.name != "process lines" || s.topic != "lines" || !s.ended || s.status != codes.Unset || s.parent.SpanID().String() != "b7ad6b7169203331" || !s.parent.IsRemote() {
			t.Errorf("span %d: %+v", i, s)
		}
	}
	if want := "00-" + traceID + "-0000000000000001-01"; got["yes"] != want {
		t.Errorf("the result carries %q, want %q", got["yes"], want)
	}
	if got["no"] != unsampled || got["broken1"] != "00-xx" {
		t.Errorf("contexts that are not traced became %q and %q", got["no"], got["broken1"])
	}
	if kept["yes"] != sampledBy {
		t.Errorf("the changelog has %q: it must not depend on who traces", kept["yes"])
	}
}

func TestASpanTellsThatItsRecordWasGivenUp(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "out", "dead")
	r := &recorder{}
	b := stream.NewBuilder()
	b.Stream[string, string]("lines").Filter(func(_, v string) bool {
		if v == "bad" {
			panic("bad")
		}
		return true
	}).To("out")
	_, stop := c.app(b, stream.Config{
		ApplicationID: "failing", Tracer: r, DeadLetterTopic: "dead",
		ProcessingErrors: func(context.Context, stream.Failure) stream.Response { return stream.DeadLetter("") },
	})
	c.send("lines", "a", "bad", sampledBy)
	c.send("lines", "b", "good", sampledBy)
	c.parents("out", "b")
	letters := c.parents("dead", "a")
	stop()
	if got := []codes.Code{r.spans[0].status, r.spans[1].status}; !slices.Equal(got, []codes.Code{codes.Error, codes.Unset}) {
		t.Errorf("states of the spans: %v", got)
	}
	if want := "00-" + traceID + "-0000000000000001-01"; letters["a"] != want {
		t.Errorf("the dead letter carries %q, want %q", letters["a"], want)
	}
}
