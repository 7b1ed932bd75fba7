package run

import (
	"context"
	"encoding/hex"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrun/millrun/stream/internal/task"
)

// traceState is the header beside traceparent (W3C Trace Context).
const traceState = "tracestate"

// tracer makes a span of each record that carries a sampled context; nil if nobody wants them.
func (e *Engine) tracer(id task.ID) task.Tracer {
	if e.o.Tracer == nil {
		return nil
	}
	t := e.o.Tracer.Tracer(library, trace.WithInstrumentationVersion(version()))
	of := []attribute.KeyValue{
		attribute.String("messaging.system", "kafka"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.consumer.group.name", e.app),
		attribute.String("millrun.task", id.String()),
	}
	return func(in *task.Input, work func([]byte) error) bool {
		parent, ok := sampled(in)
		if !ok {
			return false
		}
		_, span := t.Start(trace.ContextWithRemoteSpanContext(context.Background(), parent), "process "+in.Topic,
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(of...), trace.WithAttributes(
				attribute.String("messaging.destination.name", in.Topic),
				attribute.Int("messaging.destination.partition.id", int(in.Partition)),
				attribute.Int64("messaging.kafka.offset", in.Offset),
			))
		defer span.End()
		if err := work(traceParent(span.SpanContext())); err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		return true
	}
}

// The parts of a traceparent: version, trace, span and flags, in hexadecimal with hyphens between.
const (
	traceAt, spanAt, flagsAt, parentLen = 3, 36, 53, 55
)

// sampled reads a record's context, if it has a valid one whose trace is recorded.
func sampled(in *task.Input) (trace.SpanContext, bool) {
	v, ok := in.Headers.Get(task.TraceParent)
	if !ok || len(v) < parentLen || v[traceAt-1] != '-' || v[spanAt-1] != '-' || v[flagsAt-1] != '-' {
		return trace.SpanContext{}, false
	}
	s := string(v)
	if s[:2] == "ff" || s[:2] == "00" && len(s) != parentLen || len(s) > parentLen && s[parentLen] != '-' {
		return trace.SpanContext{}, false
	}
	var c trace.SpanContextConfig
	var errs [3]error
	c.TraceID, errs[0] = trace.TraceIDFromHex(s[traceAt : spanAt-1])
	c.SpanID, errs[1] = trace.SpanIDFromHex(s[spanAt : flagsAt-1])
	var flags []byte
	if flags, errs[2] = hex.DecodeString(s[flagsAt:parentLen]); errs != [3]error{} || flags[0]&1 == 0 {
		return trace.SpanContext{}, false
	}
	c.TraceFlags, c.Remote = trace.TraceFlags(flags[0]), true
	if state, ok := in.Headers.Get(traceState); ok {
		c.TraceState, _ = trace.ParseTraceState(string(state)) // one that cannot be read is ignored, says the standard
	}
	return trace.NewSpanContext(c), true
}

// traceParent writes a context.
func traceParent(c trace.SpanContext) []byte {
	return []byte("00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String())
}
