package stream

import (
	"math"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// windowed is what aggregations over all kinds of windows share, in one task.
type windowed[K, V, A any] struct {
	folding[K, V, A]
	rows   *rows[Windowed[K], A]
	emit   *finals // nil: every update is forwarded
	grace  int64
	newest int64       // the highest time of any record; not restored, as in Java
	quiet  *task.Quiet // moves newest on when the input is quiet; nil: nothing does
	nilIn  bool
}

func newWindowed[K, V, A any](a *task.Assembly, n *plan.Node, t *tableFlow, s EmitStrategy, f fold[K, V, A]) windowed[K, V, A] {
	g := windowed[K, V, A]{
		folding: newFolding(t, f), rows: newRows[Windowed[K], A](a, n, t), emit: newFinals(a, n, t.decl.Name, s),
		grace: *n.Grace, newest: -1, nilIn: hasNil[V](),
	}
	if n.Idle > 0 {
		g.quiet = a.Task.Quiet(t.decl.Name, n.Idle)
	}
	return g
}

// watch closes windows while the input is quiet: leave emits what closed before a time.
func (g *windowed[K, V, A]) watch(a *task.Assembly, leave func(r *task.Rec, closed int64) error) {
	if g.quiet == nil || g.emit == nil {
		return
	}
	a.OnInit(g.rows.node, func() error {
		a.Task.Schedule(g.rows.node.Index, g.quiet.Interval(), task.WallClock, func(time.Time) error {
			g.newest = max(g.newest, g.quiet.At(a.Task.Now()))
			return leave(a.Task.Rec(), g.newest-g.grace)
		})
		return nil
	})
}

// begin takes a record's time. Windows that end before what it returns are closed.
func (g *windowed[K, V, A]) begin(r *task.Rec) int64 {
	g.newest = max(g.newest, r.Time)
	if g.quiet != nil {
		g.newest = g.quiet.See(r.Time, r.Task().Now())
	}
	return g.newest - g.grace
}

// shown says whether there is a value that the fold can be shown.
func (g *windowed[K, V, A]) shown(r *task.Rec) bool { return !r.Tombstone || g.f.any }

// update keeps a window's new aggregate, and forwards it unless results wait for the window to close.
func (g *windowed[K, V, A]) update(r *task.Rec, k Windowed[K], c change[A], at int64) error {
	if g.emit == nil {
		return g.rows.put(r, k, c, at)
	}
	if _, err := g.rows.shelf.put(k, c.new, c.hasNew, at, r.Time); err != nil {
		return faulty(task.Processing, g.rows.node, err)
	}
	return nil
}

// windowAggregator is an aggregation over tumbling, hopping or unlimited windows in one task.
type windowAggregator[K, V, A any] struct {
	windowed[K, V, A]
	store                windowStore[K, A]
	size, advance, start int64
	unlimited            bool
}

func windowBody[K, V, A any](t *tableFlow, w TimeWindows, s EmitStrategy, f fold[K, V, A]) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		g := &windowAggregator[K, V, A]{
			windowed: newWindowed(a, n, t, s, f), size: w.size.Milliseconds(), advance: w.advance.Milliseconds(), start: w.start.UnixMilli(),
			unlimited: w.kind == unlimited,
		}
		g.store = g.rows.shelf.(windowShelf[K, A]).s
		if g.unlimited {
			g.size, g.advance = math.MaxInt64, math.MaxInt64
		}
		a.Task.KeepTime(n.Name, &g.newest)
		g.watch(a, g.leave)
		return g.take
	})
}

func (g *windowAggregator[K, V, A]) take(r *task.Rec, k K, v V) error {
	r.At = g.rows.node.Index
	if r.Keyless {
		r.Drop("null")
		return nil
	}
	closed := g.begin(r)
	if err := g.fill(r, k, v, closed); err != nil {
		return err
	}
	return g.leave(r, closed)
}

// fill adds a record to each of its windows that is open.
func (g *windowAggregator[K, V, A]) fill(r *task.Rec, k K, v V, closed int64) error {
	if !g.shown(r) {
		r.Drop("null")
		return nil
	}
	first, last := g.of(r.Time)
	for start := first; start <= last; start += g.advance {
		if endAfter(start, g.size) <= closed {
			r.Drop("late")
			continue
		}
		if err := g.add(r, k, v, start); err != nil {
			return err
		}
		if g.unlimited {
			break
		}
	}
	return nil
}

// of are the starts of the first and the last window that hold a time; the last lies before the first if there is none.
func (g *windowAggregator[K, V, A]) of(at int64) (first, last int64) {
	if g.unlimited {
		if at < g.start {
			return 0, -1
		}
		return g.start, g.start
	}
	return max(0, at-g.size+g.advance) / g.advance * g.advance, at / g.advance * g.advance
}

func (g *windowAggregator[K, V, A]) add(r *task.Rec, k K, v V, start int64) error {
	agg, at, ok, err := g.store.At(k, start)
	if err != nil {
		return faulty(task.Processing, g.rows.node, err)
	}
	if !ok {
		at = r.Time
	}
	key := Windowed[K]{k, Window{start, endAfter(start, g.size)}}
	return g.update(r, key, g.change(k, v, agg, ok), max(at, r.Time))
}

// leave emits the windows that ended at the given time or before, and were not emitted yet.
func (g *windowAggregator[K, V, A]) leave(r *task.Rec, closed int64) error {
	if !g.emit.due(closed) || closed < g.size {
		return nil
	}
	from, to := int64(0), closed-g.size
	if g.emit.last != -1 {
		from = max(0, g.emit.last-g.size) + 1
		if g.same(to, from-1) {
			return nil // not even one more window has closed
		}
	}
	err := g.store.Closed(from, to, func(k K, start int64, v A, at int64) error {
		return leave(r, g.rows.next, Windowed[K]{k, Window{start, endAfter(start, g.size)}}, v, at)
	})
	if err != nil {
		return faulty(task.Processing, g.rows.node, err)
	}
	g.emit.done(closed)
	return nil
}

// same says whether two times are in the same windows.
func (g *windowAggregator[K, V, A]) same(a, b int64) bool {
	firstA, lastA := g.of(a)
	firstB, lastB := g.of(b)
	return firstA == firstB && lastA == lastB
}
