package stream

import (
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// change is what travels between table nodes: a row's new value and, where a node below asked for it, the old one. A value
// that is not there is zero.
type change[V any] struct {
	new, old       V
	hasNew, hasOld bool
	stale          bool // a versioned table has a later row of the key
}

// fold is an aggregation: what begins an aggregate and what adds to it. Either init or first is set.
type fold[K, V, A any] struct {
	init  func() A  // begins with nothing
	first func(V) A // begins with the first value, which is then not added
	add   func(K, V, A) A
	empty func(A) bool // such an aggregate is none: DeleteWhen; nil says never
	any   bool         // add looks at no value, so a record without one counts, too
}

// folding is a fold in one task.
type folding[K, V, A any] struct {
	f       fold[K, V, A]
	sendOld bool
	nilTo   bool
}

func newFolding[K, V, A any](t *tableFlow, f fold[K, V, A]) folding[K, V, A] {
	return folding[K, V, A]{f: f, sendOld: t.sendOld, nilTo: hasNil[A]()}
}

// aggregator is an aggregation in one task.
type aggregator[K, V, A any] struct {
	folding[K, V, A]
	rows  *rows[K, A]
	nilIn bool
}

func aggregateBody[K, V, A any](t *tableFlow, f fold[K, V, A]) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		g := &aggregator[K, V, A]{folding: newFolding(t, f), rows: newRows[K, A](a, n, t), nilIn: hasNil[V]()}
		return g.take
	})
}

func (g *aggregator[K, V, A]) take(r *task.Rec, k K, v V) error {
	r.At = g.rows.node.Index
	if r.Keyless || r.Tombstone || g.nilIn && isNil(v) {
		r.Drop("null")
		return nil
	}
	found, ok, err := g.rows.shelf.get(k)
	if err != nil {
		return faulty(task.Processing, g.rows.node, err)
	}
	at := r.Time
	if ok {
		at = max(at, found.time)
	}
	return g.rows.put(r, k, g.change(k, v, found.value, ok), at)
}

// change adds a value to the aggregate there is.
func (g *folding[K, V, A]) change(k K, v V, agg A, ok bool) (c change[A]) {
	c.new = g.fold(k, v, agg, ok, &c)
	c.hasNew = !g.gone(c.new)
	blank(&c)
	return c
}

// gone says whether an aggregate stands for none.
func (g *folding[K, V, A]) gone(agg A) bool {
	return g.nilTo && isNil(agg) || g.f.empty != nil && g.f.empty(agg)
}

// fold computes the new aggregate and notes the old one. Where there was none, the initializer's result stands for it, also
// as the old value: so does Java, and the bytes of a later groupBy depend on it.
func (g *folding[K, V, A]) fold(k K, v V, agg A, ok bool, c *change[A]) A {
	if !ok && g.f.init == nil {
		return g.f.first(v)
	}
	if !ok {
		agg = g.f.init()
	}
	if g.sendOld && !(g.nilTo && isNil(agg)) {
		c.old, c.hasOld = agg, true
	}
	return g.f.add(k, v, agg)
}

// tableSourceBody turns records into changes, and keeps them if the table has a store.
func tableSourceBody[K, V any](t *tableFlow, none func(V) bool) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := newRows[K, V](a, n, t)
		return func(r *task.Rec, k K, v V) error {
			r.At = n.Index
			if r.Keyless {
				r.Drop("null")
				return nil
			}
			c := change[V]{new: v, hasNew: !r.Tombstone && !(none != nil && none(v))}
			blank(&c)
			was := r.Tombstone
			r.Tombstone = false
			err := s.pass(r, k, c)
			r.Tombstone = was
			return err
		}
	})
}

// tableFilterBody forwards the rows that pass and deletes those that do not, or no longer do. With old values it is silent
// about rows that never passed; without, it has to delete them every time, as Java does. Where the table above keeps versions
// it is never silent: what did not pass now may replace something that did then.
func tableFilterBody[K, V any](t, from *tableFlow, keep func(K, V) bool, want bool) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := newRows[K, V](a, n, t)
		sendOld, silent := t.sendOld, from.history() == 0
		return func(r *task.Rec, k K, c change[V]) error {
			r.At = n.Index
			if c.hasNew && keep(k, c.new) != want {
				c.hasNew = false
			}
			if c.hasOld && (!sendOld || keep(k, c.old) != want) {
				c.hasOld = false
			}
			blank(&c)
			if s.shelf != nil && sendOld {
				_, had, err := s.shelf.get(k)
				if err != nil {
					return faulty(task.Processing, n, err)
				}
				c.hasOld = had
			}
			if silent && sendOld && !c.hasNew && !c.hasOld {
				return nil
			}
			return s.pass(r, k, c)
		}
	})
}

// tableMapBody maps both values of a change; f returns false where it makes none.
func tableMapBody[K, V, V2 any](t *tableFlow, f func(K, V) (V2, bool)) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := newRows[K, V2](a, n, t)
		compute := t.sendOld && t.decl == nil
		return func(r *task.Rec, k K, c change[V]) error {
			r.At = n.Index
			out := change[V2]{stale: c.stale}
			if c.hasNew {
				out.new, out.hasNew = f(k, c.new)
			}
			if compute && c.hasOld {
				out.old, out.hasOld = f(k, c.old)
			}
			return s.pass(r, k, out)
		}
	})
}

// blank makes values that are not there zero, as everybody downstream may assume.
func blank[V any](c *change[V]) {
	var zero V
	if !c.hasNew {
		c.new = zero
	}
	if !c.hasOld {
		c.old = zero
	}
}

// toStreamBody makes records of changes.
func toStreamBody[K, V any]() body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, nils := children[K, V](a, n), hasNil[V]()
		return func(r *task.Rec, k K, c change[V]) error {
			r.At = n.Index
			r.Tombstone = !nils && !c.hasNew
			err := next(r, k, c.new)
			r.Tombstone = false
			return err
		}
	})
}
