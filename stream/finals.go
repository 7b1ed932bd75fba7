package stream

import (
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// finals decides when the results of closed windows leave: with a record, when the wall clock has moved on by the emit
// interval, and if any window may have closed since. How far it came is kept with the committed offsets, so that a restart
// emits nothing twice.
type finals struct {
	task  *task.Task
	store string
	next  int64 // the wall clock in milliseconds from which on it may emit again
	last  int64 // what was emitted closed before this time; -1 is nothing yet
}

// newFinals is nil where every update is forwarded.
func newFinals(a *task.Assembly, n *plan.Node, store string, s EmitStrategy) *finals {
	if s != OnClose {
		return nil
	}
	e := &finals{task: a.Task, store: store, last: -1}
	a.OnInit(n, func() error {
		if at, ok := a.Task.Marker(store); ok {
			e.last = at
		}
		return nil
	})
	return e
}

// due says whether it is time to look for windows that closed before the given time.
func (e *finals) due(closed int64) bool {
	if e == nil {
		return false
	}
	if !e.task.Looks(&e.next) {
		return false
	}
	return e.last == -1 || e.last < closed
}

// done notes that everything which closed before the given time has been emitted.
func (e *finals) done(closed int64) {
	e.last = closed
	e.task.SetMarker(e.store, closed)
}

// leave forwards one result with the headers of the record at work.
func leave[K, A any](r *task.Rec, next step[Windowed[K], change[A]], k Windowed[K], v A, at int64) error {
	was := r.Time
	r.Time = at
	err := next(r, k, change[A]{new: v, hasNew: true})
	r.Time = was
	return err
}
