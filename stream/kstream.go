package stream

import (
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
)

// KStream is a stream of independent records. It is a small immutable value: copy it freely.
//
// Functions get the key first. Kafka's null is Go's nil: where V has a nil (pointer, slice, map, interface) functions
// see it, as in Java. Where it has none (string, int64, a struct) they are called for values only, and a record without
// one goes past Filter, Peek, MapValues, Merge and To as a tombstone; it is dropped, and counted, where a new key,
// several records or an effect would have to be made of it. A record without key has the zero K.
type KStream[K, V any] struct {
	_ [0]func(K, V) // forbids conversions between streams of different types
	s *flow
}

// Filter keeps the records that satisfy keep.
func (s KStream[K, V]) Filter(keep func(K, V) bool, opts ...Option) KStream[K, V] {
	return same[K, V](s.s, s.s.then("Filter", "KSTREAM-FILTER-", opts, filterBody(keep, true)))
}

// FilterNot drops the records that satisfy drop.
func (s KStream[K, V]) FilterNot(drop func(K, V) bool, opts ...Option) KStream[K, V] {
	return same[K, V](s.s, s.s.then("FilterNot", "KSTREAM-FILTER-", opts, filterBody(drop, false)))
}

// Map replaces key and value; a later keyed operator repartitions.
func (s KStream[K, V]) Map[K2, V2 any](f func(K, V) (K2, V2), opts ...Option) KStream[K2, V2] {
	n := s.s.then("Map", "KSTREAM-MAP-", opts, mapBody(f))
	n.Rekeys = true
	return KStream[K2, V2]{s: &flow{b: s.s.b, n: n, rekeyed: true}}
}

// MapValues replaces the value and keeps the key.
func (s KStream[K, V]) MapValues[V2 any](f func(K, V) V2, opts ...Option) KStream[K, V2] {
	return valued[K, V2](s.s, s.s.then("MapValues", "KSTREAM-MAPVALUES-", opts, mapValuesBody(f)))
}

// FlatMap makes any number of records of each: it calls emit for every one, before it returns.
func (s KStream[K, V]) FlatMap[K2, V2 any](f func(k K, v V, emit func(K2, V2)), opts ...Option) KStream[K2, V2] {
	n := s.s.then("FlatMap", "KSTREAM-FLATMAP-", opts, flatMapBody(f))
	n.Rekeys = true
	return KStream[K2, V2]{s: &flow{b: s.s.b, n: n, rekeyed: true}}
}

// FlatMapValues makes any number of values of each.
func (s KStream[K, V]) FlatMapValues[V2 any](f func(k K, v V, emit func(V2)), opts ...Option) KStream[K, V2] {
	return valued[K, V2](s.s, s.s.then("FlatMapValues", "KSTREAM-FLATMAPVALUES-", opts, flatMapValuesBody(f)))
}

// SelectKey replaces the key.
func (s KStream[K, V]) SelectKey[K2 any](key func(K, V) K2, opts ...Option) KStream[K2, V] {
	n := s.s.then("SelectKey", "KSTREAM-KEY-SELECT-", opts, selectKeyBody(key))
	n.Rekeys = true
	return KStream[K2, V]{s: &flow{b: s.s.b, n: n, vs: s.s.vs, rekeyed: true}}
}

// Peek calls f and passes the record on.
func (s KStream[K, V]) Peek(f func(K, V), opts ...Option) KStream[K, V] {
	return same[K, V](s.s, s.s.then("Peek", "KSTREAM-PEEK-", opts, peekBody(f)))
}

// ForEach ends the stream in f.
func (s KStream[K, V]) ForEach(f func(K, V), opts ...Option) {
	s.s.then("ForEach", "KSTREAM-FOREACH-", opts, forEachBody(f))
}

// Merge reads both streams as one, in no promised order.
func (s KStream[K, V]) Merge(other KStream[K, V], opts ...Option) KStream[K, V] {
	var set opt.Settings
	for _, o := range opts {
		o.PlainOption(opt.Seal{}, &set)
	}
	m := s.s.b.at("Merge")
	if other.s.b != s.s.b {
		m.faultf("", "the other stream belongs to another Builder")
		return s
	}
	n := m.node(plan.Processor, s.s.b.graph.Named(set.Name, "KSTREAM-MERGE-"), s.s.n, other.s.n)
	n.Merges = true
	n.Body = passBody[K, V]()
	return KStream[K, V]{s: &flow{b: s.s.b, n: n, rekeyed: s.s.rekeyed || other.s.rekeyed}}
}

// GroupByKey groups by the key there is; it repartitions only if the key was changed before.
func (s KStream[K, V]) GroupByKey(opts ...Grouped) KGroupedStream[K, V] {
	set := grouped(opts)
	return KGroupedStream[K, V]{g: &grouping{
		b: s.s.b, n: s.s.n, ks: first(set.KeySerde, s.s.ks), vs: first(set.ValueSerde, s.s.vs), rekeyed: s.s.rekeyed,
		name: set.Name,
	}}
}

// GroupBy groups by a new key and repartitions.
func (s KStream[K, V]) GroupBy[K2 any](key func(K, V) K2, opts ...Grouped) KGroupedStream[K2, V] {
	set := grouped(opts)
	var named []Option
	if set.Name != "" {
		named = []Option{Named(set.Name)}
	}
	n := s.s.then("GroupBy", "KSTREAM-KEY-SELECT-", named, selectKeyBody(key))
	n.Rekeys = true
	return KGroupedStream[K2, V]{g: &grouping{
		b: s.s.b, n: n, ks: set.KeySerde, vs: first(set.ValueSerde, s.s.vs), rekeyed: true,
		name: set.Name,
	}}
}

func grouped(opts []Grouped) opt.Settings {
	var set opt.Settings
	for _, o := range opts {
		o.GroupedOption(opt.Seal{}, &set)
	}
	return set
}

// first is the first serde that was named.
func first(a, b any) any {
	if a != nil {
		return a
	}
	return b
}

// same is a stream of the same types behind n.
func same[K, V any](f *flow, n *plan.Node) KStream[K, V] {
	return KStream[K, V]{s: &flow{b: f.b, n: n, ks: f.ks, vs: f.vs, rekeyed: f.rekeyed}}
}

// valued is a stream of another value behind n.
func valued[K, V any](f *flow, n *plan.Node) KStream[K, V] {
	n.Revalues = true
	return KStream[K, V]{s: &flow{b: f.b, n: n, ks: f.ks, rekeyed: f.rekeyed}}
}
