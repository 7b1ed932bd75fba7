package stream

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrun/millrun/stream/internal/run"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// Sentinels, for errors.Is.
var (
	ErrBufferFull       = errors.New("stream: suppress buffer is full")    // see Suppressed
	ErrConfig           = errors.New("stream: invalid configuration")      // from NewApp
	ErrNotRunning       = errors.New("stream: application is not running") // from queries
	ErrUnknownStore     = errors.New("stream: unknown store")              // no such store, or of another type
	ErrStoreUnavailable = run.ErrMoved                                     // try again, or elsewhere
	ErrTopics           = run.ErrTopics                                    // a source, sink or internal topic is missing or does not fit
)

// TopologyError is a fault of the topology and the line that caused it.
type TopologyError struct {
	Op, Node string
	File     string
	Line     int
	Err      error
}

// Error is like "pipeline.go:41: Filter: ...".
func (e *TopologyError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("stream: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s:%d: %s: %v", filepath.Base(e.File), e.Line, e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *TopologyError) Unwrap() error { return e.Err }

// TaskError is what stopped a task. Topic is "" if no record was at work.
type TaskError struct {
	Task      TaskID
	Node, Op  string
	Topic     string
	Partition int32
	Offset    int64
	Err       error
	Hint      string
	Stack     string // of a panic in the user's code
}

// Error names task, record, node and cause.
func (e *TaskError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "stream: task %s", e.Task)
	if e.Topic != "" {
		fmt.Fprintf(&b, ", record %s-%d@%d", e.Topic, e.Partition, e.Offset)
	}
	if e.Node != "" {
		fmt.Fprintf(&b, ", node %s", e.Node)
	}
	fmt.Fprintf(&b, ": %s: %v", e.Op, e.Err)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *TaskError) Unwrap() error { return e.Err }

// public makes the errors of the engine those of this package.
func public(err error) error {
	var e *task.Error
	if !errors.As(err, &e) {
		return err
	}
	out := &TaskError{Task: TaskID{e.Task.Sub, e.Task.Partition}, Node: e.Node, Op: e.Op, Err: e.Err, Hint: e.Hint, Stack: e.Stack}
	if e.Source != nil {
		out.Topic, out.Partition, out.Offset = e.Source.Topic, e.Source.Partition, e.Source.Offset
	}
	return out
}

// IsRetryable asks whether the same again may succeed: an error that says so of itself by Retryable() bool or Temporary()
// bool, a passed deadline, or an error of Kafka's that its clients retry.
func IsRetryable(err error) bool {
	var r interface{ Retryable() bool }
	if errors.As(err, &r) {
		return r.Retryable()
	}
	var t interface{ Temporary() bool }
	if errors.As(err, &t) {
		return t.Temporary()
	}
	return errors.Is(err, context.DeadlineExceeded) || kerr.IsRetriable(err)
}

// Failure is a record that could not be handled, with its source bytes. Key and Value are as the topic had them; after a
// punctuation there are none, and Topic is "". As a record's value it is written as the source's bytes, unchanged, and the
// cause as Kafka Streams' __streams.errors.* headers (KIP-1034): a dead letter.
type Failure struct {
	Stage     Stage
	Task      TaskID
	Node      string
	Topic     string
	Partition int32
	Offset    int64
	Timestamp time.Time
	Headers   serde.Headers
	Key       []byte
	Value     []byte
	Attempts  int
	Err       error
}

// Stage is where a failure happened: deserialization, processing, punctuation, serialization or production.
type Stage string

// ErrorHandler decides about a failure. Called by the task's goroutine, which waits: a handler that answers Retry sets the
// pause.
type ErrorHandler func(ctx context.Context, f Failure) Response

// Response is a handler's decision. The zero value is Fail.
type Response struct{ r task.Response }

// Fail stops the task.
func Fail() Response { return Response{task.Response{Action: task.Fail}} }

// Continue drops the record and goes on.
func Continue() Response { return Response{task.Response{Action: task.Continue}} }

// Retry tries again; only where IsRetryable, otherwise it is Fail. What the failed attempt put into stores stays there.
func Retry() Response { return Response{task.Response{Action: task.Retry}} }

// DeadLetter writes the record's source bytes to topic and goes on; "" is Config.DeadLetterTopic. The topic must exist.
// The record carries its own headers and Kafka Streams' __streams.errors.* (KIP-1034).
func DeadLetter(topic string) Response {
	return Response{task.Response{Action: task.DeadLetter, Topic: topic}}
}

// handler makes the engine's handler of a user's.
func handler(h ErrorHandler) task.Handler {
	if h == nil {
		return nil
	}
	return func(ctx context.Context, f task.Failure) task.Response {
		return h(ctx, failureOf(&f)).r
	}
}
