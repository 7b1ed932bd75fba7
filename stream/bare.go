package stream

import (
	"reflect"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/state"
)

// NewTopology returns an empty Topology, to be filled with sources, processors and sinks: Kafka Streams' Processor API.
// Its names are the ones given; nothing is generated. It serves one App or one test driver. Not for concurrent use while it
// grows.
func NewTopology() *Topology { return &Topology{b: newBuild()} }

func newBuild() *build {
	return &build{
		graph: plan.NewGraph(), topics: map[string]reading{}, opened: map[string]*store.Decl{}, closing: map[string]bool{}, globals: &task.Globals{},
	}
}

// Node is a source or processor that forwards records of K and V: what others name as their parent. It is a small immutable
// value.
type Node[K, V any] struct {
	_ [0]func(K, V)
	f *flow
}

// Stream goes on with the DSL. Behind a processor the key counts as changed.
func (n Node[K, V]) Stream() KStream[K, V] { return KStream[K, V]{s: n.f} }

// AddSource reads topics.
func (t *Topology) AddSource[K, V any](name string, topics []Topic[K, V], opts ...Consumed) Node[K, V] {
	m := t.growing("AddSource")
	var s opt.Settings
	for _, o := range opts {
		o.ConsumedOption(opt.Seal{}, &s)
	}
	m.named(name, s.Name)
	n := m.source(name, plain(topics), types[K, V](), s.Reset)
	n.Alone = true
	if len(topics) == 0 {
		m.faultf(name, "there is no topic to read")
	}
	n.Body = sourceBody(s.KeySerde, s.ValueSerde, timesOf[K, V](m, name, &s))
	return Node[K, V]{f: &flow{b: m.b, n: n, ks: s.KeySerde, vs: s.ValueSerde}}
}

// AddProcessor puts a processor behind its parents; supplier is called once per task.
func (t *Topology) AddProcessor[K, V, K2, V2 any, P Processor[K, V, K2, V2]](name string, supplier func() P, parents []Node[K, V], opts ...Processed) Node[K2, V2] {
	m := t.growing("AddProcessor")
	var s opt.Settings
	for _, o := range opts {
		o.ProcessedOption(opt.Seal{}, &s)
	}
	m.named(name, s.Name)
	n := m.node(plan.Processor, name, parentsOf(m, name, parents)...)
	n.Revalues = true // see KStream.Process
	m.uses(n, &s)
	checkLife[*ProcessorContext[K2, V2]](m, name, reflect.TypeFor[P]())
	n.Body = processBody[K, V, K2, V2](supplier)
	return Node[K2, V2]{f: &flow{b: m.b, n: n, rekeyed: true}}
}

// AddSink writes a topic.
func (t *Topology) AddSink[K, V any](name string, topic Topic[K, V], parents []Node[K, V], opts ...Produced) {
	m := t.growing("AddSink")
	var s opt.Settings
	for _, o := range opts {
		o.ProducedOption(opt.Seal{}, &s)
	}
	m.named(name, s.Name)
	m.topic(string(topic), types[K, V]())
	n := m.node(plan.Sink, name, parentsOf(m, name, parents)...)
	n.Topics = []string{string(topic)}
	n.Body = sinkBody(s.KeySerde, s.ValueSerde, fixed[K, V](string(topic)), placesOf[K, V](m, name, &s))
}

// AddStore adds stores for processors that name them by Uses; a store that none names is a fault of the topology.
func (t *Topology) AddStore(stores ...state.Any) { t.growing("AddStore").add(stores) }

// AddStore adds stores for processors that name them by Uses, which alone is enough: a store that none names is a fault of
// the topology.
func (b *Builder) AddStore(stores ...state.Any) { b.b.at("AddStore").add(stores) }

func (m maker) add(stores []state.Any) {
	for _, s := range stores {
		m.b.keep(m, s.Declaration(opt.Seal{}))
	}
}

// growing is the way to add to a topology, unless that is the result of a Build.
func (t *Topology) growing(op string) maker {
	m := t.b.at(op)
	if t.plan != nil {
		m.faultf("", "this topology was built before: begin with NewTopology")
	}
	return m
}

// named checks the name of a node, which comes as an argument here.
func (m maker) named(name, option string) {
	switch {
	case name == "":
		m.faultf("", "the name is missing")
	case option != "" && option != name:
		m.faultf(name, "Named says %q: a node of the Processor API has one name, its first argument", option)
	}
}

func parentsOf[K, V any](m maker, name string, parents []Node[K, V]) []*plan.Node {
	out := make([]*plan.Node, 0, len(parents))
	for i, p := range parents {
		switch {
		case p.f == nil:
			m.faultf(name, "parent %d is no node: use what AddSource or AddProcessor returned", i)
		case p.f.b != m.b:
			m.faultf(name, "parent %s belongs to another Topology", p.f.n.Name)
		default:
			out = append(out, p.f.n)
		}
	}
	if len(parents) == 0 {
		m.faultf(name, "there is no parent: nothing would ever come here")
	}
	return out
}

// planned is the plan as it stands; that of a topology in the making has no application.
func (t *Topology) planned() *plan.Plan {
	if t.plan != nil {
		return t.plan
	}
	p, _ := t.b.graph.Finish(plan.Rules{})
	return p
}
