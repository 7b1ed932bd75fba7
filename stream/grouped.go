package stream

import (
	"reflect"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
)

// KGroupedStream is a stream by key, ready to aggregate. Records without key or value are dropped and counted.
type KGroupedStream[K, V any] struct {
	_ [0]func(K, V)
	g *grouping
}

// grouping is a grouped stream without its types.
type grouping struct {
	flow
	name  string     // given by the user
	parts *plan.Node // the source behind the repartition topic, once there is one that may be shared
}

// Count counts records per key.
func (g KGroupedStream[K, V]) Count(opts ...Materialized) KTable[K, int64] {
	set := materialized(opts)
	if set.StoreName == "" && set.Kept {
		// Java's count with a Materialized that has no name burns a number here, and keeps doing so for compatibility.
		g.g.b.graph.StoreName("KSTREAM-AGGREGATE-")
	}
	return aggregate(g, "Count", "KSTREAM-AGGREGATE-", set, fold[K, V, int64]{
		init: func() int64 { return 0 },
		add:  func(_ K, _ V, n int64) int64 { return n + 1 },
	})
}

// Reduce folds values into one of the same type.
func (g KGroupedStream[K, V]) Reduce(f func(agg, v V) V, opts ...Materialized) KTable[K, V] {
	return aggregate(g, "Reduce", "KSTREAM-REDUCE-", materialized(opts), fold[K, V, V]{
		first: func(v V) V { return v },
		add:   func(_ K, v, agg V) V { return f(agg, v) },
	})
}

// Aggregate folds values into an aggregate that init begins; a nil init begins with the zero value.
func (g KGroupedStream[K, V]) Aggregate[A any](init func() A, add func(k K, v V, agg A) A, opts ...Materialized) KTable[K, A] {
	if init == nil {
		init = func() (zero A) { return zero }
	}
	return aggregate(g, "Aggregate", "KSTREAM-AGGREGATE-", materialized(opts), fold[K, V, A]{init: init, add: add})
}

func materialized(opts []Materialized) opt.Settings {
	var set opt.Settings
	for _, o := range opts {
		o.MaterializedOption(opt.Seal{}, &set)
	}
	return set
}

// aggregate adds store, node and, if the key was changed, the way through a repartition topic. The order in which names are
// taken from the counter is Java's.
func aggregate[K, V, A any](g KGroupedStream[K, V], op, prefix string, set opt.Settings, f fold[K, V, A]) KTable[K, A] {
	gr := g.g
	m := gr.b.at(op)
	if set.StoreName == "" {
		set.StoreName = gr.b.graph.StoreName(prefix)
	}
	name := gr.b.graph.Named(set.Name, prefix)
	parent := gr.n
	if gr.rekeyed {
		parent = repartitioned[K, V](m, gr, set.StoreName)
	}
	var values any
	if reflect.TypeFor[V]() == reflect.TypeFor[A]() && op == "Reduce" {
		values = gr.vs
	}
	t := &tableFlow{b: gr.b, ks: first(set.KeySerde, gr.ks), vs: first(set.ValueSerde, values)}
	t.keep(m, declared[K, A](m, &set, gr.ks, values))
	t.n = m.node(plan.Processor, name, parent)
	t.n.Stores = t.stores()
	f.empty = emptiness[A](m, set.Empty)
	t.n.Body = aggregateBody(t, f)
	t.old = func(bool) bool {
		t.sendOld = true
		return true
	}
	t.view = func() (any, []string) { return shelfView[K, A](t) }
	return KTable[K, A]{t: t}
}

// emptiness is what DeleteWhen asks of aggregates.
func emptiness[A any](m maker, empty any) func(A) bool {
	f, ok := empty.(func(A) bool)
	if empty != nil && !ok {
		m.faultf("", "DeleteWhen is %T, which asks nothing of %s", empty, reflect.TypeFor[A]())
	}
	return f
}

// repartitioned leads a grouped stream through a topic of its own, so that all records of a key meet in one task. A grouping
// with a name has one topic for all its aggregates.
func repartitioned[K, V any](m maker, g *grouping, fallback string) *plan.Node {
	prefix := g.name
	if prefix == "" {
		prefix = fallback
	}
	c := m.b.cross(prefix)
	if g.name != "" && g.parts != nil {
		m.b.graph.Renew(c.topic)
		return g.parts // its numbers are burned all the same
	}
	g.parts = detour[K, V](m, g.n, hop{prefix: prefix, ks: g.ks, vs: g.vs}, c)
	return g.parts
}
