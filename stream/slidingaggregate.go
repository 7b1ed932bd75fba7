package stream

import (
	"slices"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// slidingAggregator is an aggregation over sliding windows in one task.
//
// A record at t has a left window, which ends at t, and where later records are near a right window, which begins just after
// t. Windows are made as records come: the left and right windows of the new one, and the right window of the one before it.
// What is in the windows between, and so what a new one begins with, is read from those that are there.
type slidingAggregator[K, V, A any] struct {
	windowed[K, V, A]
	store  windowStore[K, A]
	size   int64   // the difference
	starts []int64 // of the windows found
	near   neighbours[A]
}

// neighbours is what a record finds around it.
type neighbours[A any] struct {
	left, right       row[A] // what the left and the right window may begin with
	hasLeft, hasRight bool
	madeLeft          bool  // the left window is there
	madeRight         bool  // the right window is there
	before            int64 // the time of the record before, -1 if there is none or its right window is not wanted
}

func slidingBody[K, V, A any](t *tableFlow, w TimeWindows, s EmitStrategy, f fold[K, V, A]) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		g := &slidingAggregator[K, V, A]{windowed: newWindowed(a, n, t, s, f), size: w.size.Milliseconds()}
		g.store = g.rows.shelf.(windowShelf[K, A]).s
		a.Task.KeepTime(n.Name, &g.newest)
		g.watch(a, g.leave)
		return g.take
	})
}

func (g *slidingAggregator[K, V, A]) take(r *task.Rec, k K, v V) error {
	r.At = g.rows.node.Index
	if r.Keyless || r.Tombstone || g.nilIn && isNil(v) {
		r.Drop("null")
		return nil
	}
	closed := g.begin(r)
	if r.Time+g.size < closed {
		r.Drop("late")
		return nil
	}
	if r.Time < g.size {
		return g.early(r, k, v, closed) // and nothing leaves with it, as in Java
	}
	if err := g.slide(r, k, v, closed); err != nil {
		return err
	}
	return g.leave(r, closed)
}

// slide adds a record to the windows that hold it, latest first, and makes those that are missing.
func (g *slidingAggregator[K, V, A]) slide(r *task.Rec, k K, v V, closed int64) error {
	t := r.Time
	near := &g.near
	*near = neighbours[A]{before: -1}
	g.starts = g.starts[:0]
	done := false
	err := g.store.Each(k, t-2*g.size, t+1, true, func(start int64, agg A, at int64) (bool, error) {
		g.starts = append(g.starts, start)
		switch end := start + g.size; {
		case start == t+1:
			near.madeRight = true
		case end > t:
			if !near.hasRight {
				near.right, near.hasRight = row[A]{agg, at}, true
			}
			return true, g.add(r, k, v, start, row[A]{agg, at}, true, closed)
		case end == t:
			near.madeLeft = true
			done = at >= t // a record of this very time made all windows
			if !done {
				near.before = at
			}
			return !done, g.add(r, k, v, start, row[A]{agg, at}, true, closed)
		default:
			near.left, near.hasLeft, near.before = row[A]{agg, at}, true, at
			return false, nil
		}
		return true, nil
	})
	if err != nil || done {
		return g.fault(err)
	}
	return g.create(r, k, v, closed)
}

// create makes the windows that a record calls for.
func (g *slidingAggregator[K, V, A]) create(r *task.Rec, k K, v V, closed int64) error {
	t, near := r.Time, &g.near
	if after := near.before + 1; near.before >= 0 && !slices.Contains(g.starts, after) && after+g.size >= t {
		if err := g.add(r, k, v, after, row[A]{}, false, closed); err != nil {
			return err
		}
	}
	if !near.madeLeft {
		start, had := row[A]{time: t}, false
		if near.hasLeft && near.before >= t-g.size {
			start.value, had = near.left.value, true
		}
		if err := g.add(r, k, v, t-g.size, start, had, closed); err != nil {
			return err
		}
	}
	if !near.madeRight && near.hasRight && near.right.time > t {
		return g.copyRight(r, k)
	}
	return nil
}

// early takes a record whose left window would begin before 1970: one window, from 0 on, stands for the left windows of all
// such records.
func (g *slidingAggregator[K, V, A]) early(r *task.Rec, k K, v V, closed int64) error {
	t := r.Time
	near := &g.near
	*near = neighbours[A]{before: -1}
	g.starts = g.starts[:0]
	err := g.store.Each(k, 0, t+1, false, func(start int64, agg A, at int64) (bool, error) {
		g.starts = append(g.starts, start)
		switch {
		case start == 0:
			near.left, near.hasLeft = row[A]{agg, at}, true
			if at < t {
				near.before = at
			}
		case start <= t:
			near.right, near.hasRight = row[A]{agg, at}, true
			return true, g.add(r, k, v, start, row[A]{agg, at}, true, closed)
		default:
			near.madeRight = true
		}
		return true, nil
	})
	if err != nil {
		return g.fault(err)
	}
	if !near.hasRight && near.hasLeft && near.left.time > t {
		near.right, near.hasRight = near.left, true
	}
	if !near.madeRight && near.hasRight && near.right.time > t {
		if err := g.copyRight(r, k); err != nil {
			return err
		}
	}
	if near.before >= 0 && !slices.Contains(g.starts, near.before+1) {
		if err := g.add(r, k, v, near.before+1, row[A]{}, false, closed); err != nil {
			return err
		}
	}
	return g.add(r, k, v, 0, near.left, near.hasLeft, closed)
}

// add adds a record to a window that held agg, or to a new one if had is false.
func (g *slidingAggregator[K, V, A]) add(r *task.Rec, k K, v V, start int64, agg row[A], had bool, closed int64) error {
	if start+g.size < closed {
		r.Drop("late")
		return nil
	}
	at := r.Time
	if had {
		at = max(at, agg.time)
	}
	return g.update(r, g.key(k, start), g.change(k, v, agg.value, had), at)
}

// copyRight makes the right window of a record, which does not hold the record itself. It is never too late for it.
func (g *slidingAggregator[K, V, A]) copyRight(r *task.Rec, k K) error {
	right := g.near.right
	return g.update(r, g.key(k, r.Time+1), change[A]{new: right.value, hasNew: true}, right.time)
}

func (g *slidingAggregator[K, V, A]) key(k K, start int64) Windowed[K] {
	return Windowed[K]{k, Window{start, start + g.size}}
}

func (g *slidingAggregator[K, V, A]) fault(err error) error {
	if err == nil {
		return nil
	}
	return faulty(task.Processing, g.rows.node, err)
}

// leave emits the windows that ended before the given time, and were not emitted yet.
func (g *slidingAggregator[K, V, A]) leave(r *task.Rec, closed int64) error {
	if !g.emit.due(closed) || closed-g.size-1 < 0 {
		return nil
	}
	from := int64(0)
	if g.emit.last != -1 {
		from = max(0, g.emit.last-g.size)
	}
	err := g.store.Closed(from, closed-g.size-1, func(k K, start int64, v A, at int64) error {
		return leave(r, g.rows.next, g.key(k, start), v, at)
	})
	if err != nil {
		return g.fault(err)
	}
	g.emit.done(closed)
	return nil
}
