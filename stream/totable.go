package stream

import (
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
)

// ToTable keeps the latest value per key: a record without a value deletes its key, one without a key is dropped. It
// repartitions if the key was changed before. The table keeps a store if As or Into names one, or where an operator needs
// it.
func (s KStream[K, V]) ToTable(opts ...Materialized) KTable[K, V] {
	set := materialized(opts)
	m := s.s.b.at("ToTable")
	g := s.s.b.graph
	name := g.Named(set.Name, "KSTREAM-TOTABLE-")
	named := set.StoreName != ""
	if !named {
		set.StoreName = g.StoreName("KSTREAM-TOTABLE-")
	}
	ks, vs := first(set.KeySerde, s.s.ks), first(set.ValueSerde, s.s.vs)
	from := s.s.n
	if s.s.rekeyed {
		from = reroute[K, V](m, from, hop{prefix: name, ks: ks, vs: vs})
	}
	t := &tableFlow{b: s.s.b, ks: ks, vs: vs}
	t.n = m.node(plan.Processor, name, from)
	t.n.Body = tableSourceBody[K, V](t, noneOf[V](m, set.Empty))
	sourced[K, V](m, t, &set, named)
	return KTable[K, V]{t: t}
}

// sourced makes a table of what its node takes in. It keeps a store at once if the user named one, and otherwise from when a
// node below reads it or asks it for old values.
func sourced[K, V any](m maker, t *tableFlow, set *opt.Settings, named bool) {
	own := *set
	materialize := func() {
		if t.decl == nil {
			t.keep(m, declared[K, V](m, &own, t.ks, t.vs))
			t.n.Stores = t.stores()
		}
	}
	if named || set.TTL != 0 {
		materialize()
	}
	t.old = func(force bool) bool {
		if force {
			materialize()
		}
		t.sendOld = t.decl != nil
		return t.sendOld
	}
	t.view = func() (any, []string) {
		materialize()
		return shelfView[K, V](t)
	}
}
