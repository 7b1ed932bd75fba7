package stream

import (
	"reflect"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/state"
)

// GlobalKTable is a table that every instance holds in full. It is loaded before any task starts and follows its topic from
// then on, without regard to the time of other records. It is a small immutable value, safe for concurrent use.
type GlobalKTable[K, V any] struct {
	_    [0]func(K, V)
	b    *build
	name string
}

// GlobalTable reads the whole topic into every instance: a record without a value deletes its key, one without a key is
// dropped. The topic is all there is: the store has no changelog.
func (b *Builder) GlobalTable[K, V any](topic Topic[K, V], opts ...TableSource) GlobalKTable[K, V] {
	var s opt.Settings
	for _, o := range opts {
		o.TableSourceOption(opt.Seal{}, &s)
	}
	m := b.b.at("GlobalTable")
	g := b.b.graph
	if s.StoreName == "" {
		s.StoreName = g.StoreName(string(topic) + "-")
	}
	source, table := g.Name("KSTREAM-SOURCE-"), g.Name("KTABLE-SOURCE-")
	if s.Name != "" {
		source, table = s.Name+"-source", s.Name
	}
	t := &tableFlow{b: b.b}
	t.decl = declared[K, V](m, &s, s.KeySerde, s.ValueSerde)
	n := m.global(source, table, string(topic), types[K, V](), t.decl)
	n.Parents[0].Body = sourceBody(s.KeySerde, s.ValueSerde, timesOf[K, V](m, source, &s))
	n.Body = tableSourceBody[K, V](t, noneOf[V](m, s.Empty))
	return GlobalKTable[K, V]{b: b.b, name: t.decl.Name}
}

// AddGlobalStore keeps a store up to date in every instance by a processor of its own, which Uses the store without saying
// so; so does every other processor, which can only read it. The store, a state.KeyValue or state.TimestampedKeyValue, has
// no changelog: when an instance starts, the processor sees the topic from its beginning.
func (b *Builder) AddGlobalStore[K, V any, P Processor[K, V, struct{}, struct{}]](store state.Any, topic Topic[K, V], supplier func() P, opts ...Consumed) {
	var s opt.Settings
	for _, o := range opts {
		o.ConsumedOption(opt.Seal{}, &s)
	}
	m := b.b.at("AddGlobalStore")
	source, name := b.b.graph.Name("KSTREAM-SOURCE-"), b.b.graph.Name("KTABLE-SOURCE-")
	if s.Name != "" {
		source, name = s.Name+"-source", s.Name
	}
	n := m.global(source, name, string(topic), types[K, V](), store.Declaration(opt.Seal{}))
	n.Parents[0].Body = sourceBody(s.KeySerde, s.ValueSerde, timesOf[K, V](m, source, &s))
	checkLife[*ProcessorContext[struct{}, struct{}]](m, name, reflect.TypeFor[P]())
	n.Body = processBody[K, V, struct{}, struct{}](supplier)
}

// global appends the two nodes that serve a global store, and the store.
func (m maker) global(source, name, topic, types string, d *store.Decl) *plan.Node {
	read := m.source(source, []string{topic}, types, nil)
	n := m.node(plan.Processor, name, read)
	read.Global, read.Table, n.Global = true, true, true
	n.Stores = []string{d.Name}
	if d.Kind != store.KeyValue && d.Kind != store.Timestamped {
		m.faultf(name, "the global store %q is of another kind than state.KeyValue or state.TimestampedKeyValue", d.Name)
	}
	m.b.keep(m, d)
	if s, ok := m.b.graph.Store(d.Name); ok {
		s.Global, s.Logged, s.Source = true, false, topic
	}
	return n
}

// Get looks a row up from within any function of the same topology. It waits for nobody, and may be called several times,
// each answer deciding the next question. Should the store fail, the task stops with a TaskError.
func (t GlobalKTable[K, V]) Get(k K) (V, bool) {
	v, ok, err := t.Store().Get(k)
	if err != nil {
		panic(err) // it unwinds to where the task settles failures
	}
	return v, ok
}

// Store is the whole table, to be read from within a processor or function.
func (t GlobalKTable[K, V]) Store() state.ReadOnlyTimestampedKeyValueStore[K, V] {
	s, err := t.b.globals.Read(t.name)
	if err != nil {
		panic(err) // as in Get
	}
	return s.(state.ReadOnlyTimestampedKeyValueStore[K, V])
}

// JoinGlobal looks another key up in a global table; key returns false if there is none. What finds nothing is dropped. The
// result has the record's key and time.
func (s KStream[K, V]) JoinGlobal[GK, GV, R any](t GlobalKTable[GK, GV], key func(K, V) (GK, bool), join func(k K, v V, o GV) R, opts ...Option) KStream[K, R] {
	n := s.s.then("JoinGlobal", "KSTREAM-LEFTJOIN-", opts, globalJoinBody(t, key, func(k K, v V, o GV, ok bool) (r R, _ bool) {
		if !ok {
			return r, false
		}
		return join(k, v, o), true
	}, false))
	return joinedGlobal[K, V, R](s, t.b, n)
}

// LeftJoinGlobal looks another key up in a global table. Where there is no key or no row ok is false and o zero. The result
// has the record's key and time.
func (s KStream[K, V]) LeftJoinGlobal[GK, GV, R any](t GlobalKTable[GK, GV], key func(K, V) (GK, bool), join func(k K, v V, o GV, ok bool) R, opts ...Option) KStream[K, R] {
	n := s.s.then("LeftJoinGlobal", "KSTREAM-LEFTJOIN-", opts, globalJoinBody(t, key, func(k K, v V, o GV, ok bool) (R, bool) {
		return join(k, v, o, ok), true
	}, true))
	n.Relaxed = true
	return joinedGlobal[K, V, R](s, t.b, n)
}

func joinedGlobal[K, V, R any](s KStream[K, V], other *build, n *plan.Node) KStream[K, R] {
	if other != s.s.b {
		s.s.b.at(n.Op).faultf(n.Name, "the global table belongs to another Builder")
	}
	return valued[K, R](s.s, n)
}

func globalJoinBody[K, V, GK, GV, R any](t GlobalKTable[GK, GV], key func(K, V) (GK, bool), join func(K, V, GV, bool) (R, bool), left bool) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := children[K, R](a, n), n.Index
		nilValue, nilKey := hasNil[V](), hasNil[GK]()
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if r.Tombstone || nilValue && isNil(v) {
				r.Drop("null")
				return nil
			}
			gk, ok := key(k, v)
			if ok = ok && !(nilKey && isNil(gk)); !ok && !left {
				r.Drop("null")
				return nil
			}
			var row GV
			if ok {
				var err error
				if row, ok, err = t.Store().Get(gk); err != nil {
					return faulty(task.Processing, n, err)
				}
			}
			out, ok := join(k, v, row, ok)
			if !ok {
				return nil
			}
			return next(r, k, out)
		}
	})
}
