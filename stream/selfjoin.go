package stream

import (
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// selfJoin says what becomes of an inner join if both sides are one stream and the topology is to be optimized: one store
// and one node, which finds for each record what the two sides would.
func (p *pairing[K, V, W, R]) selfJoin(names *pairingNames) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		same, _ := any(func(v V) V { return v }).(func(V) W)
		s := &selfJoiner[K, V, R]{
			node: n, next: guard(children[K, R](a, n)), store: sideStoreOf[K, V](a, names.storeThis),
			left: p.within.left(), right: p.within.right(), nils: hasNil[V](), time: -1,
			retention: p.within.retention().Milliseconds(),
			join:      func(k K, v, w V) R { return p.join(k, v, true, same(w), true) },
		}
		s.asLeft, s.asRight = s.pairLeft, s.pairRight
		a.Task.KeepTime(n.Name, &s.time)
		return s.take
	})
}

// selfJoiner joins a stream with itself in one task.
type selfJoiner[K, V, R any] struct {
	node        *plan.Node
	next        step[K, R]
	store       sideStore[K, V]
	left, right span
	nils        bool
	join        func(k K, v, w V) R
	retention   int64
	time        int64 // the highest that came by

	// The record at work, and whether its pair with itself is still to be emitted.
	r               *task.Rec
	k               K
	v               V
	owes            bool
	asLeft, asRight func(w V, at int64) error
}

// take finds the partners of a record as a left one, then those as a right one. Its pair with itself comes between those
// that are not later and those that are: where the second side of the join without optimization would find it.
func (s *selfJoiner[K, V, R]) take(r *task.Rec, k K, v V) error {
	r.At = s.node.Index
	if r.Keyless || r.Tombstone || s.nils && isNil(v) {
		r.Drop("null")
		return nil
	}
	s.time = max(s.time, r.Time)
	s.r, s.k, s.v = r, k, v
	s.owes = r.Time > s.time-s.retention+1 // else the store would not have kept it
	from, to := s.left.around(r.Time)
	if err := s.store.Each(k, from, to, s.asLeft); err != nil {
		return faulty(task.Processing, s.node, err)
	}
	from, to = s.right.around(r.Time)
	if err := s.store.Each(k, from, to, s.asRight); err != nil {
		return faulty(task.Processing, s.node, err)
	}
	return s.withItself()
}

func (s *selfJoiner[K, V, R]) pairLeft(w V, at int64) error { return s.emit(at, s.v, w) }

func (s *selfJoiner[K, V, R]) pairRight(w V, at int64) error {
	if at > s.r.Time {
		if err := s.withItself(); err != nil {
			return err
		}
	}
	return s.emit(at, w, s.v)
}

func (s *selfJoiner[K, V, R]) withItself() error {
	if !s.owes {
		return nil
	}
	s.owes = false
	return s.emit(s.r.Time, s.v, s.v)
}

// emit emits one pair.
func (s *selfJoiner[K, V, R]) emit(at int64, v, w V) error {
	was := s.r.Time
	s.r.Time = max(was, at)
	err := s.next(s.r, s.k, s.join(s.k, v, w))
	s.r.Time, s.r.At = was, s.node.Index
	return err
}
