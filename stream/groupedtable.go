package stream

import (
	"bytes"
	"cmp"
	"errors"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// KGroupedTable is a table by another key. A changed row is taken out of its old group and put into its new one.
type KGroupedTable[K, V any] struct {
	_ [0]func(K, V)
	g *regrouping
}

// regrouping is a grouped table without its types.
type regrouping struct {
	flow
	name  string     // given by the user
	parts *plan.Node // the source behind the repartition topic, once there is one that may be shared
}

// GroupBy moves each row under a new key and value, for an aggregate that can take rows back. A row whose new key or value
// is nil is in no group.
func (t KTable[K, V]) GroupBy[K2, V2 any](f func(K, V) (K2, V2), opts ...Grouped) KGroupedTable[K2, V2] {
	set := grouped(opts)
	m := t.t.b.at("GroupBy")
	n := m.node(plan.Processor, t.t.b.graph.Named(set.Name, "KTABLE-SELECT-"), t.t.n)
	n.Body = regroupBody(f, set.KeySerde)
	t.t.old(true)
	return KGroupedTable[K2, V2]{g: &regrouping{b: t.t.b, n: n, ks: set.KeySerde, vs: set.ValueSerde, name: set.Name}}
}

// Count counts rows per key.
func (g KGroupedTable[K, V]) Count(opts ...Materialized) KTable[K, int64] {
	return regrouped(g, "Count", "KTABLE-AGGREGATE-", materialized(opts), nil, refold[K, V, int64]{
		init: func() int64 { return 0 },
		add:  func(_ K, _ V, n int64) int64 { return n + 1 },
		sub:  func(_ K, _ V, n int64) int64 { return n - 1 },
	})
}

// Reduce folds rows by add and takes them out by sub.
func (g KGroupedTable[K, V]) Reduce(add, sub func(agg, v V) V, opts ...Materialized) KTable[K, V] {
	return regrouped(g, "Reduce", "KTABLE-REDUCE-", materialized(opts), g.g.vs, refold[K, V, V]{
		add: func(_ K, v, agg V) V { return add(agg, v) },
		sub: func(_ K, v, agg V) V { return sub(agg, v) },
		one: func(v V) V { return v },
	})
}

// Aggregate folds rows by add and takes them out by sub; a nil init begins with the zero value.
func (g KGroupedTable[K, V]) Aggregate[A any](init func() A, add, sub func(k K, v V, agg A) A, opts ...Materialized) KTable[K, A] {
	if init == nil {
		init = func() (zero A) { return zero }
	}
	return regrouped(g, "Aggregate", "KTABLE-AGGREGATE-", materialized(opts), nil, refold[K, V, A]{init: init, add: add, sub: sub})
}

// regrouped adds store, repartition topic and node. The order in which names are taken from the counter is Java's; there,
// stores of both kinds of node are called aggregates.
func regrouped[K, V, A any](g KGroupedTable[K, V], op, prefix string, set opt.Settings, values any, f refold[K, V, A]) KTable[K, A] {
	gr := g.g
	m := gr.b.at(op)
	graph := gr.b.graph
	if set.StoreName == "" {
		set.StoreName = graph.StoreName("KTABLE-AGGREGATE-")
	}
	sink, source := graph.Named(suffixed(set.Name, "-sink"), "KSTREAM-SINK-"), graph.Named(suffixed(set.Name, "-source"), "KSTREAM-SOURCE-")
	name := graph.Named(set.Name, prefix)
	t := &tableFlow{b: gr.b, ks: first(set.KeySerde, gr.ks), vs: first(set.ValueSerde, values)}
	t.keep(m, declared[K, A](m, &set, gr.ks, values))
	t.n = m.node(plan.Processor, name, changesRepartitioned[K, V](m, gr, set.StoreName, sink, source))
	t.n.Stores = t.stores()
	f.none = noneOf[A](m, set.Empty)
	t.n.Body = refoldBody(t, f)
	t.old = func(bool) bool {
		t.sendOld = true
		return true
	}
	t.view = func() (any, []string) { return shelfView[K, A](t) }
	return KTable[K, A]{t: t}
}

// changesRepartitioned leads a grouped table through a topic of its own. A grouping with a name has one for all its
// aggregates.
func changesRepartitioned[K, V any](m maker, g *regrouping, fallback, sink, source string) *plan.Node {
	topic := cmp.Or(g.name, fallback) + "-repartition"
	if g.parts != nil {
		m.b.graph.Renew(topic)
		return g.parts
	}
	m.b.graph.AddRepartition(&plan.Repartition{Topic: topic, Asked: true, Site: m.site}) // it is never merged with others
	if err := legalTopic(topic); err != nil {
		m.faultf(sink, "%w", err)
	}
	out := m.node(plan.Sink, sink, g.n)
	out.Topics, out.Internal = []string{topic}, true
	out.Body = changeSinkBody[K, V](g.ks, g.vs)
	in := m.node(plan.Source, source)
	in.Topics, in.Internal, in.Types = []string{topic}, true, types[K, V]()
	in.Body = changeSourceBody[K, V](g.ks, g.vs)
	if g.name != "" {
		g.parts = in
	}
	return in
}

// regroup gives rows their new keys, in one task.
type regroup[K, V, K2, V2 any] struct {
	node             *plan.Node
	next             step[K2, change[V2]]
	f                func(K, V) (K2, V2)
	ks               serde.Serde[K2]
	nilKey, nilValue bool
	topic            string        // where the keys go
	a, b             []byte        // keys being compared
	headers          serde.Headers // what the key's serde is told
}

func regroupBody[K, V, K2, V2 any](f func(K, V) (K2, V2), k any) body {
	return func(rs *resolver, _ *plan.Node) (task.Body, error) {
		ks, err := find[K2](rs, k)
		if err != nil {
			return nil, err
		}
		return func(a *task.Assembly, n *plan.Node) any {
			g := &regroup[K, V, K2, V2]{
				node: n, next: guard(children[K2, change[V2]](a, n)), f: f, ks: ks, nilKey: hasNil[K2](), nilValue: hasNil[V2](),
			}
			if len(n.Children) > 0 {
				g.topic = rs.plan.Topic(n.Children[0].Topics[0], true)
			}
			return g.take
		}, nil
	}
}

var errKeyless = errors.New("a row without key cannot be grouped")

func (g *regroup[K, V, K2, V2]) take(r *task.Rec, k K, c change[V]) error {
	r.At = g.node.Index
	if r.Keyless {
		return faulty(task.Processing, g.node, errKeyless)
	}
	if c.stale {
		r.Drop("out of order")
		return nil
	}
	var now, old change[V2]
	var at, from K2
	if c.hasNew {
		at, now.new, now.hasNew = g.moved(k, c.new)
	}
	if c.hasOld {
		from, old.old, old.hasOld = g.moved(k, c.old)
	}
	if now.hasNew && old.hasOld {
		same, err := g.equal(at, from)
		if err != nil {
			return faulty(task.Serialization, g.node, err)
		}
		if same {
			now.old, now.hasOld, old.hasOld = old.old, true, false
		}
	}
	if old.hasOld {
		if err := g.next(r, from, old); err != nil {
			return err
		}
		r.At = g.node.Index
	}
	if now.hasNew {
		return g.next(r, at, now)
	}
	return nil
}

// moved is the new key and value of a row; false if it is in no group.
func (g *regroup[K, V, K2, V2]) moved(k K, v V) (k2 K2, v2 V2, ok bool) {
	k2, v2 = g.f(k, v)
	return k2, v2, !(g.nilKey && isNil(k2) || g.nilValue && isNil(v2))
}

// equal compares keys by their bytes, as everything else that keeps or partitions them does.
func (g *regroup[K, V, K2, V2]) equal(x, y K2) (_ bool, err error) {
	g.headers = nil
	m := serde.Meta{Topic: g.topic, IsKey: true, Headers: &g.headers}
	if g.a, err = g.ks.Append(g.a[:0], x, m); err != nil {
		return false, err
	}
	if g.b, err = g.ks.Append(g.b[:0], y, m); err != nil {
		return false, err
	}
	return bytes.Equal(g.a, g.b), nil
}

// refold is an aggregation that can take values back. Either init or one is set.
type refold[K, V, A any] struct {
	init     func() A  // begins with nothing
	one      func(V) A // begins with the first value, which is then not added
	add, sub func(K, V, A) A
	none     func(A) bool // such an aggregate is none; nil: there is always one
}

// refolder is a grouped table's aggregation in one task.
type refolder[K, V, A any] struct {
	rows *rows[K, A]
	f    refold[K, V, A]
}

func refoldBody[K, V, A any](t *tableFlow, f refold[K, V, A]) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		g := &refolder[K, V, A]{rows: newRows[K, A](a, n, t), f: f}
		return g.take
	})
}

func (g *refolder[K, V, A]) take(r *task.Rec, k K, c change[V]) error {
	r.At = g.rows.node.Index
	if r.Keyless {
		return faulty(task.Processing, g.rows.node, errKeyless)
	}
	found, ok, err := g.rows.shelf.get(k)
	if err != nil {
		return faulty(task.Processing, g.rows.node, err)
	}
	at := r.Time
	if ok {
		at = max(at, found.time)
	}
	out := change[A]{old: found.value, hasOld: ok && g.rows.sendOld}
	out.new, out.hasNew = g.fold(k, c, found.value, ok)
	blank(&out)
	return g.rows.put(r, k, out, at)
}

// fold takes the old value out, if there is an aggregate that may hold it, and then puts the new one in.
func (g *refolder[K, V, A]) fold(k K, c change[V], agg A, ok bool) (A, bool) {
	if ok && c.hasOld {
		agg = g.f.sub(k, c.old, agg)
		ok = !g.gone(agg)
	}
	if !c.hasNew {
		return agg, ok
	}
	switch {
	case ok:
		agg = g.f.add(k, c.new, agg)
	case g.f.one != nil:
		agg = g.f.one(c.new)
	default:
		agg = g.f.add(k, c.new, g.f.init())
	}
	return agg, !g.gone(agg)
}

func (g *refolder[K, V, A]) gone(agg A) bool { return g.f.none != nil && g.f.none(agg) }
