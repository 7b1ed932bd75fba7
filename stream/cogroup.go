package stream

import (
	"slices"
	"strconv"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// CogroupedKStream is several grouped streams with one aggregate; their value types are already forgotten. Each stream's
// records are treated as its own aggregation would treat them. It is a small immutable value.
type CogroupedKStream[K, A any] struct {
	_ [0]func(K, A)
	c *cogroup
}

// cogroup is a cogrouped stream without its types.
type cogroup struct {
	b       *build
	ks      any // the first stream's key serde
	members []member
}

// member is one of the streams.
type member struct {
	g      *grouping
	parent func(m maker, store string) *plan.Node // the node to aggregate behind: that of a topic of its own, where the key was changed
	fold   any                                    // an adding[K, A]
}

// adding makes the node that aggregates one stream, whose values only it knows.
type adding[K, A any] struct {
	plain    func(t *tableFlow, init func() A, empty func(A) bool) body
	windows  func(t *tableFlow, w TimeWindows, init func() A, empty func(A) bool) body
	sessions func(t *tableFlow, w SessionWindows, init func() A, empty func(A) bool, merge func(K, A, A) A) body
}

// Cogroup begins an aggregate over several streams.
func (g KGroupedStream[K, V]) Cogroup[A any](add func(k K, v V, agg A) A) CogroupedKStream[K, A] {
	return CogroupedKStream[K, A]{c: &cogroup{b: g.g.b, ks: g.g.ks, members: []member{memberOf(g.g, add)}}}
}

// Cogroup adds a stream of any value type.
func (c CogroupedKStream[K, A]) Cogroup[V any](g KGroupedStream[K, V], add func(k K, v V, agg A) A) CogroupedKStream[K, A] {
	if g.g.b != c.c.b {
		c.c.b.at("Cogroup").faultf("", "the other stream belongs to another Builder")
		return c
	}
	out := *c.c
	out.members = append(slices.Clip(out.members), memberOf(g.g, add))
	return CogroupedKStream[K, A]{c: &out}
}

func memberOf[K, V, A any](g *grouping, add func(K, V, A) A) member {
	with := func(init func() A, empty func(A) bool) fold[K, V, A] {
		f := aggregating(init, add)
		f.empty = empty
		return f
	}
	return member{
		g: g,
		parent: func(m maker, store string) *plan.Node {
			if g.rekeyed {
				return repartitioned[K, V](m, g, store)
			}
			return g.n
		},
		fold: adding[K, A]{
			plain: func(t *tableFlow, init func() A, empty func(A) bool) body { return aggregateBody(t, with(init, empty)) },
			windows: func(t *tableFlow, w TimeWindows, init func() A, empty func(A) bool) body {
				return overWindowsBody(t, w, OnUpdate, with(init, empty))
			},
			sessions: func(t *tableFlow, w SessionWindows, init func() A, empty func(A) bool, merge func(K, A, A) A) body {
				return sessionBody(t, w, OnUpdate, with(init, empty), merge)
			},
		},
	}
}

// Aggregate ends the list. A nil init begins with the zero value.
func (c CogroupedKStream[K, A]) Aggregate(init func() A, opts ...Materialized) KTable[K, A] {
	m, set := c.c.begin("Aggregate", opts)
	parents := c.c.parents(m, &set)
	t := &tableFlow{b: m.b, ks: first(set.KeySerde, c.c.ks), vs: set.ValueSerde}
	t.keep(m, declared[K, A](m, &set, c.c.ks, nil))
	t.old = func(bool) bool {
		t.sendOld = true
		return true
	}
	t.view = func() (any, []string) { return shelfView[K, A](t) }
	empty := emptiness[A](m, set.Empty)
	nodes := c.c.nodes(m, t, &set, parents, func(i int, _ *plan.Node) body {
		return c.c.members[i].fold.(adding[K, A]).plain(t, init, empty)
	})
	t.n = merged[K, A](m, &set, nodes)
	return KTable[K, A]{t: t}
}

// begin takes the options and the store's name.
func (c *cogroup) begin(op string, opts []Materialized) (maker, opt.Settings) {
	set := materialized(opts)
	if set.StoreName == "" {
		set.StoreName = c.b.graph.StoreName("COGROUPKSTREAM-AGGREGATE-")
	}
	return c.b.at(op), set
}

// parents leads the streams whose key was changed through topics of their own, before any is aggregated: Java takes the names
// in this order.
func (c *cogroup) parents(m maker, set *opt.Settings) []*plan.Node {
	out := make([]*plan.Node, len(c.members))
	for i, x := range c.members {
		out[i] = x.parent(m, set.StoreName)
	}
	return out
}

// nodes adds the node that aggregates each stream; all share the table's store.
func (c *cogroup) nodes(m maker, t *tableFlow, set *opt.Settings, parents []*plan.Node, with func(i int, n *plan.Node) body) []*plan.Node {
	var out []*plan.Node
	for i, p := range parents {
		own := ""
		if set.Name != "" {
			own = set.Name + "-cogroup-agg-" + strconv.Itoa(i)
		}
		n := m.node(plan.Processor, m.b.graph.Named(own, "COGROUPKSTREAM-AGGREGATE-"), p)
		n.Stores = t.stores()
		n.Body = with(i, n)
		out = append(out, n)
	}
	return out
}

// merged adds the node that passes on what all of them say.
func merged[K, A any](m maker, set *opt.Settings, from []*plan.Node) *plan.Node {
	own := ""
	if set.Name != "" {
		own = set.Name + "-cogroup-merge"
	}
	n := m.node(plan.Processor, m.b.graph.Named(own, "COGROUPKSTREAM-MERGE-"), from...)
	n.Body = simple(func(a *task.Assembly, n *plan.Node) any {
		next := children[K, change[A]](a, n)
		return func(r *task.Rec, k K, c change[A]) error {
			r.At = n.Index
			return next(r, k, c)
		}
	})
	return n
}

// TimeWindowedCogroupedKStream is a cogrouped stream cut into windows.
type TimeWindowedCogroupedKStream[K, A any] struct {
	_ [0]func(K, A)
	c *cogroup
	w TimeWindows
}

// Aggregate ends the list. A nil init begins with the zero value.
func (w TimeWindowedCogroupedKStream[K, A]) Aggregate(init func() A, opts ...Materialized) KTable[Windowed[K], A] {
	return cogroupedWindows(w.c, opts, w.w.windowing(OnUpdate), func(t *tableFlow, f adding[K, A], empty func(A) bool) body {
		return f.windows(t, w.w, init, empty)
	})
}

// SessionWindowedCogroupedKStream is a cogrouped stream cut into sessions.
type SessionWindowedCogroupedKStream[K, A any] struct {
	_ [0]func(K, A)
	c *cogroup
	w SessionWindows
}

// Aggregate ends the list; merge joins two sessions that became one, the earlier first. A nil init begins with the zero value.
func (w SessionWindowedCogroupedKStream[K, A]) Aggregate(init func() A, merge func(k K, a, b A) A, opts ...Materialized) KTable[Windowed[K], A] {
	return cogroupedWindows(w.c, opts, w.w.windowing(OnUpdate), func(t *tableFlow, f adding[K, A], empty func(A) bool) body {
		return f.sessions(t, w.w, init, empty, merge)
	})
}

// cogroupedWindows adds the nodes of a cogrouped aggregation over windows.
func cogroupedWindows[K, A any](c *cogroup, opts []Materialized, w windowing, with func(*tableFlow, adding[K, A], func(A) bool) body) KTable[Windowed[K], A] {
	m, set := c.begin("Aggregate", opts)
	parents := c.parents(m, &set)
	t := windowedFlow[K, A](m, c.ks, set, w)
	empty := emptiness[A](m, set.Empty)
	nodes := c.nodes(m, t, &set, parents, func(i int, n *plan.Node) body {
		n.Grace, n.Idle = &w.grace, w.idle
		return with(t, c.members[i].fold.(adding[K, A]), empty)
	})
	t.n = merged[Windowed[K], A](m, &set, nodes)
	return KTable[Windowed[K], A]{t: t}
}
