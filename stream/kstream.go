package stream

import (
	"reflect"
	"strconv"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/state"
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
	return KStream[K2, V2]{s: &flow{b: s.s.b, n: n, rekeyed: true}}
}

// MapValues replaces the value and keeps the key.
func (s KStream[K, V]) MapValues[V2 any](f func(K, V) V2, opts ...Option) KStream[K, V2] {
	return valued[K, V2](s.s, s.s.then("MapValues", "KSTREAM-MAPVALUES-", opts, mapValuesBody(f)))
}

// FlatMap makes any number of records of each: it calls emit for every one, before it returns.
func (s KStream[K, V]) FlatMap[K2, V2 any](f func(k K, v V, emit func(K2, V2)), opts ...Option) KStream[K2, V2] {
	n := s.s.then("FlatMap", "KSTREAM-FLATMAP-", opts, flatMapBody(f))
	return KStream[K2, V2]{s: &flow{b: s.s.b, n: n, rekeyed: true}}
}

// FlatMapValues makes any number of values of each.
func (s KStream[K, V]) FlatMapValues[V2 any](f func(k K, v V, emit func(V2)), opts ...Option) KStream[K, V2] {
	return valued[K, V2](s.s, s.s.then("FlatMapValues", "KSTREAM-FLATMAPVALUES-", opts, flatMapValuesBody(f)))
}

// SelectKey replaces the key.
func (s KStream[K, V]) SelectKey[K2 any](key func(K, V) K2, opts ...Option) KStream[K2, V] {
	n := s.s.then("SelectKey", "KSTREAM-KEY-SELECT-", opts, selectKeyBody(key))
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
	n.Body = passBody[K, V]()
	return KStream[K, V]{s: &flow{b: s.s.b, n: n, rekeyed: s.s.rekeyed || other.s.rekeyed}}
}

// Split starts a switch over the records: each goes to the first branch that takes it.
func (s KStream[K, V]) Split(opts ...Option) BranchedKStream[K, V] {
	branches := &[]branch[K, V]{}
	n := s.s.then("Split", "KSTREAM-BRANCH-", opts, splitBody(branches))
	return BranchedKStream[K, V]{s: &flow{b: s.s.b, n: n, ks: s.s.ks, vs: s.s.vs, rekeyed: s.s.rekeyed}, branches: branches}
}

// To ends the stream in a topic.
func (s KStream[K, V]) To(topic Topic[K, V], opts ...Produced) {
	var set opt.Settings
	for _, o := range opts {
		o.ProducedOption(opt.Seal{}, &set)
	}
	m := s.s.b.at("To")
	m.topic(string(topic), types[K, V]())
	n := m.node(plan.Sink, s.s.b.graph.Named(set.Name, "KSTREAM-SINK-"), s.s.n)
	n.Topics = []string{string(topic)}
	choose, ok := set.Partition.(func(string, K, V, int) int)
	if set.Partition != nil && !ok {
		m.faultf(n.Name, "Partition is %T, which does not take %s", set.Partition, types[K, V]())
	}
	n.Body = sinkBody(first(set.KeySerde, s.s.ks), first(set.ValueSerde, s.s.vs), choose)
}

// Process runs a processor of one's own; supplier is called once per task. What follows repartitions before a keyed
// operator, because a processor may change the key.
func (s KStream[K, V]) Process[K2, V2 any, P Processor[K, V, K2, V2]](supplier func() P, opts ...Processed) KStream[K2, V2] {
	var set opt.Settings
	for _, o := range opts {
		o.ProcessedOption(opt.Seal{}, &set)
	}
	m := s.s.b.at("Process")
	name := set.Name
	if name == "" {
		name = s.s.b.graph.Name("KSTREAM-PROCESSOR-") // a named one burns no number, unlike all others
	}
	n := m.node(plan.Processor, name, s.s.n)
	for _, u := range set.Uses {
		d := u.(state.Any).Declaration(opt.Seal{})
		s.s.b.keep(m, d)
		n.Stores = append(n.Stores, d.Name)
	}
	checkLife[K2, V2](m, name, reflect.TypeFor[P]())
	n.Body = processBody[K, V, K2, V2](supplier)
	return KStream[K2, V2]{s: &flow{b: s.s.b, n: n, rekeyed: true}}
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
	return KStream[K, V]{s: &flow{b: f.b, n: n, ks: f.ks, rekeyed: f.rekeyed}}
}

// BranchedKStream is a switch in the making. Branches are asked in the order they were made.
type BranchedKStream[K, V any] struct {
	s        *flow
	branches *[]branch[K, V]
}

// Branch takes the records that satisfy match and no earlier branch took.
func (b BranchedKStream[K, V]) Branch(match func(K, V) bool, opts ...Option) KStream[K, V] {
	return b.add("Branch", len(b.ways())+1, match, opts)
}

// Default takes the rest, tombstones too; without it the rest is dropped.
func (b BranchedKStream[K, V]) Default(opts ...Option) KStream[K, V] {
	for _, w := range *b.branches {
		if w.match == nil {
			b.s.b.at("Default").faultf(w.node.Name, "the switch has a Default already")
		}
	}
	return b.add("Default", 0, nil, opts)
}

// ways are the branches but for the default one, which Java does not count.
func (b BranchedKStream[K, V]) ways() []branch[K, V] {
	var out []branch[K, V]
	for _, w := range *b.branches {
		if w.match != nil {
			out = append(out, w)
		}
	}
	return out
}

// add makes a branch. Its name is the switch's and its own behind it, or its number; either way a number of the counter is
// burned, as in Java.
func (b BranchedKStream[K, V]) add(op string, number int, match func(K, V) bool, opts []Option) KStream[K, V] {
	var set opt.Settings
	for _, o := range opts {
		o.PlainOption(opt.Seal{}, &set)
	}
	b.s.b.graph.Name("KSTREAM-BRANCH-")
	name := b.s.n.Name + set.Name
	if set.Name == "" {
		name = b.s.n.Name + strconv.Itoa(number)
	}
	n := b.s.b.at(op).node(plan.Processor, name, b.s.n)
	n.Body = passBody[K, V]()
	*b.branches = append(*b.branches, branch[K, V]{match, n})
	return same[K, V](b.s, n)
}
