package stream

import (
	"bytes"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// The left side of a foreign-key join: what tells the right side of references, and what takes its answers.

// sender turns changes of left rows into subscriptions.
type sender[K, V, FK, FV, R any] struct {
	node     *plan.Node
	next     step[FK, layout.Subscription]
	of       func(K, V) (FK, bool)
	left     bool
	nils     bool // FK has a nil, which refers to nothing
	key      coder[K]
	row      coder[V]
	was, now coder[FK]
	sum      [16]byte
}

func sendBody[K, V, FK, FV, R any](s subscribing, f reference[K, V, FK, FV, R]) body {
	return func(rs *resolver, _ *plan.Node) (task.Body, error) {
		ks, vs, err := findBoth[K, V](rs, s.ks, s.vs)
		if err != nil {
			return nil, err
		}
		fks, err := find[FK](rs, s.fks)
		if err != nil {
			return nil, err
		}
		foreign := coder[FK]{serde: fks, topic: s.pseudo(rs, foreignKeys), key: true}
		return func(a *task.Assembly, n *plan.Node) any {
			w := &sender[K, V, FK, FV, R]{
				node: n, next: children[FK, layout.Subscription](a, n), of: f.of, left: f.left, nils: hasNil[FK](),
				key: coder[K]{serde: ks, topic: s.pseudo(rs, primaryKeys), key: true},
				row: coder[V]{serde: vs, topic: s.pseudo(rs, hashedRows)},
				was: foreign, now: foreign,
			}
			return w.take
		}, nil
	}
}

// refer is a foreign key and its bytes, which are nil if a row refers to nothing.
type refer[FK any] struct {
	key   FK
	bytes []byte
}

func (r refer[FK]) same(other refer[FK]) bool { return bytes.Equal(r.bytes, other.bytes) }

func (w *sender[K, V, FK, FV, R]) take(r *task.Rec, k K, c change[V]) error {
	r.At = w.node.Index
	if c.stale {
		r.Drop("out of order")
		return nil
	}
	old, err := w.refers(r, k, c.old, c.hasOld, &w.was)
	if err != nil {
		return faulty(task.Serialization, w.node, err)
	}
	now, err := w.refers(r, k, c.new, c.hasNew, &w.now)
	if err != nil {
		return faulty(task.Serialization, w.node, err)
	}
	s := layout.Subscription{Version: layout.SubscriptionV1, Partition: r.Task().ID().Partition}
	if c.hasNew {
		row, err := w.row.bytes(r, c.new)
		if err != nil {
			return faulty(task.Serialization, w.node, err)
		}
		w.sum = layout.Hash128(row)
		s.Hash = w.sum[:]
	}
	if s.Primary, err = w.key.bytes(r, k); err != nil {
		return faulty(task.Serialization, w.node, err)
	}
	if w.left {
		return w.instructLeft(r, c, old, now, s)
	}
	return w.instructInner(r, c, old, now, s)
}

// refers is what a row refers to.
func (w *sender[K, V, FK, FV, R]) refers(r *task.Rec, k K, v V, there bool, c *coder[FK]) (out refer[FK], err error) {
	if !there {
		return out, nil
	}
	fk, ok := w.of(k, v)
	if !ok || w.nils && isNil(fk) {
		return out, nil
	}
	out.key = fk
	if c.space == nil {
		c.space = make([]byte, 0, 1) // a key of no bytes is not none
	}
	out.bytes, err = c.bytes(r, fk)
	return out, err
}

// instructInner is what an inner join has to ask for. A row that begins to refer needs no answer while nothing is there; one
// that referred before does, as its result may have to go.
func (w *sender[K, V, FK, FV, R]) instructInner(r *task.Rec, c change[V], old, now refer[FK], s layout.Subscription) error {
	switch {
	case now.bytes == nil:
		if c.hasNew {
			r.Drop("null foreign key")
		}
		if old.bytes == nil {
			return nil
		}
		return w.send(r, old, s, layout.DeleteKeyAndPropagate)
	case old.bytes == nil || old.same(now):
		return w.send(r, now, s, layout.PropagateOnlyIfForeign)
	}
	if err := w.send(r, old, s, layout.DeleteKeyNoPropagate); err != nil {
		return err
	}
	return w.send(r, now, s, layout.PropagateNullIfNoForeign)
}

// instructLeft is what a left join has to ask for: an answer in any case, as the row has a result by itself.
func (w *sender[K, V, FK, FV, R]) instructLeft(r *task.Rec, c change[V], old, now refer[FK], s layout.Subscription) error {
	if !c.hasNew && !c.hasOld {
		return nil
	}
	if old.bytes != nil && !(now.bytes != nil && old.same(now)) {
		if err := w.send(r, old, s, layout.DeleteKeyNoPropagate); err != nil {
			return err
		}
	}
	return w.send(r, now, s, layout.PropagateNullIfNoForeign)
}

func (w *sender[K, V, FK, FV, R]) send(r *task.Rec, to refer[FK], s layout.Subscription, do layout.Instruction) error {
	s.Instruction = do
	was := r.Keyless
	r.Keyless = to.bytes == nil
	err := w.next(r, to.key, s)
	r.Keyless = was
	return err
}

// resolveBody takes the answers. One to a row that has changed since carries another hash: a later one will come.
func resolveBody[K, V, FK, FV, R any](s subscribing, f reference[K, V, FK, FV, R], rows viewing[K, V]) body {
	return func(rs *resolver, _ *plan.Node) (task.Body, error) {
		vs, err := find[V](rs, s.vs)
		if err != nil {
			return nil, err
		}
		return func(a *task.Assembly, n *plan.Node) any {
			w := &resolving[K, V, FK, FV, R]{
				node: n, next: children[K, change[R]](a, n), f: f, rows: rows(a), nils: hasNil[R](),
				row: coder[V]{serde: vs, topic: s.pseudo(rs, hashedRows)},
			}
			return w.take
		}, nil
	}
}

type resolving[K, V, FK, FV, R any] struct {
	node *plan.Node
	next step[K, change[R]]
	f    reference[K, V, FK, FV, R]
	rows viewer[K, V]
	row  coder[V]
	nils bool
}

func (w *resolving[K, V, FK, FV, R]) take(r *task.Rec, k K, a answer[FV]) error {
	r.At = w.node.Index
	if r.Keyless || r.Tombstone {
		r.Drop("null")
		return nil
	}
	row, ok, err := w.rows.get(k)
	if err != nil {
		return faulty(task.Processing, w.node, err)
	}
	fresh, err := w.fresh(r, row.value, ok, a.hash)
	if err != nil {
		return faulty(task.Serialization, w.node, err)
	}
	if !fresh {
		r.Drop("hash mismatch")
		return nil
	}
	var c change[R]
	if ok && (a.ok || w.f.left) {
		c.new = w.f.join(k, row.value, a.value, a.ok)
		c.hasNew = !(w.nils && isNil(c.new)) && !(w.f.empty != nil && w.f.empty(c.new))
	}
	blank(&c)
	return w.next(r, k, c)
}

// fresh says whether the row is still the one that was answered.
func (w *resolving[K, V, FK, FV, R]) fresh(r *task.Rec, v V, ok bool, hash []byte) (bool, error) {
	if !ok {
		return hash == nil, nil
	}
	b, err := w.row.bytes(r, v)
	if err != nil {
		return false, err
	}
	sum := layout.Hash128(b)
	return bytes.Equal(sum[:], hash), nil
}

// resultBody keeps the results, if the table has a store.
func resultBody[K, R any](t *tableFlow) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := newRows[K, R](a, n, t)
		return func(r *task.Rec, k K, c change[R]) error {
			r.At = n.Index
			return s.pass(r, k, c)
		}
	})
}
