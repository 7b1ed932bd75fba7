package stream

import (
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// KTable is a changing map from K to V: each record replaces or deletes the value of its key.
// Null deletes, whatever V is: functions are called for present values only.
type KTable[K, V any] struct {
	_ [0]func(K, V)
	t *tableFlow
}

// tableFlow is a table without its types.
type tableFlow struct {
	flow
	decl    *store.Decl              // nil: it keeps no store
	sendOld bool                     // changes carry the old value; decided before any task is made
	old     func(force bool) bool    // asks the table to send old values, at the price of a store if force; says whether it will
	shelf   func(*task.Assembly) any // opens its store; nil is by the store's kind
	view    func() (any, []string)   // asks the table to be read from below; a viewing[K, V] and its stores: see viewOf
	above   *tableFlow               // whose versions it has, if it keeps no store: see history
}

// keep gives the table a store.
func (t *tableFlow) keep(m maker, d *store.Decl) {
	t.decl = d
	t.b.keepCached(m, d)
	m.living(d)
}

func (t *tableFlow) stores() []string {
	if t.decl == nil {
		return nil
	}
	return []string{t.decl.Name}
}

// Filter keeps the rows that satisfy keep; a row that no longer does is deleted downstream.
func (t KTable[K, V]) Filter(keep func(K, V) bool, opts ...Materialized) KTable[K, V] {
	return filterTable(t, "Filter", keep, true, materialized(opts))
}

// FilterNot drops the rows that satisfy drop.
func (t KTable[K, V]) FilterNot(drop func(K, V) bool, opts ...Materialized) KTable[K, V] {
	return filterTable(t, "FilterNot", drop, false, materialized(opts))
}

func filterTable[K, V any](t KTable[K, V], op string, keep func(K, V) bool, want bool, set opt.Settings) KTable[K, V] {
	out, m := derived[K, V](t.t, op, "KTABLE-FILTER-", set, t.t.vs)
	if gone := emptiness[V](m, set.Empty); gone != nil {
		asked := keep
		keep = func(k K, v V) bool { return (asked(k, v) == want && !gone(v)) == want }
	}
	out.n.Body = tableFilterBody(out, t.t, keep, want)
	// A parent that knows old values spares tombstones for rows that were never there. It is asked without force: a filter
	// is not worth a store.
	out.sendOld = t.t.old(false)
	out.old = func(force bool) bool {
		if out.decl != nil || t.t.old(force) {
			out.sendOld = true
		}
		return out.sendOld
	}
	from := t.t
	out.view = func() (any, []string) {
		if out.decl != nil {
			return shelfView[K, V](out)
		}
		return mappedView(from, func(k K, v V) (V, bool) { return v, keep(k, v) == want })
	}
	return KTable[K, V]{t: out}
}

// MapValues replaces the values.
func (t KTable[K, V]) MapValues[V2 any](f func(K, V) V2, opts ...Materialized) KTable[K, V2] {
	set := materialized(opts)
	out, m := derived[K, V2](t.t, "MapValues", "KTABLE-MAPVALUES-", set, nil)
	mapped := present(f, noneOf[V2](m, set.Empty))
	out.n.Body = tableMapBody(out, mapped)
	out.old = func(force bool) bool {
		if out.decl != nil || t.t.old(force) {
			out.sendOld = true
		}
		return out.sendOld
	}
	from := t.t
	out.view = func() (any, []string) {
		if out.decl != nil {
			return shelfView[K, V2](out)
		}
		return mappedView(from, mapped)
	}
	return KTable[K, V2]{t: out}
}

// present makes f say whether what it returns is a value.
func present[K, V, V2 any](f func(K, V) V2, none func(V2) bool) func(K, V) (V2, bool) {
	return func(k K, v V) (out V2, ok bool) {
		made := f(k, v)
		if none != nil && none(made) {
			return out, false
		}
		return made, true
	}
}

// derived adds the node of a table operator, and its store if one is named.
func derived[K, V any](from *tableFlow, op, prefix string, set opt.Settings, vs any) (*tableFlow, maker) {
	m := from.b.at(op)
	named := set.StoreName != ""
	if !named {
		m.livesLong("", &set, "the table keeps no store: name one by As or Into")
	}
	if !named && set.Kept {
		from.b.graph.StoreName(prefix) // as Java: a Materialized without a name burns a number and makes no store
	}
	out := &tableFlow{b: from.b, ks: first(set.KeySerde, from.ks), vs: first(set.ValueSerde, vs), above: from}
	name := from.b.graph.Named(set.Name, prefix)
	if named {
		out.keep(m, declared[K, V](m, &set, from.ks, vs))
	}
	out.n = m.node(plan.Processor, name, from.n)
	out.n.Stores = out.stores()
	return out, m
}

// ToStream is the stream of changes; deletes are tombstones.
func (t KTable[K, V]) ToStream(opts ...Option) KStream[K, V] {
	n := t.t.then("ToStream", "KTABLE-TOSTREAM-", opts, toStreamBody[K, V]())
	return KStream[K, V]{s: &flow{b: t.t.b, n: n, ks: t.t.ks, vs: t.t.vs}}
}

// StoreName is the name a query may use, or "" if the table keeps no store.
func (t KTable[K, V]) StoreName() string {
	if t.t.decl == nil {
		return ""
	}
	return t.t.decl.Name
}
