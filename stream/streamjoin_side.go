package stream

import (
	"fmt"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// sideStore keeps the records of one side of a join in one task, all of them, also several of one key and time.
type sideStore[K, V any] interface {
	// Append keeps a record.
	Append(k K, v V, at int64, headers serde.Headers) error
	// Skip tells the changelog of a record without value, which is not kept.
	Skip(k K, at int64, headers serde.Headers) error
	// Each visits the records of a key from one time to another, both included, in the order of their times and, of equal
	// times, of their coming.
	Each(k K, from, to int64, visit func(v V, at int64) error) error
}

func sideStoreOf[K, V any](a *task.Assembly, name string) sideStore[K, V] {
	s, _ := a.Task.Store(name)
	return s.Face().(sideStore[K, V])
}

// keepSideBody lets a record be joined with the other side, and then keeps it for those to come.
func keepSideBody[K, V any](name string) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, nils := guard(children[K, V](a, n)), hasNil[V]()
		s := sideStoreOf[K, V](a, name)
		return func(r *task.Rec, k K, v V) error {
			r.At = n.Index
			if err := next(r, k, v); err != nil {
				return err
			}
			r.At = n.Index
			var err error
			switch {
			case r.Keyless:
			case r.Tombstone || nils && isNil(v):
				err = s.Skip(k, r.Time, r.Headers)
			default:
				err = s.Append(k, v, r.Time, r.Headers)
			}
			if err != nil {
				return faulty(task.Processing, n, err)
			}
			return nil
		}
	})
}

// side joins the records of one stream, V, with those that are kept of the other, W.
type side[K, V, W, R any] struct {
	node  *plan.Node
	next  step[K, R]
	other sideStore[K, W]
	span  span
	nils  bool
	join  func(k K, v V, w W, ok bool) R
	outer bool         // a record without partner is emitted alone
	alone loners[K, V] // those of both sides that wait for a partner; nil if the join is inner

	// What visit sees of the record at work: kept here so that looking for partners allocates nothing.
	r     *task.Rec
	k     K
	v     V
	found bool
	visit func(w W, at int64) error
}

// loners are the records that have found no partner yet, as one side of the join sees them.
type loners[K, V any] interface {
	// raise says that a record of that time has come.
	raise(at int64, now time.Time)
	// now is the highest time of any record.
	now() int64
	// release emits those whose window is over.
	release(r *task.Rec) error
	// wait adds one.
	wait(k K, v V, at int64) error
	// met takes those of the other side out that have this key and time.
	met(k K, at int64) error
}

func (s *side[K, V, W, R]) begin() any {
	s.next = guard(s.next)
	s.visit = s.pair
	return s.take
}

func (s *side[K, V, W, R]) take(r *task.Rec, k K, v V) error {
	r.At = s.node.Index
	if s.alone != nil {
		s.alone.raise(r.Time, r.Task().Now())
	}
	none := r.Tombstone || s.nils && isNil(v)
	if r.Keyless && s.outer && !none {
		var w W
		return s.next(r, k, s.join(k, v, w, false))
	}
	if r.Keyless || none {
		r.Drop("null")
		return nil
	}
	if s.alone != nil && r.Time == s.alone.now() {
		if err := s.alone.release(r); err != nil {
			return err
		}
	}
	from, to := s.span.around(r.Time)
	s.r, s.k, s.v, s.found = r, k, v, false
	if err := s.other.Each(k, from, to, s.visit); err != nil {
		return faulty(task.Processing, s.node, err)
	}
	if s.found || !s.outer {
		return nil
	}
	if to < s.alone.now() { // its partners would have come by now
		var w W
		return s.next(r, k, s.join(k, v, w, false))
	}
	if err := s.alone.wait(k, v, r.Time); err != nil {
		return faulty(task.Processing, s.node, err)
	}
	return nil
}

// pair emits one pair.
func (s *side[K, V, W, R]) pair(w W, at int64) error {
	s.found = true
	if s.alone != nil {
		if err := s.alone.met(s.k, at); err != nil {
			return fmt.Errorf("record without partner: %w", err)
		}
	}
	r, k, v := s.r, s.k, s.v
	was := r.Time
	r.Time = max(was, at)
	err := s.next(r, k, s.join(k, v, w, true))
	r.Time, r.At = was, s.node.Index
	s.r, s.k, s.v = r, k, v
	return err
}

func (p *pairing[K, V, W, R]) leftBody(names *pairingNames) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := &side[K, V, W, R]{
			node: n, next: children[K, R](a, n), other: sideStoreOf[K, W](a, names.storeOther), span: p.within.left(), nils: hasNil[V](), outer: p.left,
			join: func(k K, v V, w W, ok bool) R { return p.join(k, v, true, w, ok) },
		}
		if p.left || p.right {
			l := &leftLoners[K, V, W, R]{aloneOf[K, V, W, R](a, names.shared), exit[K, R]{n, guard(s.next), s.span.after}}
			l.s.watch(a, l.out)
			s.alone = l
		}
		return s.begin()
	})
}

func (p *pairing[K, V, W, R]) rightBody(names *pairingNames) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := &side[K, W, V, R]{
			node: n, next: children[K, R](a, n), other: sideStoreOf[K, V](a, names.storeThis), span: p.within.right(), nils: hasNil[W](), outer: p.right,
			join: func(k K, w W, v V, ok bool) R { return p.join(k, v, ok, w, true) },
		}
		if p.left || p.right {
			s.alone = &rightLoners[K, V, W, R]{aloneOf[K, V, W, R](a, names.shared), exit[K, R]{n, guard(s.next), s.span.after}}
		}
		return s.begin()
	})
}
