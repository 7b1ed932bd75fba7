package stream

import (
	"regexp"
	"strings"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// Repartition sends the stream through a topic of its own, <application>-<name>-repartition: behind it all records of a key
// meet in one task, and Partitions sets how many tasks there are. Records without key are dropped there, unless a left or
// outer join of streams follows.
func (s KStream[K, V]) Repartition(opts ...Repartitioned) KStream[K, V] {
	var set opt.Settings
	for _, o := range opts {
		o.RepartitionedOption(opt.Seal{}, &set)
	}
	m := s.s.b.at("Repartition")
	if set.Name == "" {
		set.Name = s.s.b.graph.Name("KSTREAM-REPARTITION-") // a name burns no number, unlike elsewhere
	}
	if set.Partitions < 0 {
		m.faultf(set.Name, "Partitions is %d: it must be positive", set.Partitions)
	}
	ks, vs := first(set.KeySerde, s.s.ks), first(set.ValueSerde, s.s.vs)
	n := reroute[K, V](m, s.s.n, hop{
		prefix: set.Name, ks: ks, vs: vs, places: placesOf[K, V](m, set.Name, &set), partitions: set.Partitions, asked: true,
	})
	return KStream[K, V]{s: &flow{b: s.s.b, n: n, ks: ks, vs: vs}}
}

// hop is a way through a repartition topic.
type hop struct {
	prefix     string // of the topic's name
	ks, vs     any
	places     any // a placing[K, V], or nil
	partitions int
	asked      bool // by the user, who wants this very topic
}

// generated matches names of the counter: only then the nodes around a repartition topic have names of their own.
var generated = regexp.MustCompile(`^KSTREAM.*-[0-9]{10}$`)

// crossing is the names of the nodes around a repartition topic.
type crossing struct{ topic, sink, filter, source string }

// cross takes the names. Three numbers of the counter are burned whether they are used or not.
func (b *build) cross(prefix string) crossing {
	c := crossing{
		topic: strings.TrimSuffix(prefix, "-repartition") + "-repartition",
		sink:  b.graph.Name("KSTREAM-SINK-"), filter: b.graph.Name("KSTREAM-FILTER-"), source: b.graph.Name("KSTREAM-SOURCE-"),
	}
	if !generated.MatchString(prefix) {
		c.sink, c.filter, c.source = c.topic+"-sink", c.topic+"-filter", c.topic+"-source"
	}
	return c
}

// reroute leads what comes out of a node through a topic, and returns the source behind it.
func reroute[K, V any](m maker, from *plan.Node, h hop) *plan.Node {
	return detour[K, V](m, from, h, m.b.cross(h.prefix))
}

func detour[K, V any](m maker, from *plan.Node, h hop, c crossing) *plan.Node {
	m.b.graph.AddRepartition(&plan.Repartition{
		Topic: c.topic, Partitions: int32(h.partitions), Asked: h.asked, Key: h.ks, Value: h.vs, Site: m.site,
	})
	if err := legalTopic(c.topic); err != nil {
		m.faultf(c.filter, "%w", err)
	}
	f := m.node(plan.Processor, c.filter, from)
	f.Body = keyedBody[K, V](c.topic)
	out := m.node(plan.Sink, c.sink, f)
	out.Topics, out.Internal = []string{c.topic}, true
	places, _ := h.places.(placing[K, V])
	out.Body = hopSinkBody(places)
	in := m.node(plan.Source, c.source)
	in.Topics, in.Internal, in.Types = []string{c.topic}, true, types[K, V]()
	in.Body = hopSourceBody[K, V]()
	return in
}

// rerouteForJoin is the stream as a join reads it: itself, or the far side of a repartition topic if its key was changed.
// Joins of one stream share the topic while it has no name of its own.
func rerouteForJoin[K, V any](m maker, f *flow, name string, ks, vs any) *flow {
	if !f.rekeyed {
		return f
	}
	if name == "" {
		name = f.n.Name
	}
	c := m.b.cross(name)
	if f.hop == nil || name != f.n.Name {
		f.hop = detour[K, V](m, f.n, hop{prefix: name, ks: first(ks, f.ks), vs: first(vs, f.vs)}, c)
	}
	return &flow{b: f.b, n: f.hop, ks: first(ks, f.ks), vs: first(vs, f.vs)}
}

// hopSinkBody writes a repartition topic. Its serdes stand in the plan, which may have merged several topics.
func hopSinkBody[K, V any](places placing[K, V]) body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		r := rs.plan.Repartition(n.Topics[0])
		return sinkBody(r.Key, r.Value, fixed[K, V](rs.plan.Topic(r.Topic, true)), places)(rs, n)
	}
}

// hopSourceBody reads it.
func hopSourceBody[K, V any]() body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		r := rs.plan.Repartition(n.Topics[0])
		return sourceBody[K, V](r.Key, r.Value, nil)(rs, n)
	}
}

// keyedBody stands in front of a repartition topic and drops what has no key: no aggregate or inner join behind it could
// use it. Where a left or outer join follows, the record passes.
func keyedBody[K, V any](topic string) body {
	return func(rs *resolver, _ *plan.Node) (task.Body, error) {
		keep := rs.plan.Repartition(topic).KeepNulls
		return func(a *task.Assembly, n *plan.Node) any {
			next := children[K, V](a, n)
			if keep {
				return next
			}
			return func(r *task.Rec, k K, v V) error {
				if r.Keyless {
					return nil
				}
				return next(r, k, v)
			}
		}, nil
	}
}
