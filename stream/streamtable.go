package stream

import (
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// JoinTable looks the key up in a table and drops what is not there. The table is read as it is when the record comes, a
// versioned one as of the record's time. Changes of the table emit nothing.
func (s KStream[K, V]) JoinTable[V2, R any](t KTable[K, V2], join func(k K, v V, o V2) R, opts ...Joined) KStream[K, R] {
	return joinTable(s.s, t.t, "JoinTable", "KSTREAM-JOIN-", tableLookup[K, V, V2, R]{
		join: func(k K, v V, o V2, _ bool) R { return join(k, v, o) },
	}, opts)
}

// LeftJoinTable looks the key up in a table; without a row, or without a key, ok is false and o zero.
func (s KStream[K, V]) LeftJoinTable[V2, R any](t KTable[K, V2], join func(k K, v V, o V2, ok bool) R, opts ...Joined) KStream[K, R] {
	return joinTable(s.s, t.t, "LeftJoinTable", "KSTREAM-LEFTJOIN-", tableLookup[K, V, V2, R]{left: true, join: join}, opts)
}

// tableLookup is what a join of a stream with a table does.
type tableLookup[K, V, V2, R any] struct {
	left bool // a record without a row comes out too
	join func(k K, v V, o V2, ok bool) R
}

// joinTable adds the node of a stream-table join, and the way through a repartition topic if the stream's key was changed.
func joinTable[K, V, V2, R any](f *flow, t *tableFlow, op, prefix string, l tableLookup[K, V, V2, R], opts []Joined) KStream[K, R] {
	var set opt.Settings
	for _, o := range opts {
		o.JoinedOption(opt.Seal{}, &set)
	}
	m := f.b.at(op)
	ks := first(set.KeySerde, f.ks)
	if t.b != f.b {
		m.faultf("", "the table belongs to another Builder")
		return KStream[K, R]{s: f}
	}
	mismatch[K](m, "KeySerde", set.KeySerde)
	mismatch[V](m, "ValueSerde", set.ValueSerde)
	mismatch[V2](m, "OtherSerde", set.OtherSerde)
	from := rerouteForJoin[K, V](m, f, set.Name, set.KeySerde, set.ValueSerde)
	m.b.graph.Copartition(op, m.site, from.n, t.n)
	name := f.b.graph.Named(set.Name, prefix)
	see, stores := viewOf[K, V2](t)
	m.b.graph.Copartition(op, m.site, from.n, t.n)
	n := m.node(plan.Processor, name, from.n)
	n.Stores, n.Relaxed = stores, l.left
	n.Body = tableLookupBody(see, l)
	if set.HasGrace {
		set.KeySerde, set.ValueSerde = ks, first(set.ValueSerde, f.vs)
		withGrace(m, n, t, &set, see, l)
	}
	return KStream[K, R]{s: &flow{b: f.b, n: n, ks: ks}}
}

// tableLookupBody joins records with the rows of a table.
func tableLookupBody[K, V, V2, R any](open viewing[K, V2], l tableLookup[K, V, V2, R]) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		return newTableLooker(a, n, open, l).take
	})
}

// tableLooker is a stream-table join in one task.
type tableLooker[K, V, V2, R any] struct {
	node             *plan.Node
	next             step[K, R]
	table            viewer[K, V2]
	l                tableLookup[K, V, V2, R]
	nilKey, nilValue bool
}

func newTableLooker[K, V, V2, R any](a *task.Assembly, n *plan.Node, open viewing[K, V2], l tableLookup[K, V, V2, R]) *tableLooker[K, V, V2, R] {
	return &tableLooker[K, V, V2, R]{
		node: n, next: children[K, R](a, n), table: open(a), l: l, nilKey: hasNil[K](), nilValue: hasNil[V](),
	}
}

func (j *tableLooker[K, V, V2, R]) take(r *task.Rec, k K, v V) error {
	r.At = j.node.Index
	if j.useless(r, k, v) {
		r.Drop("null")
		return nil
	}
	return j.lookUp(r, k, v)
}

func (j *tableLooker[K, V, V2, R]) keyless(r *task.Rec, k K) bool {
	return r.Keyless || j.nilKey && isNil(k)
}

// useless says whether a record can give no result, whatever the table holds.
func (j *tableLooker[K, V, V2, R]) useless(r *task.Rec, k K, v V) bool {
	return r.Tombstone || j.nilValue && isNil(v) || !j.l.left && j.keyless(r, k)
}

// lookUp joins a record with the row of its key.
func (j *tableLooker[K, V, V2, R]) lookUp(r *task.Rec, k K, v V) error {
	r.At = j.node.Index
	var o row[V2]
	var ok bool
	var err error
	switch {
	case j.keyless(r, k):
	case j.table.asOf != nil:
		o, ok, err = j.table.asOf(k, r.Time)
	default:
		o, ok, err = j.table.get(k)
	}
	if err != nil {
		return faulty(task.Processing, j.node, err)
	}
	if !ok && !j.l.left {
		return nil
	}
	return j.next(r, k, j.l.join(k, v, o.value, ok))
}
