package stream

import (
	"math"
	"reflect"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/state"
)

// TimeWindowedKStream is a grouped stream cut into windows. Records without key are dropped and counted, and so are those
// that come when all their windows are closed. Records without value are aggregated, except in sliding windows, where they
// are dropped; a V without nil has no value to show to Reduce and Aggregate, so there they are dropped, too.
type TimeWindowedKStream[K, V any] struct {
	_    [0]func(K, V)
	g    *grouping
	w    TimeWindows
	emit EmitStrategy
}

// Count counts records per key and window.
func (w TimeWindowedKStream[K, V]) Count(opts ...Materialized) KTable[Windowed[K], int64] {
	set := materialized(opts)
	if set.StoreName == "" && set.Kept && w.w.kind != sliding {
		w.g.b.graph.StoreName("KSTREAM-AGGREGATE-") // burned as by KGroupedStream.Count
	}
	return overWindows(w, "Count", "KSTREAM-AGGREGATE-", set, counting[K, V]())
}

// Reduce folds values into one of the same type.
func (w TimeWindowedKStream[K, V]) Reduce(f func(agg, v V) V, opts ...Materialized) KTable[Windowed[K], V] {
	return overWindows(w, "Reduce", "KSTREAM-REDUCE-", reducedSettings(opts, w.g), reducing[K](f))
}

// Aggregate folds values per key and window; a nil init begins with the zero value.
func (w TimeWindowedKStream[K, V]) Aggregate[A any](init func() A, add func(k K, v V, agg A) A, opts ...Materialized) KTable[Windowed[K], A] {
	return overWindows(w, "Aggregate", "KSTREAM-AGGREGATE-", materialized(opts), aggregating(init, add))
}

// Emit says when results leave. Default: OnUpdate.
func (w TimeWindowedKStream[K, V]) Emit(s EmitStrategy) TimeWindowedKStream[K, V] {
	if s == OnClose && w.w.kind == unlimited {
		w.g.b.at("Emit").faultf("", "an unlimited window never closes: use OnUpdate")
	}
	w.emit = s
	return w
}

// SessionWindowedKStream is a grouped stream cut into sessions. Records without key are dropped and counted, and so are those
// whose session is closed. Records without value are aggregated, as in TimeWindowedKStream.
type SessionWindowedKStream[K, V any] struct {
	_    [0]func(K, V)
	g    *grouping
	w    SessionWindows
	emit EmitStrategy
}

// Count counts records per key and session.
func (w SessionWindowedKStream[K, V]) Count(opts ...Materialized) KTable[Windowed[K], int64] {
	set := materialized(opts)
	if set.StoreName == "" && set.Kept {
		w.g.b.graph.StoreName("KSTREAM-AGGREGATE-") // burned as by KGroupedStream.Count
	}
	return overSessions(w, "Count", "KSTREAM-AGGREGATE-", set, counting[K, V](), func(_ K, a, b int64) int64 { return a + b })
}

// Reduce folds values into one of the same type; it also merges sessions.
func (w SessionWindowedKStream[K, V]) Reduce(f func(agg, v V) V, opts ...Materialized) KTable[Windowed[K], V] {
	return overSessions(w, "Reduce", "KSTREAM-REDUCE-", reducedSettings(opts, w.g), reducing[K](f), func(_ K, a, b V) V { return f(a, b) })
}

// Aggregate folds values per key and session; merge joins two sessions that became one, the earlier first. A nil init begins
// with the zero value. What init makes is merged with the sessions found, so it must change nothing then.
func (w SessionWindowedKStream[K, V]) Aggregate[A any](init func() A, add func(k K, v V, agg A) A, merge func(k K, a, b A) A, opts ...Materialized) KTable[Windowed[K], A] {
	return overSessions(w, "Aggregate", "KSTREAM-AGGREGATE-", materialized(opts), aggregating(init, add), merge)
}

// Emit says when results leave. Default: OnUpdate.
func (w SessionWindowedKStream[K, V]) Emit(s EmitStrategy) SessionWindowedKStream[K, V] {
	w.emit = s
	return w
}

func counting[K, V any]() fold[K, V, int64] {
	return fold[K, V, int64]{
		init: func() int64 { return 0 },
		add:  func(_ K, _ V, n int64) int64 { return n + 1 },
		any:  true,
	}
}

func reducing[K, V any](f func(agg, v V) V) fold[K, V, V] {
	return fold[K, V, V]{
		first: func(v V) V { return v },
		add:   func(_ K, v, agg V) V { return f(agg, v) },
	}
}

func aggregating[K, V, A any](init func() A, add func(k K, v V, agg A) A) fold[K, V, A] {
	if init == nil {
		init = func() (zero A) { return zero }
	}
	return fold[K, V, A]{init: init, add: add}
}

// reducedSettings are the settings of a reduce, whose result has the serde of the values.
func reducedSettings(opts []Materialized, g *grouping) opt.Settings {
	set := materialized(opts)
	set.ValueSerde = first(set.ValueSerde, g.vs)
	return set
}

// windowing is a windowed aggregation without its types.
type windowing struct {
	kind      store.Kind
	size      time.Duration // of the windows, as their store and their keys know it
	least     time.Duration // the shortest time its store may keep them
	grace     int64         // how long after its end a window is open, in milliseconds
	idle      time.Duration // see TimeWindows.Idle
	emit      EmitStrategy
	cached    bool   // in Java, its store may have a cache even if results wait for windows to close
	retention string // how least comes about, for messages
}

func (w TimeWindows) windowing(emit EmitStrategy) windowing {
	out := windowing{kind: store.Window, size: w.size, least: w.size + w.grace, grace: w.grace.Milliseconds(), idle: w.idle, emit: emit, retention: "size plus grace", cached: true}
	if w.kind == sliding { // as far back as a window may begin that a record still makes another one of
		out.least, out.retention, out.cached = 2*w.size+w.grace, "twice the difference plus grace", false
	}
	if out.least < w.size {
		out.least = math.MaxInt64
	}
	return out
}

func (w SessionWindows) windowing(emit EmitStrategy) windowing {
	sum := w.gap + w.grace
	return windowing{kind: store.Session, least: sum, grace: sum.Milliseconds(), idle: w.idle, emit: emit, retention: "gap plus grace"}
}

// overWindows adds an aggregation over time windows.
func overWindows[K, V, A any](s TimeWindowedKStream[K, V], op, prefix string, set opt.Settings, f fold[K, V, A]) KTable[Windowed[K], A] {
	m := s.g.b.at(op)
	t := windowedTable[K, V, A](m, s.g, prefix, set, s.w.windowing(s.emit))
	f.empty = emptiness[A](m, set.Empty)
	t.n.Body = overWindowsBody(t, s.w, s.emit, f)
	return KTable[Windowed[K], A]{t: t}
}

// overWindowsBody is the node of an aggregation over time windows.
func overWindowsBody[K, V, A any](t *tableFlow, w TimeWindows, emit EmitStrategy, f fold[K, V, A]) body {
	if w.kind == sliding {
		return slidingBody(t, w, emit, f)
	}
	return windowBody(t, w, emit, f)
}

// overSessions adds an aggregation over sessions.
func overSessions[K, V, A any](s SessionWindowedKStream[K, V], op, prefix string, set opt.Settings, f fold[K, V, A], merge func(K, A, A) A) KTable[Windowed[K], A] {
	m := s.g.b.at(op)
	t := windowedTable[K, V, A](m, s.g, prefix, set, s.w.windowing(s.emit))
	f.empty = emptiness[A](m, set.Empty)
	t.n.Body = sessionBody(t, s.w, s.emit, f, merge)
	return KTable[Windowed[K], A]{t: t}
}

// windowedTable adds store, node and, if the key was changed, the way through a repartition topic, as aggregate does.
func windowedTable[K, V, A any](m maker, g *grouping, prefix string, set opt.Settings, w windowing) *tableFlow {
	if set.StoreName == "" {
		set.StoreName = g.b.graph.StoreName(prefix)
	}
	name := g.b.graph.Named(set.Name, prefix)
	parent := g.n
	if g.rekeyed {
		parent = repartitioned[K, V](m, g, set.StoreName)
	}
	t := windowedFlow[K, A](m, g.ks, set, w)
	t.n = windowedNode(m, t, name, w, parent)
	return t
}

// windowedNode adds a node that aggregates windows of t.
func windowedNode(m maker, t *tableFlow, name string, w windowing, parent *plan.Node) *plan.Node {
	n := m.node(plan.Processor, name, parent)
	n.Stores = t.stores()
	n.Grace, n.Idle = &w.grace, w.idle
	return n
}

// windowedFlow is a windowed table before it has a node.
func windowedFlow[K, A any](m maker, keys any, set opt.Settings, w windowing) *tableFlow {
	d := declaredWindows[K, A](m, &set, keys, w)
	size := int64(math.MaxInt64)
	if d.Size != math.MaxInt64 {
		size = d.Size.Milliseconds()
	}
	t := &tableFlow{b: m.b, ks: windowedKeys[K](first(set.KeySerde, keys), w.kind == store.Session, size), vs: set.ValueSerde}
	t.decl = d
	m.b.keepCached(m, d)
	if w.emit == OnClose {
		m.b.closing[d.Name] = w.cached
	}
	t.shelf = func(a *task.Assembly) any { return windowShelved[K, A](a, d, size) }
	t.old = func(bool) bool {
		t.sendOld = true
		return true
	}
	t.view = func() (any, []string) { return shelfView[Windowed[K], A](t) }
	return t
}

// declaredWindows is the declaration of a windowed store: the user's handle, or one by the options.
func declaredWindows[K, A any](m maker, s *opt.Settings, keys any, w windowing) *store.Decl {
	var d *store.Decl
	m.livesLong(s.StoreName, s, windowsLive)
	if h, ok := s.Store.(state.Any); ok {
		d = h.Declaration(opt.Seal{})
	} else {
		ks := first(s.KeySerde, keys)
		mismatch[K](m, "KeySerde", ks)
		mismatch[A](m, "ValueSerde", s.ValueSerde)
		serdes := storeSerdes[K, A](ks, s.ValueSerde)
		if w.kind == store.Session {
			d = state.Session[K, A](s.StoreName, w.least, serdes...).Declaration(opt.Seal{})
		} else {
			d = state.Window[K, A](s.StoreName, w.size, w.least, serdes...).Declaration(opt.Seal{})
		}
		d.NoLogging, d.LogConfig, d.Engine, d.Caching = s.NoLogging, s.LogConfig, s.Engine, s.Caching
		if s.Retention != 0 {
			d.Retention = s.Retention
		}
	}
	word := map[store.Kind]string{store.Window: "Window", store.Session: "Session"}[w.kind]
	switch {
	case d.Kind != w.kind || d.Key != reflect.TypeFor[K]() || d.Value != reflect.TypeFor[A]():
		m.faultf(d.Name, "Into needs a state.%s[%s, %s]", word, reflect.TypeFor[K](), reflect.TypeFor[A]())
	case d.Retention < w.least:
		m.faultf(d.Name, "the store keeps windows for %s: it must be %s, %s, or more", d.Retention, w.retention, w.least)
	}
	return d
}
