package stream

import (
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/state"
)

// change is what travels between table nodes: a row's new value and, where a node below asked for it, the old one. A value
// that is not there is zero.
type change[V any] struct {
	new, old       V
	hasNew, hasOld bool
}

// fold is an aggregation: what begins an aggregate and what adds to it. Either init or first is set.
type fold[K, V, A any] struct {
	init  func() A  // begins with nothing
	first func(V) A // begins with the first value, which is then not added
	add   func(K, V, A) A
}

// opened is a table's store in one task.
func opened[K, V any](a *task.Assembly, name string) state.TimestampedKeyValueStore[K, V] {
	s, _ := a.Task.Store(name)
	return s.Face().(state.TimestampedKeyValueStore[K, V])
}

// aggregator is an aggregation in one task.
type aggregator[K, V, A any] struct {
	f            fold[K, V, A]
	node         *plan.Node
	store        state.TimestampedKeyValueStore[K, A]
	next         step[K, change[A]]
	sendOld      bool
	nilIn, nilTo bool
}

func aggregateBody[K, V, A any](t *tableFlow, f fold[K, V, A]) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		g := &aggregator[K, V, A]{
			f: f, node: n, store: opened[K, A](a, t.decl.Name), next: children[K, change[A]](a, n),
			sendOld: t.sendOld, nilIn: hasNil[V](), nilTo: hasNil[A](),
		}
		return g.take
	})
}

func (g *aggregator[K, V, A]) take(r *task.Rec, k K, v V) error {
	r.At = g.node.Index
	if r.Keyless || r.Tombstone || g.nilIn && isNil(v) {
		r.Drop("null")
		return nil
	}
	row, ok, err := g.store.GetTimestamped(k)
	if err != nil {
		return faulty(task.Processing, g.node, err)
	}
	at := r.Time
	if ok {
		at = max(at, row.Time.UnixMilli())
	}
	c := change[A]{hasNew: true}
	c.new = g.fold(k, v, row.Value, ok, &c)
	if g.nilTo && isNil(c.new) {
		c.hasNew = false
		err = g.store.Delete(k, time.UnixMilli(r.Time))
	} else {
		err = g.store.Put(k, c.new, time.UnixMilli(at))
	}
	if err != nil {
		return faulty(task.Processing, g.node, err)
	}
	was := r.Time
	r.Time = at
	err = g.next(r, k, c)
	r.Time = was
	return err
}

// fold computes the new aggregate and notes the old one. Where there was none, the initializer's result stands for it, also
// as the old value: so does Java, and the bytes of a later groupBy depend on it.
func (g *aggregator[K, V, A]) fold(k K, v V, agg A, ok bool, c *change[A]) A {
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
func tableSourceBody[K, V any](t *tableFlow) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := &rows[K, V]{node: n, next: children[K, change[V]](a, n), sendOld: t.sendOld}
		if t.decl != nil {
			s.store = opened[K, V](a, t.decl.Name)
		}
		nils := hasNil[V]()
		return func(r *task.Rec, k K, v V) error {
			r.At = n.Index
			if r.Keyless {
				r.Drop("null")
				return nil
			}
			c := change[V]{new: v, hasNew: !r.Tombstone && !(nils && isNil(v))}
			was := r.Tombstone
			r.Tombstone = false
			err := s.pass(r, k, c)
			r.Tombstone = was
			return err
		}
	})
}

// rows keeps changes in a table's store, if it has one, and passes them on.
type rows[K, V any] struct {
	node    *plan.Node
	store   state.TimestampedKeyValueStore[K, V] // nil: none
	next    step[K, change[V]]
	sendOld bool
}

func (s *rows[K, V]) pass(r *task.Rec, k K, c change[V]) error {
	if s.store == nil {
		return s.next(r, k, c)
	}
	if s.sendOld {
		old, ok, err := s.store.Get(k)
		if err != nil {
			return faulty(task.Processing, s.node, err)
		}
		c.old, c.hasOld = old, ok
	}
	var err error
	if c.hasNew {
		err = s.store.Put(k, c.new, time.UnixMilli(r.Time))
	} else {
		err = s.store.Delete(k, time.UnixMilli(r.Time))
	}
	if err != nil {
		return faulty(task.Processing, s.node, err)
	}
	return s.next(r, k, c)
}

// tableFilterBody forwards the rows that pass and deletes those that do not, or no longer do. With old values it is silent
// about rows that never passed; without, it has to delete them every time, as Java does.
func tableFilterBody[K, V any](t *tableFlow, keep func(K, V) bool, want bool) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := &rows[K, V]{node: n, next: children[K, change[V]](a, n), sendOld: t.sendOld}
		if t.decl != nil {
			s.store = opened[K, V](a, t.decl.Name)
		}
		sendOld := t.sendOld
		return func(r *task.Rec, k K, c change[V]) error {
			r.At = n.Index
			if c.hasNew && keep(k, c.new) != want {
				c.hasNew = false
			}
			if c.hasOld && (!sendOld || keep(k, c.old) != want) {
				c.hasOld = false
			}
			blank(&c)
			if s.store != nil && sendOld {
				_, had, err := s.store.Get(k)
				if err != nil {
					return faulty(task.Processing, n, err)
				}
				c.hasOld = had
			}
			if sendOld && !c.hasNew && !c.hasOld {
				return nil
			}
			return s.pass(r, k, c)
		}
	})
}

// tableMapBody maps both values of a change.
func tableMapBody[K, V, V2 any](t *tableFlow, f func(K, V) V2) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := &rows[K, V2]{node: n, next: children[K, change[V2]](a, n), sendOld: t.sendOld}
		if t.decl != nil {
			s.store = opened[K, V2](a, t.decl.Name)
		}
		nils, compute := hasNil[V2](), t.sendOld && t.decl == nil
		return func(r *task.Rec, k K, c change[V]) error {
			r.At = n.Index
			var out change[V2]
			if c.hasNew {
				out.new = f(k, c.new)
				out.hasNew = !(nils && isNil(out.new))
			}
			if compute && c.hasOld {
				out.old = f(k, c.old)
				out.hasOld = !(nils && isNil(out.old))
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
