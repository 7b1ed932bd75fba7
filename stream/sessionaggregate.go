package stream

import (
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// sessionAggregator is an aggregation over sessions in one task.
type sessionAggregator[K, V, A any] struct {
	windowed[K, V, A] // its grace holds the gap, too
	store             sessionStore[K, A]
	merge             func(K, A, A) A
	gap               int64
	found             []session[A]
}

// session is one that a record has found near.
type session[A any] struct {
	window Window
	value  A
}

func sessionBody[K, V, A any](t *tableFlow, w SessionWindows, s EmitStrategy, f fold[K, V, A], merge func(K, A, A) A) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		g := &sessionAggregator[K, V, A]{windowed: newWindowed(a, n, t, s, f), merge: merge, gap: w.gap.Milliseconds()}
		g.store = g.rows.shelf.(sessionShelf[K, A]).s
		a.Task.KeepTime(n.Name, &g.newest)
		g.watch(a, g.leave)
		g.rows.bare = true // as in Java: a session is not of one record
		return g.take
	})
}

func (g *sessionAggregator[K, V, A]) take(r *task.Rec, k K, v V) error {
	r.At = g.rows.node.Index
	if r.Keyless {
		r.Drop("null")
		return nil
	}
	closed := g.begin(r)
	if err := g.join(r, k, v, closed); err != nil {
		return err
	}
	return g.leave(r, closed)
}

// join makes one session of the record and all those it is near to.
func (g *sessionAggregator[K, V, A]) join(r *task.Rec, k K, v V, closed int64) error {
	if !g.shown(r) {
		r.Drop("null")
		return nil
	}
	own := Window{r.Time, r.Time}
	all, err := g.find(k, own)
	if err != nil {
		return faulty(task.Processing, g.rows.node, err)
	}
	if all.EndMs < closed {
		r.Drop("late")
		return nil
	}
	// The user's functions come first: if one fails, all is as it was.
	c := g.joined(k, v)
	if all != own {
		for i := range g.found {
			if err := g.remove(r, k, &g.found[i]); err != nil {
				return err
			}
		}
	}
	return g.update(r, Windowed[K]{k, all}, c, all.EndMs)
}

// joined is the aggregate of the sessions found and the value.
func (g *sessionAggregator[K, V, A]) joined(k K, v V) (c change[A]) {
	agg, ok := g.merged(k)
	if ok {
		c.new = g.f.add(k, v, agg)
	} else {
		c.new = g.f.first(v)
	}
	c.hasNew = !g.gone(c.new)
	blank(&c)
	return c
}

// find collects the sessions near a window, and returns it grown by theirs.
func (g *sessionAggregator[K, V, A]) find(k K, own Window) (Window, error) {
	all := own
	clear(g.found)
	g.found = g.found[:0]
	err := g.store.Each(k, own.EndMs-g.gap, own.StartMs+g.gap, func(start, end int64, v A) error {
		g.found = append(g.found, session[A]{Window{start, end}, v})
		all = Window{min(all.StartMs, start), max(all.EndMs, end)}
		return nil
	})
	return all, err
}

// merged is the aggregate of the sessions found; ok is false if there is none to add to.
func (g *sessionAggregator[K, V, A]) merged(k K) (agg A, ok bool) {
	if g.f.init != nil {
		agg, ok = g.f.init(), true
	}
	for i := range g.found {
		if !ok {
			agg, ok = g.found[i].value, true
			continue
		}
		agg = g.merge(k, agg, g.found[i].value)
		ok = g.f.init != nil || !(g.nilTo && isNil(agg))
	}
	return agg, ok
}

func (g *sessionAggregator[K, V, A]) remove(r *task.Rec, k K, s *session[A]) error {
	c := change[A]{}
	if g.sendOld {
		c.old, c.hasOld = s.value, true
	}
	return g.update(r, Windowed[K]{k, s.window}, c, s.window.EndMs)
}

// leave emits the sessions that ended before the given time, and were not emitted yet.
func (g *sessionAggregator[K, V, A]) leave(r *task.Rec, closed int64) error {
	if !g.emit.due(closed) || closed-1 < 0 {
		return nil
	}
	from, to := max(0, g.emit.last), closed-1
	if to < from {
		return nil
	}
	err := g.store.Closed(from, to, func(k K, start, end int64, v A) error {
		return leave(r, g.rows.next, Windowed[K]{k, Window{start, end}}, v, end)
	})
	if err != nil {
		return faulty(task.Processing, g.rows.node, err)
	}
	g.emit.done(closed)
	return nil
}
