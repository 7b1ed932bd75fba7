package stream

import (
	"strings"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/state"
)

// Join pairs records of both streams with one key that are within w of each other. The result has the later of their times
// and the headers of the record that came second. Both sides keep their records for as long as a partner may come; late
// records are joined with what is still there. Records without key or value are dropped and counted.
func (s KStream[K, V]) Join[V2, R any](other KStream[K, V2], w JoinWindows, join func(k K, v V, o V2) R, opts ...StreamJoined) KStream[K, R] {
	return joinStreams(s, other, pairing[K, V, V2, R]{
		op: "Join", within: w, join: func(k K, v V, _ bool, o V2, _ bool) R { return join(k, v, o) },
	}, opts)
}

// LeftJoin also emits, once the window is over, what found no partner: ok is then false and o zero. A window is over when a
// record of either stream comes whose time is beyond its end and grace, and results wait for the next record that brings a
// new time. A left record without key is emitted alone at once.
func (s KStream[K, V]) LeftJoin[V2, R any](other KStream[K, V2], w JoinWindows, join func(k K, v V, o V2, ok bool) R, opts ...StreamJoined) KStream[K, R] {
	return joinStreams(s, other, pairing[K, V, V2, R]{
		op: "LeftJoin", within: w, left: true, join: func(k K, v V, _ bool, o V2, ok bool) R { return join(k, v, o, ok) },
	}, opts)
}

// OuterJoin does so for both sides.
func (s KStream[K, V]) OuterJoin[V2, R any](other KStream[K, V2], w JoinWindows, join func(k K, v V, vok bool, o V2, ook bool) R, opts ...StreamJoined) KStream[K, R] {
	return joinStreams(s, other, pairing[K, V, V2, R]{op: "OuterJoin", within: w, left: true, right: true, join: join}, opts)
}

// pairing is a join of streams: whose records are emitted without a partner, and what is made of two.
type pairing[K, V, W, R any] struct {
	op          string
	within      JoinWindows
	left, right bool
	join        func(k K, v V, vok bool, w W, wok bool) R
}

// pairingNames are the names of a join's five nodes and of its stores.
type pairingNames struct {
	keepThis, keepOther, this, other, merge string
	storeThis, storeOther, shared           string
}

// names takes the names, in Java's order. Stores are called after the numbers of the join's nodes, also where the nodes
// themselves are named, unless they have a name of their own.
func (p *pairing[K, V, W, R]) names(g *plan.Graph, own, base string) pairingNames {
	thisPrefix, otherPrefix, thisEnd, otherEnd, sharedEnd := "KSTREAM-JOINTHIS-", "KSTREAM-JOINOTHER-", "-this-join", "-other-join", "-left-shared-join"
	if p.right {
		thisPrefix, thisEnd, sharedEnd = "KSTREAM-OUTERTHIS-", "-outer-this-join", "-outer-shared-join"
	}
	if p.left {
		otherPrefix, otherEnd = "KSTREAM-OUTEROTHER-", "-outer-other-join"
	}
	n := pairingNames{keepThis: g.Name("KSTREAM-WINDOWED-"), keepOther: g.Name("KSTREAM-WINDOWED-"), this: g.Name(thisPrefix), other: g.Name(otherPrefix), merge: g.Name("KSTREAM-MERGE-")}
	n.storeThis, n.storeOther = n.this+"-store", n.other+"-store"
	n.shared = "KSTREAM-OUTERSHARED-" + strings.TrimPrefix(n.this, thisPrefix) + "-store"
	if base != "" {
		n.storeThis, n.storeOther, n.shared = base+thisEnd+"-store", base+otherEnd+"-store", base+sharedEnd+"-store"
	}
	if own != "" {
		n.keepThis, n.keepOther, n.merge = own+"-this-windowed", own+"-other-windowed", own+"-merge"
		n.this, n.other = own+thisEnd, own+otherEnd
	}
	return n
}

// joinStreams adds the nodes and stores of a join.
func joinStreams[K, V, W, R any](s KStream[K, V], other KStream[K, W], p pairing[K, V, W, R], opts []StreamJoined) KStream[K, R] {
	var set opt.Settings
	for _, o := range opts {
		o.StreamJoinedOption(opt.Seal{}, &set)
	}
	m, g := s.s.b.at(p.op), s.s.b.graph
	out := &flow{b: s.s.b, n: s.s.n, ks: set.KeySerde}
	if other.s.b != s.s.b {
		m.faultf("", "the other stream belongs to another Builder")
		return KStream[K, R]{s: out}
	}
	p.within.check(m)
	ends := [2]string{}
	if set.Name != "" {
		ends = [2]string{set.Name + "-left", set.Name + "-right"}
	}
	left := rerouteForJoin[K, V](m, s.s, ends[0], set.KeySerde, set.ValueSerde)
	right := rerouteForJoin[K, W](m, other.s, ends[1], set.KeySerde, set.OtherSerde)
	names := p.names(g, set.Name, set.StoreName)
	keep := p.stores(m, &set, &names, left, right)

	keepThis := m.node(plan.Processor, names.keepThis, left.n)
	keepThis.Stores, keepThis.Body = []string{names.storeThis}, keepSideBody[K, V](names.storeThis)
	keepOther := m.node(plan.Processor, names.keepOther, right.n)
	keepOther.Stores, keepOther.Body = []string{names.storeOther}, keepSideBody[K, W](names.storeOther)
	this := m.node(plan.Processor, names.this, keepThis)
	this.Stores, this.Body = append([]string{names.storeOther}, keep...), p.leftBody(&names)
	opposite := m.node(plan.Processor, names.other, keepOther)
	opposite.Stores, opposite.Body = append([]string{names.storeThis}, keep...), p.rightBody(&names)
	merge := m.node(plan.Processor, names.merge, this, opposite)
	merge.Body, merge.Relaxed = passBody[K, R](), p.left || p.right
	out.n = merge
	g.Copartition(p.op, m.site, left.n, right.n)
	if _, same := any(other).(KStream[K, V]); same && p.within.withItself() {
		g.AddSelfJoin(plan.SelfJoin{Left: keepThis, Right: keepOther, This: this, Other: opposite, Merge: merge, Store: names.storeThis, Body: p.selfJoin(&names)})
	}
	return KStream[K, R]{s: out}
}

// stores declares what the join keeps, and returns the names of the stores that both sides share.
func (p *pairing[K, V, W, R]) stores(m maker, set *opt.Settings, names *pairingNames, left, right *flow) (shared []string) {
	ks, vs, ws := first(set.KeySerde, left.ks), first(set.ValueSerde, left.vs), first(set.OtherSerde, right.vs)
	mismatch[K](m, "KeySerde", ks)
	mismatch[V](m, "ValueSerde", vs)
	mismatch[W](m, "OtherSerde", ws)
	retention := p.within.retention()
	if set.Retention != 0 && set.Retention < retention {
		m.faultf("", "Retention(%s) is less than the %s for which a partner may come", set.Retention, retention)
	}
	retention = max(retention, set.Retention)
	size := p.within.before + p.within.after
	m.b.keep(m, sideDecl[K, V](names.storeThis, set, size, retention, ks, vs))
	m.b.keep(m, sideDecl[K, W](names.storeOther, set, size, retention, ks, ws))
	if !p.left && !p.right {
		return nil
	}
	m.b.keep(m, p.aloneDecl(names.shared, set, ks, vs, ws))
	return []string{names.shared}
}

// sideDecl declares the store of one side.
func sideDecl[K, V any](name string, set *opt.Settings, size, retention time.Duration, ks, vs any) *store.Decl {
	d := state.JoinWindow[K, V](opt.Seal{}, name, size, retention, storeSerdes[K, V](ks, vs)...)
	d.NoLogging, d.LogConfig, d.Engine = set.NoLogging, set.LogConfig, set.Engine
	return d
}
