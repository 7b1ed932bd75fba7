package stream

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/metrics"
	"github.com/millrun/millrun/stream/state"
)

// Processor is user code in the graph: one instance per task, called by one goroutine at a time.
// It may also have Init(*ProcessorContext[K2, V2]) error and Close() error.
type Processor[K, V, K2, V2 any] interface {
	Process(ctx *ProcessorContext[K2, V2], r Record[K, V]) error
}

// processorFunc is a Processor without state.
type processorFunc[K, V, K2, V2 any] func(*ProcessorContext[K2, V2], Record[K, V]) error

// Process calls f.
func (f processorFunc[K, V, K2, V2]) Process(ctx *ProcessorContext[K2, V2], r Record[K, V]) error {
	return f(ctx, r)
}

// ProcessorFunc makes a supplier of a function without state.
func ProcessorFunc[K, V, K2, V2 any](f func(ctx *ProcessorContext[K2, V2], r Record[K, V]) error) func() Processor[K, V, K2, V2] {
	return func() Processor[K, V, K2, V2] { return processorFunc[K, V, K2, V2](f) }
}

// PunctuationType is the clock a punctuation follows.
type PunctuationType int

// The clocks.
const (
	StreamTime    PunctuationType = iota // advances with the records
	WallClockTime                        // advances by itself
)

// TaskContext is what every kind of context offers. Valid only within the task's calls: a processor's Init, Process, Close
// and punctuations.
type TaskContext struct {
	t    *task.Task
	node *plan.Node
}

// Context ends when the task is closed; for calls to the outside.
func (c *TaskContext) Context() context.Context { return c.t.Env().Context }

// ApplicationID is Config.ApplicationID.
func (c *TaskContext) ApplicationID() string { return c.t.Program().Plan.App }

// TaskID is the task's name.
func (c *TaskContext) TaskID() TaskID { return TaskID{c.t.ID().Sub, c.t.ID().Partition} }

// Metadata is the current record's origin; false within a punctuation.
func (c *TaskContext) Metadata() (RecordMetadata, bool) {
	in := c.t.Rec().Source
	if in == nil {
		return RecordMetadata{}, false
	}
	return RecordMetadata{in.Topic, in.Partition, in.Offset}, true
}

// StreamTime is the highest timestamp the task has seen; zero before the first record.
func (c *TaskContext) StreamTime() time.Time {
	if c.t.Time() < 0 {
		return time.Time{}
	}
	return time.UnixMilli(c.t.Time()).UTC()
}

// Now is the wall clock: Config.Clock's, the test driver's in tests. It stands still within one call.
func (c *TaskContext) Now() time.Time { return c.t.Now() }

// Store opens a store that the processor Uses, or a global one, which it can only read. Asking for another one is a mistake of the program: it stops the task with
// an error that says so.
func (c *TaskContext) Store[S, R any](h state.Handle[S, R]) S {
	if face, ok := c.t.Program().Globals.Open(h.Name()); ok && !c.node.Global {
		return cast[S](h.Name(), face)
	}
	uses := false
	for _, name := range c.node.Stores {
		uses = uses || name == h.Name()
	}
	s, ok := c.t.Store(h.Name())
	if !uses || !ok {
		panic(fmt.Errorf("%w %q: processor %s opens it without stream.Uses", ErrUnknownStore, h.Name(), c.node.Name))
	}
	return cast[S](h.Name(), s.Face())
}

func cast[S any](name string, face any) S {
	s, ok := face.(S)
	if !ok {
		panic(fmt.Errorf("%w: %q is a %T, not a %s", ErrUnknownStore, name, face, reflect.TypeFor[S]()))
	}
	return s
}

// Schedule calls f about every interval until stop is called or the task closes. By StreamTime the first call comes with
// the first record, by WallClockTime after one interval. Intervals that were missed are one call.
func (c *TaskContext) Schedule(interval time.Duration, p PunctuationType, f func(now time.Time) error) (stop func()) {
	return c.t.Schedule(c.node.Index, interval, p.clock(), f)
}

// ScheduleAt is Schedule with the first call at start, and the others at whole intervals from it. A start in the past counts
// as the next of those instants.
func (c *TaskContext) ScheduleAt(start time.Time, interval time.Duration, p PunctuationType, f func(now time.Time) error) (stop func()) {
	return c.t.ScheduleAt(c.node.Index, start, interval, p.clock(), f)
}

func (p PunctuationType) clock() task.Clock {
	if p == WallClockTime {
		return task.WallClock
	}
	return task.StreamTime
}

// Commit asks for a commit soon.
func (c *TaskContext) Commit() { c.t.AskCommit() }

// Metrics registers metrics of one's own.
func (c *TaskContext) Metrics() *metrics.Registry { return c.t.Program().User.(*offered).metrics }

// Log carries application, thread, task and node.
func (c *TaskContext) Log() *slog.Logger { return c.t.Env().Log.With("node", c.node.Name) }

// offered is what contexts offer beyond the task.
type offered struct{ metrics *metrics.Registry }

// ProcessorContext is a Processor's way to the rest of the graph.
type ProcessorContext[K, V any] struct {
	TaskContext
	out forwarder[K, V]
}

// Emit forwards k and v with the current record's (or punctuation's) time and headers.
func (c *ProcessorContext[K, V]) Emit(k K, v V) error {
	return c.out.send(c.out.next, k, v, false, false)
}

// Delete forwards a tombstone.
func (c *ProcessorContext[K, V]) Delete(k K) error {
	var none V
	return c.out.send(c.out.next, k, none, false, true)
}

// Forward sends a record to all children and returns when they are done with it. The error is nil when a child failed and a
// handler gave the record up; an error means that the task stops, and is best returned at once.
func (c *ProcessorContext[K, V]) Forward(r Record[K, V]) error { return c.out.forward(c.out.next, r) }

// ForwardTo sends a record to one child, by the name that Named gave it.
func (c *ProcessorContext[K, V]) ForwardTo(child string, r Record[K, V]) error {
	next, err := c.out.child(child)
	if err != nil {
		return err
	}
	return c.out.forward(next, r)
}
