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

// Store opens a store that the processor Uses. Asking for another one is a mistake of the program: it stops the task with
// an error that says so.
func (c *TaskContext) Store[S, R any](h state.Handle[S, R]) S {
	uses := false
	for _, name := range c.node.Stores {
		uses = uses || name == h.Name()
	}
	s, ok := c.t.Store(h.Name())
	if !uses || !ok {
		panic(fmt.Errorf("%w %q: processor %s opens it without stream.Uses", ErrUnknownStore, h.Name(), c.node.Name))
	}
	face, ok := s.Face().(S)
	if !ok {
		panic(fmt.Errorf("%w: %q is a %T, not a %s", ErrUnknownStore, h.Name(), s.Face(), reflect.TypeFor[S]()))
	}
	return face
}

// Schedule calls f about every interval until stop is called or the task closes. By StreamTime the first call comes with
// the first record, by WallClockTime after one interval. Intervals that were missed are one call.
func (c *TaskContext) Schedule(interval time.Duration, p PunctuationType, f func(now time.Time) error) (stop func()) {
	clock := task.StreamTime
	if p == WallClockTime {
		clock = task.WallClock
	}
	return c.t.Schedule(c.node.Index, interval, clock, f)
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
	next     step[K, V]
	children map[string]step[K, V]
	nilKey   bool
	nilValue bool
}

// Emit forwards k and v with the current record's (or punctuation's) time and headers.
func (c *ProcessorContext[K, V]) Emit(k K, v V) error {
	return c.send(c.next, k, v, false, c.nilValue && isNil(v))
}

// Delete forwards a tombstone.
func (c *ProcessorContext[K, V]) Delete(k K) error {
	var none V
	return c.send(c.next, k, none, false, true)
}

// Forward sends a record to all children and returns when they are done with it. The error is nil when a child failed and a
// handler gave the record up; an error means that the task stops, and is best returned at once.
func (c *ProcessorContext[K, V]) Forward(r Record[K, V]) error { return c.forward(c.next, r) }

// ForwardTo sends a record to one child, by the name that Named gave it.
func (c *ProcessorContext[K, V]) ForwardTo(child string, r Record[K, V]) error {
	next, ok := c.children[child]
	if !ok {
		return fmt.Errorf("stream: processor %s has no child %q: name the operator behind it by stream.Named", c.node.Name, child)
	}
	return c.forward(next, r)
}

func (c *ProcessorContext[K, V]) forward(next step[K, V], r Record[K, V]) error {
	rec := c.t.Rec()
	mark := rec.Mark()
	rec.Time, rec.Headers = r.Timestamp.UnixMilli(), r.Headers
	if r.Tombstone {
		var none V
		r.Value = none
	}
	err := c.send(next, r.Key, r.Value, r.Keyless, r.Tombstone)
	rec.Restore(mark)
	return err
}

// send is the last step: key and value as the record at work carries them.
func (c *ProcessorContext[K, V]) send(next step[K, V], k K, v V, keyless, tombstone bool) error {
	rec := c.t.Rec()
	mark := rec.Mark()
	rec.Keyless = keyless || c.nilKey && isNil(k)
	rec.Tombstone = tombstone && !c.nilValue
	err := next(rec, k, v)
	rec.Restore(mark)
	return err
}

// checkLife finds an Init or Close with another signature than the library calls: it would silently never be called.
func checkLife[K2, V2 any](m maker, name string, p reflect.Type) {
	if p.Kind() == reflect.Interface {
		return
	}
	if _, has := p.MethodByName("Init"); has && !p.Implements(reflect.TypeFor[interface {
		Init(ctx *ProcessorContext[K2, V2]) error
	}]()) {
		m.faultf(name, "%s.Init is not Init(*stream.ProcessorContext[%s, %s]) error and would never be called", p, reflect.TypeFor[K2](), reflect.TypeFor[V2]())
	}
	if _, has := p.MethodByName("Close"); has && !p.Implements(reflect.TypeFor[interface{ Close() error }]()) {
		m.faultf(name, "%s.Close is not Close() error and would never be called", p)
	}
}

func processBody[K, V, K2, V2 any, P Processor[K, V, K2, V2]](supplier func() P) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		ctx := &ProcessorContext[K2, V2]{
			TaskContext: TaskContext{a.Task, n}, next: guard(children[K2, V2](a, n)), children: map[string]step[K2, V2]{},
			nilKey: hasNil[K2](), nilValue: hasNil[V2](),
		}
		for _, c := range n.Children {
			ctx.children[c.Name] = guard(child[K2, V2](a, c))
		}
		p := supplier()
		if i, ok := any(p).(interface {
			Init(ctx *ProcessorContext[K2, V2]) error
		}); ok {
			a.OnInit(n, func() error { return i.Init(ctx) })
		}
		if c, ok := any(p).(interface{ Close() error }); ok {
			a.OnClose(n, c.Close)
		}
		nils := hasNil[V]()
		return func(r *task.Rec, k K, v V) error {
			r.At = n.Index
			err := p.Process(ctx, Record[K, V]{
				Key: k, Value: v, Timestamp: time.UnixMilli(r.Time).UTC(), Headers: r.Headers,
				Keyless: r.Keyless, Tombstone: r.Tombstone || nils && isNil(v),
			})
			if err != nil {
				return faulty(task.Processing, n, err)
			}
			return nil
		}
	})
}
