package stream

import (
	"reflect"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
)

// JoinForeign joins by a foreign key taken from the row; ref returns false if the row refers to nothing. The result has the
// left table's keys, and a row where the row that is referred to is there. Either side may change; many rows may refer to
// one (KIP-213).
func (t KTable[K, V]) JoinForeign[FK, FV, R any](other KTable[FK, FV], ref func(K, V) (FK, bool), join func(k K, v V, o FV) R, opts ...TableJoined) KTable[K, R] {
	return joinForeign(t, other, "JoinForeign", reference[K, V, FK, FV, R]{
		of:   ref,
		join: func(k K, v V, o FV, _ bool) R { return join(k, v, o) },
	}, opts)
}

// LeftJoinForeign keeps the rows that refer to nothing, or to a row that is not there: join is then called with ok false.
func (t KTable[K, V]) LeftJoinForeign[FK, FV, R any](other KTable[FK, FV], ref func(K, V) (FK, bool), join func(k K, v V, o FV, ok bool) R, opts ...TableJoined) KTable[K, R] {
	return joinForeign(t, other, "LeftJoinForeign", reference[K, V, FK, FV, R]{of: ref, join: join, left: true}, opts)
}

// ForeignPartition tells a foreign-key join how both tables' topics are partitioned, if not by default. A function that is
// nil leaves its side at the default.
func ForeignPartition[K, FK any](primary func(topic string, k K, n int) int, foreign func(topic string, k FK, n int) int) TableJoined {
	return option(func(s *opt.Settings) { s.Primary, s.Foreign = primary, foreign })
}

// reference is what the user says of a foreign-key join.
type reference[K, V, FK, FV, R any] struct {
	of    func(K, V) (FK, bool)
	join  func(K, V, FV, bool) R
	left  bool
	empty func(R) bool // DeleteWhen
}

// meeting is the parts of a foreign-key join by their names, in the order in which Kafka Streams takes them from the
// counter.
//
// The left table's task sends each change of a reference, with a hash of the row, through the registration topic to the
// task of the right row. There it is kept as a subscription and answered through the response topic, at once and whenever
// the right row changes. Back at the left, an answer to what the row no longer is carries another hash and is dropped.
type meeting struct {
	registration, send, sendSink, sendSource   string
	store, receive, joinForeign, foreignJoin   string
	response, answerSink, answerSource, answer string
	result                                     string
}

// foreignPrefix is what the generated names of a foreign-key join begin with.
const foreignPrefix = "KTABLE-FK-JOIN-"

func (b *build) meet(own string) (n meeting) {
	for _, part := range []struct {
		name           *string
		prefix, suffix string
	}{
		{&n.registration, foreignPrefix + "SUBSCRIPTION-REGISTRATION-", "-subscription-registration"},
		{&n.send, foreignPrefix + "SUBSCRIPTION-REGISTRATION-", "-subscription-registration-processor"},
		{&n.sendSink, "KTABLE-SINK-", "-subscription-registration-sink"},
		{&n.sendSource, "KTABLE-SOURCE-", "-subscription-registration-source"},
		{&n.store, foreignPrefix + "SUBSCRIPTION-STATE-STORE-", "-subscription-store"},
		{&n.receive, foreignPrefix + "SUBSCRIPTION-PROCESSOR-", "-subscription-receive"},
		{&n.joinForeign, foreignPrefix + "SUBSCRIPTION-PROCESSOR-", "-subscription-join-foreign"},
		{&n.foreignJoin, foreignPrefix + "SUBSCRIPTION-PROCESSOR-", "-foreign-join-subscription"},
		{&n.response, foreignPrefix + "SUBSCRIPTION-RESPONSE-", "-subscription-response"},
		{&n.answerSink, "KTABLE-SINK-", "-subscription-response-sink"},
		{&n.answerSource, "KTABLE-SOURCE-", "-subscription-response-source"},
		{&n.answer, foreignPrefix + "SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-", "-subscription-response-resolver"},
		{&n.result, foreignPrefix + "OUTPUT-", "-result"},
	} {
		if *part.name = b.graph.Name(part.prefix); own != "" {
			*part.name = own + part.suffix
		}
	}
	n.registration += "-topic"
	n.response += "-topic"
	return n
}

// joinForeign adds the nodes of a foreign-key join, in the order in which Kafka Streams attaches them.
func joinForeign[K, V, FK, FV, R any](left KTable[K, V], right KTable[FK, FV], op string, f reference[K, V, FK, FV, R], opts []TableJoined) KTable[K, R] {
	var set opt.Settings
	for _, o := range opts {
		o.TableJoinedOption(opt.Seal{}, &set)
	}
	l, r := left.t, right.t
	m := l.b.at(op)
	if r.b != l.b {
		m.faultf("", "the other table was made with another Builder")
		return resulting[K, R](m, l, l.n, l.b.meet(set.Name).result, &set)
	}
	r.old(true)
	l.old(true)
	names := l.b.meet(set.Name)
	f.empty = emptiness[R](m, set.Empty)
	s := subscribing{
		names: names, ks: l.ks, vs: l.vs, fks: r.ks, fvs: r.vs,
		primary: placer[K](m, "primary", set.Primary), foreign: placer[FK](m, "foreign", set.Foreign),
	}

	send := m.node(plan.Processor, names.send, l.n)
	send.Body = sendBody(s, f)
	registered := m.crossing(names.registration, names.sendSink, names.sendSource, send)
	registered.sink.Body = registrationSink[FK](s)
	registered.source.Body = registrationSource[FK](s)
	m.b.graph.Copartition(op, m.site, r.n, registered.source)
	m.b.keep(m, subscriptions(names.store))
	receive := m.node(plan.Processor, names.receive, registered.source)
	receive.Stores = []string{names.store}
	receive.Body = receiveBody[FK](s)
	join := m.node(plan.Processor, names.joinForeign, receive)
	rightRows, rightStores := viewOf[FK, FV](r)
	join.Stores = rightStores
	join.Body = joinForeignBody[K](s, rightRows)
	scan := m.node(plan.Processor, names.foreignJoin, r.n)
	scan.Stores = []string{names.store}
	scan.Body = foreignJoinBody[K, FK, FV](s)
	answered := m.crossing(names.response, names.answerSink, names.answerSource, join, scan)
	answered.sink.Body = responseSink[K, FV](s)
	answered.source.Body = responseSource[K, FV](s)
	m.b.graph.Copartition(op, m.site, l.n, answered.source)
	resolve := m.node(plan.Processor, names.answer, answered.source)
	leftRows, leftStores := viewOf[K, V](l)
	resolve.Stores = leftStores
	resolve.Body = resolveBody(s, f, leftRows)
	return resulting[K, R](m, l, resolve, names.result, &set)
}

// foreignTopic is the sink and the source of a topic between two sub-topologies.
type foreignTopic struct{ sink, source *plan.Node }

func (m maker) crossing(topic, sink, source string, parents ...*plan.Node) (c foreignTopic) {
	if err := legalTopic(topic); err != nil {
		m.faultf(sink, "%w", err)
	}
	m.b.graph.AddRepartition(&plan.Repartition{Topic: topic, Asked: true, Site: m.site})
	c.sink = m.node(plan.Sink, sink, parents...)
	c.sink.Topics, c.sink.Internal = []string{topic}, true
	c.source = m.node(plan.Source, source)
	c.source.Topics, c.source.Internal = []string{topic}, true
	return c
}

// placer reads one function of ForeignPartition.
func placer[K any](m maker, what string, given any) func(string, K, int) int {
	f, ok := given.(func(string, K, int) int)
	if given != nil && !ok {
		m.faultf("", "ForeignPartition's %s function is %T, which does not take %s", what, given, reflect.TypeFor[K]())
	}
	return f
}

// resulting is the table that a foreign-key join makes. It keeps a store if one was named, or where an operator needs it.
func resulting[K, R any](m maker, l *tableFlow, parent *plan.Node, name string, set *opt.Settings) KTable[K, R] {
	t := &tableFlow{b: l.b, ks: first(set.KeySerde, l.ks), vs: set.ValueSerde}
	named := set.StoreName != ""
	if !named {
		set.StoreName = l.b.graph.StoreName(foreignPrefix + "OUTPUT-")
	}
	t.n = m.node(plan.Processor, name, parent)
	t.n.Body = resultBody[K, R](t)
	sourced[K, R](m, t, set, named)
	return KTable[K, R]{t: t}
}
