package stream

import (
	"maps"
	"reflect"
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
func (p *pairing[K, V, W, R]) names(g *plan.Graph, own string, set *opt.Settings) pairingNames {
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
	if base := set.StoreName; base != "" && len(set.Stores) == 0 {
		n.storeThis, n.storeOther, n.shared = base+thisEnd+"-store", base+otherEnd+"-store", base+sharedEnd+"-store"
	}
	if len(set.Stores) == bothSides {
		n.storeThis, n.storeOther = set.Stores[0].(state.Any).Name(), set.Stores[1].(state.Any).Name()
		n.shared = n.storeThis + sharedEnd + "-store"
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
	m.livesLong("", &set, windowsLive)
	ends := [2]string{}
	if set.Name != "" {
		ends = [2]string{set.Name + "-left", set.Name + "-right"}
	}
	left := rerouteForJoin[K, V](m, s.s, ends[0], set.KeySerde, set.ValueSerde)
	right := rerouteForJoin[K, W](m, other.s, ends[1], set.KeySerde, set.OtherSerde)
	names := p.names(g, set.Name, &set)
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
	if n := len(set.Stores); n != 0 && n != bothSides {
		m.faultf("", "Into is given %d times: name the store of the left side, then that of the right one", n)
	}
	m.b.keep(m, sideDecl[K, V](m, 0, p.within, names.storeThis, set, ks, vs))
	m.b.keep(m, sideDecl[K, W](m, 1, p.within, names.storeOther, set, ks, ws))
	if !p.left && !p.right {
		return nil
	}
	m.b.keep(m, p.aloneDecl(names.shared, set, ks, vs, ws))
	return []string{names.shared}
}

// bothSides is how many stores a user may give: none or these.
const bothSides = 2

// sideDecl declares the store of one side, the i-th.
func sideDecl[K, V any](m maker, i int, w JoinWindows, name string, set *opt.Settings, ks, vs any) *store.Decl {
	size, retention := w.size(), w.retention()
	if len(set.Stores) == bothSides {
		return givenDecl[K, V](m, set.Stores[i].(state.Any).Declaration(opt.Seal{}), size, retention, ks, vs)
	}
	if set.Retention != 0 && set.Retention < retention {
		m.faultf(name, "Retention(%s) is less than the %s for which a partner may come", set.Retention, retention)
	}
	d := state.JoinWindow[K, V](opt.Seal{}, name, size, max(retention, set.Retention), storeSerdes[K, V](ks, vs)...)
	d.NoLogging, d.LogConfig, d.Engine = set.NoLogging, set.LogConfig, set.Engine
	return d
}

// givenDecl declares a store by the user's handle. As in Java its changelog is compacted like that of any window store,
// which those of joins are not otherwise.
func givenDecl[K, V any](m maker, h *store.Decl, size, retention time.Duration, ks, vs any) *store.Decl {
	if h.Kind != store.Window || h.Key != reflect.TypeFor[K]() || h.Value != reflect.TypeFor[V]() || h.Size != size || h.Retention < retention {
		m.faultf(h.Name, "Into needs a state.Window[%s, %s] of size %s with a retention of %s or more", reflect.TypeFor[K](), reflect.TypeFor[V](), size, retention)
	}
	d := state.JoinWindow[K, V](opt.Seal{}, h.Name, size, h.Retention, storeSerdes[K, V](first(h.KeySerde, ks), first(h.ValueSerde, vs))...)
	d.NoLogging, d.Engine, d.LogConfig = h.NoLogging, h.Engine, map[string]string{"cleanup.policy": "compact,delete"}
	maps.Copy(d.LogConfig, h.LogConfig)
	return d
}
