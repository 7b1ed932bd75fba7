package stream

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
)

// Topic is a topic's name that knows what the topic holds. A string literal is one; declared as a constant it carries K and V:
//
//	const Orders stream.Topic[string, Order] = "orders"
type Topic[K, V any] string

// Builder collects a topology by the DSL. It serves one App or one test driver. Not for concurrent use.
type Builder struct{ b *build }

// build is what a Builder and all streams and tables made with it share.
type build struct {
	graph   *plan.Graph
	topics  map[string]reading // what each topic was said to hold
	opened  map[string]*store.Decl
	closing map[string]bool // stores whose results leave when windows close; true where Java has a cache in front
	claimed atomic.Bool
	globals *task.Globals
}

// reading is how a topic was first used.
type reading struct {
	types string
	site  plan.Site
}

// NewBuilder returns an empty Builder.
func NewBuilder() *Builder {
	return &Builder{newBuild()}
}

// Table reads a topic as a table: a record without a value deletes its key. The table keeps a store if As or Into names
// one, or where an operator needs it.
func (b *Builder) Table[K, V any](topic Topic[K, V], opts ...TableSource) KTable[K, V] {
	var s opt.Settings
	for _, o := range opts {
		o.TableSourceOption(opt.Seal{}, &s)
	}
	f := b.b.at("Table")
	g := b.b.graph
	named := s.StoreName != ""
	if !named {
		s.StoreName = g.StoreName(string(topic) + "-")
	}
	source, table := g.Name("KSTREAM-SOURCE-"), g.Name("KTABLE-SOURCE-")
	if s.Name != "" {
		source, table = s.Name+"-source", s.Name
	}
	read := f.source(source, []string{string(topic)}, types[K, V](), s.Reset)
	read.Table, read.Edits = true, s.Empty != nil
	read.Body = sourceBody(s.KeySerde, s.ValueSerde, timesOf[K, V](f, source, &s))
	t := &tableFlow{b: b.b, ks: s.KeySerde, vs: s.ValueSerde}
	t.n = f.node(plan.Processor, table, read)
	t.n.Body = tableSourceBody[K, V](t, noneOf[V](f, s.Empty))
	sourced[K, V](f, t, &s, named)
	return KTable[K, V]{t: t}
}

// Build checks everything and returns the topology, or all faults at once, each with its file and line.
func (b *Builder) Build(c Config) (*Topology, error) {
	p, err := assemble(b.b, c)
	if err != nil {
		return nil, err
	}
	return &Topology{b: b.b, plan: p.Plan}, nil
}

// Definition is what NewApp and streamtest.New accept: a *Builder or a *Topology. Sealed.
type Definition interface{ definition() *build }

func (b *Builder) definition() *build { return b.b }

// types is how a topic's content is called in messages.
func types[K, V any]() string {
	return fmt.Sprintf("%s → %s", reflect.TypeFor[K](), reflect.TypeFor[V]())
}

// maker adds nodes for one call of the DSL, and knows where in the user's program that was.
type maker struct {
	b    *build
	op   string
	site plan.Site
}

// pkgPrefix is what the names of this package's functions begin with.
var pkgPrefix = reflect.TypeFor[Builder]().PkgPath() + "."

// at finds the user's line: the first caller outside of this package.
func (b *build) at(op string) maker {
	m := maker{b: b, op: op}
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, pkgPrefix) {
			m.site = plan.Site{File: f.File, Line: f.Line}
			return m
		}
		if !more {
			return m
		}
	}
}

func (m maker) faultf(node, format string, args ...any) {
	m.b.graph.Fault(plan.Fault{Site: m.site, Op: m.op, Node: node, Err: fmt.Errorf(format, args...)})
}

// node appends a node below its parents.
func (m maker) node(k plan.Kind, name string, parents ...*plan.Node) *plan.Node {
	return m.b.graph.Add(&plan.Node{Kind: k, Name: name, Parents: parents, Op: m.op, Site: m.site})
}

// topic checks a topic's name and that everybody means the same by it.
func (m maker) topic(name, types string) {
	if err := legalTopic(name); err != nil {
		m.faultf("", "%w", err)
		return
	}
	old, ok := m.b.topics[name]
	if ok && old.types != types {
		m.faultf("", "topic %q holds %s here and %s at %s:%d", name, types, old.types, old.site.File, old.site.Line)
		return
	}
	m.b.topics[name] = reading{types, m.site}
}

// maxTopic is Kafka's limit to a topic's name.
const maxTopic = 249

func legalTopic(name string) error {
	bad := func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if name == "" || name == "." || name == ".." || len(name) > maxTopic || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%q is no topic's name: 1 to %d of a-z A-Z 0-9 . _ -", name, maxTopic)
	}
	return nil
}

// flow is a stream without its types: where it comes from and what it inherits.
type flow struct {
	b       *build
	n       *plan.Node
	ks, vs  any        // serdes named by the user, passed on as far as the types stay
	rekeyed bool       // the key was changed since the last topic
	hop     *plan.Node // the source behind the topic that a join has led it through, for the next join
}

// then appends a processor below the flow.
func (f *flow) then(op, prefix string, opts []Option, b body) *plan.Node {
	var s opt.Settings
	for _, o := range opts {
		o.PlainOption(opt.Seal{}, &s)
	}
	n := f.b.at(op).node(plan.Processor, f.b.graph.Named(s.Name, prefix), f.n)
	n.Body = b
	return n
}

// find is the serde the user named, or the default by type.
func find[T any](rs *resolver, named any) (serde.Serde[T], error) {
	if named == nil {
		if w, ok := any(*new(T)).(interface{ unnamed() error }); ok {
			return nil, w.unnamed()
		}
		if o, ok := any(*new(T)).(interface{ own() any }); ok {
			return o.own().(serde.Serde[T]), nil
		}
		return serde.For[T](rs.registry)
	}
	named, err := store.Bind(named, rs.registry)
	if err != nil {
		return nil, err
	}
	s, ok := named.(serde.Serde[T])
	if !ok {
		return nil, fmt.Errorf("the serde given is %T, which is none of %s", named, reflect.TypeFor[T]())
	}
	return s, nil
}

// findBoth is find for a record.
func findBoth[K, V any](rs *resolver, k, v any) (ks serde.Serde[K], vs serde.Serde[V], err error) {
	ks, errK := find[K](rs, k)
	vs, errV := find[V](rs, v)
	if errK != nil {
		errK = fmt.Errorf("key: %w", errK)
	}
	if errV != nil {
		errV = fmt.Errorf("value: %w", errV)
	}
	return ks, vs, errors.Join(errK, errV)
}

// keep declares a store of an operator or a processor.
func (b *build) keep(m maker, d *store.Decl) {
	if old, ok := b.opened[d.Name]; ok && old != d {
		m.faultf(d.Name, "the store %q is declared twice: use one handle for it", d.Name)
		return
	}
	if err := legalTopic(d.Name); err != nil {
		m.faultf(d.Name, "store: %w", err)
	}
	if d.Kind == store.Versioned && (d.History <= 0 || d.History > math.MaxInt64-extraRetention) {
		m.faultf(d.Name, "the history of store %q is %s: it must be positive, and no longer than 290 years", d.Name, d.History)
	}
	b.opened[d.Name] = d
	s := &plan.Store{Name: d.Name, Logged: !d.NoLogging, Config: d.LogConfig, Site: m.site, Body: d}
	s.Defaults, s.Imposed = changelogOf(d)
	b.graph.AddStore(s)
}

// keepCached is keep for a store of the DSL, which is cached unless it says otherwise.
func (b *build) keepCached(m maker, d *store.Decl) {
	b.keep(m, d)
	if s, ok := b.graph.Store(d.Name); ok {
		s.Cached = true
	}
}

// storeSerdes are options for a store of the library's own.
func storeSerdes[K, V any](ks, vs any) []state.Option {
	var out []state.Option
	if s, ok := ks.(serde.Serde[K]); ok {
		out = append(out, state.KeySerde(s))
	}
	if s, ok := vs.(serde.Serde[V]); ok {
		out = append(out, state.ValueSerde(s))
	}
	return out
}

// declared is the declaration of an operator's store: the user's handle, or one by the options.
func declared[K, V any](m maker, s *opt.Settings, ks, vs any) *store.Decl {
	if h, ok := s.Store.(state.Any); ok {
		d := h.Declaration(opt.Seal{})
		m.livesLong(d.Name, s, "the table is kept Into a handle: give it to the handle")
		if d.Kind != store.Timestamped && d.Kind != store.Versioned || d.Key != reflect.TypeFor[K]() || d.Value != reflect.TypeFor[V]() {
			m.faultf(d.Name, "Into needs a state.TimestampedKeyValue[%s, %s] or a state.Versioned of them", reflect.TypeFor[K](), reflect.TypeFor[V]())
		}
		return d
	}
	if s.KeySerde != nil {
		ks = s.KeySerde
	}
	if s.ValueSerde != nil {
		vs = s.ValueSerde
	}
	mismatch[K](m, "KeySerde", ks)
	mismatch[V](m, "ValueSerde", vs)
	d := state.TimestampedKeyValue[K, V](s.StoreName, storeSerdes[K, V](ks, vs)...).Declaration(opt.Seal{})
	d.NoLogging, d.LogConfig = s.NoLogging, s.LogConfig
	d.Engine, d.LRU, d.TTL, d.Caching, d.Retention = s.Engine, s.LRU, s.TTL, s.Caching, s.Retention
	return d
}

func mismatch[T any](m maker, what string, named any) {
	if _, ok := named.(serde.Serde[T]); named != nil && !ok {
		m.faultf("", "%s is %T, which is no Serde of %s", what, named, reflect.TypeFor[T]())
	}
}

// faults makes the plan's faults errors, in the order of the program.
func faults(fs []plan.Fault) error {
	fs = slices.Clone(fs)
	slices.SortStableFunc(fs, func(a, b plan.Fault) int {
		return cmp.Or(strings.Compare(a.Site.File, b.Site.File), a.Site.Line-b.Site.Line)
	})
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = &TopologyError{Op: f.Op, Node: f.Node, File: f.Site.File, Line: f.Site.Line, Err: f.Err}
	}
	return errors.Join(errs...)
}
