package stream

import (
	"slices"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// Join is there while both rows are.
func (t KTable[K, V]) Join[V2, R any](other KTable[K, V2], join func(k K, v V, o V2) R, opts ...Materialized) KTable[K, R] {
	return joinTables(t.t, other.t, "Join", tableJoin[K, V, V2, R]{
		left: true, right: true,
		join: func(k K, v V, _ bool, o V2, _ bool) R { return join(k, v, o) },
	}, opts)
}

// LeftJoin is there while the left row is.
func (t KTable[K, V]) LeftJoin[V2, R any](other KTable[K, V2], join func(k K, v V, o V2, ok bool) R, opts ...Materialized) KTable[K, R] {
	return joinTables(t.t, other.t, "LeftJoin", tableJoin[K, V, V2, R]{
		left: true,
		join: func(k K, v V, _ bool, o V2, ok bool) R { return join(k, v, o, ok) },
	}, opts)
}

// OuterJoin is there while either row is.
func (t KTable[K, V]) OuterJoin[V2, R any](other KTable[K, V2], join func(k K, v V, vok bool, o V2, ook bool) R, opts ...Materialized) KTable[K, R] {
	return joinTables(t.t, other.t, "OuterJoin", tableJoin[K, V, V2, R]{join: join}, opts)
}

// tableJoin is what a join of two tables does; left and right say which row must be there.
type tableJoin[K, V, V2, R any] struct {
	left, right bool
	join        func(k K, v V, vok bool, o V2, ook bool) R
}

// flipped is the same join seen from the other table.
func (j tableJoin[K, V, V2, R]) flipped() tableJoin[K, V2, V, R] {
	return tableJoin[K, V2, V, R]{
		left: j.right, right: j.left,
		join: func(k K, o V2, ook bool, v V, vok bool) R { return j.join(k, v, vok, o, ook) },
	}
}

// joinTables adds a node for each side and one where they meet, which keeps the store if there is one.
func joinTables[K, V, V2, R any](left, right *tableFlow, op string, j tableJoin[K, V, V2, R], opts []Materialized) KTable[K, R] {
	m := left.b.at(op)
	set := materialized(opts)
	if right.b != left.b {
		m.faultf("", "the other table belongs to another Builder")
		return KTable[K, R]{t: left}
	}
	g := m.b.graph
	g.Copartition(op, m.site, left.n, right.n)
	if set.StoreName == "" && set.Kept {
		set.StoreName = g.StoreName("KTABLE-MERGE-")
	}
	meet := g.Named(set.Name, "KTABLE-MERGE-")
	if !j.right {
		left.old(true) // a row that may stand alone tells whether it was there before
	}
	if !j.left {
		right.old(true)
	}
	this, other := g.Named(suffixed(set.Name, "-join-this"), "KTABLE-JOINTHIS-"), g.Named(suffixed(set.Name, "-join-other"), "KTABLE-JOINOTHER-")
	seeLeft, leftStores := viewOf[K, V](left)
	seeRight, rightStores := viewOf[K, V2](right)

	out := &tableFlow{b: m.b, ks: first(set.KeySerde, left.ks), vs: set.ValueSerde}
	if set.StoreName != "" {
		out.keep(m, declared[K, R](m, &set, left.ks, nil))
	}
	none := noneOf[R](m, set.Empty)
	a := m.node(plan.Processor, this, left.n)
	a.Stores, a.Body = rightStores, joinSideBody(out, seeRight, j, none)
	b := m.node(plan.Processor, other, right.n)
	b.Stores, b.Body = leftStores, joinSideBody(out, seeLeft, j.flipped(), none)
	g.Copartition(m.op, m.site, left.n, right.n)
	out.n = m.node(plan.Processor, meet, a, b)
	out.n.Stores = out.stores()
	out.n.Body = meetBody[K, R](out)
	out.old = func(bool) bool {
		left.old(true)
		right.old(true)
		out.sendOld = true
		return true
	}
	out.view = func() (any, []string) {
		if out.decl != nil {
			return shelfView[K, R](out)
		}
		return joinedView(seeLeft, seeRight, j, none), union(leftStores, rightStores)
	}
	return KTable[K, R]{t: out}
}

// suffixed is a name that belongs to another, where that is given.
func suffixed(name, suffix string) string {
	if name == "" {
		return ""
	}
	return name + suffix
}

// union is a and what of b is not in a.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// joinSideBody joins changes of one table with the current rows of the other.
func joinSideBody[K, V, V2, R any](out *tableFlow, open viewing[K, V2], j tableJoin[K, V, V2, R], none func(R) bool) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := &joinSide[K, V, V2, R]{node: n, next: children[K, change[R]](a, n), other: open(a), j: j, none: none, sendOld: out.sendOld}
		return s.take
	})
}

// joinSide is one side of a join in one task.
type joinSide[K, V, V2, R any] struct {
	node    *plan.Node
	next    step[K, change[R]]
	other   viewer[K, V2]
	j       tableJoin[K, V, V2, R]
	none    func(R) bool
	sendOld bool
}

func (s *joinSide[K, V, V2, R]) take(r *task.Rec, k K, c change[V]) error {
	r.At = s.node.Index
	if c.stale {
		r.Drop("out of order")
		return nil
	}
	o, ok, err := s.other.get(k)
	if err != nil {
		return faulty(task.Processing, s.node, err)
	}
	if !ok && (s.j.right || !c.hasNew && !c.hasOld) {
		return nil
	}
	var out change[R]
	out.new, out.hasNew = s.joined(k, c.new, c.hasNew, o.value, ok)
	if s.sendOld {
		out.old, out.hasOld = s.joined(k, c.old, c.hasOld, o.value, ok)
	}
	was := r.Time
	if ok {
		r.Time = max(r.Time, o.time)
	}
	err = s.next(r, k, out)
	r.Time = was
	return err
}

// joined is the row of a key, if there is one.
func (s *joinSide[K, V, V2, R]) joined(k K, v V, vok bool, o V2, ook bool) (res R, ok bool) {
	return s.j.row(k, v, vok, o, ook, s.none)
}

// row is the joined row of two, if there is one.
func (j *tableJoin[K, V, V2, R]) row(k K, v V, vok bool, o V2, ook bool, none func(R) bool) (res R, ok bool) {
	if j.left && !vok || j.right && !ook || !vok && !ook {
		return res, false
	}
	out := j.join(k, v, vok, o, ook)
	if none != nil && none(out) {
		return res, false
	}
	return out, true
}

// meetBody is where both sides of a join meet. Old values are those that the sides have computed, not what the store held,
// as in Java.
func meetBody[K, R any](t *tableFlow) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := newRows[K, R](a, n, t)
		return func(r *task.Rec, k K, c change[R]) error {
			r.At = n.Index
			if s.shelf == nil {
				return s.next(r, k, c)
			}
			return s.put(r, k, c, r.Time)
		}
	})
}

// joinedView computes the rows of a join that keeps no store.
func joinedView[K, V, V2, R any](left viewing[K, V], right viewing[K, V2], j tableJoin[K, V, V2, R], none func(R) bool) viewing[K, R] {
	return func(a *task.Assembly) viewer[K, R] {
		l, r := left(a), right(a)
		return viewer[K, R]{get: func(k K) (out row[R], _ bool, _ error) {
			v, vok, err := l.get(k)
			if err != nil {
				return out, false, err
			}
			o, ook, err := r.get(k)
			if err != nil {
				return out, false, err
			}
			switch {
			case !vok:
				out.time = o.time
			case !ook:
				out.time = v.time
			default:
				out.time = max(v.time, o.time)
			}
			out.value, vok = j.row(k, v.value, vok, o.value, ook, none)
			return out, vok, nil
		}}
	}
}

// noneOf says of which results there is no row: nil, where R has one, and what DeleteWhen names. It is nil if there is
// always one.
func noneOf[R any](m maker, empty any) func(R) bool {
	gone, nils := emptiness[R](m, empty), hasNil[R]()
	switch {
	case !nils:
		return gone
	case gone == nil:
		return isNil[R]
	}
	return func(v R) bool { return isNil(v) || gone(v) }
}
