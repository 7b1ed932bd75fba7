package stream

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/metrics"
	"github.com/millrun/millrun/stream/state"
)

// Topology is a graph of sources, processors and sinks: what Builder.Build returns, which is checked and never changes, so
// that it is safe for concurrent use; or one in the making, by NewTopology. It runs in one App or one test driver.
type Topology struct {
	b    *build
	plan *plan.Plan
}

func (t *Topology) definition() *build { return t.b }

// Describe is Kafka Streams' description, byte for byte.
func (t *Topology) Describe() string { return t.planned().Describe() }

// Graph is the description as data, for pictures and tools.
func (t *Topology) Graph() Graph {
	var g Graph
	for _, n := range t.planned().Nodes {
		sub := n.Sub()
		if n.Global {
			sub = -1
		}
		g.Nodes = append(g.Nodes, GraphNode{
			Subtopology: sub, Name: n.Name, Kind: n.Kind.String(), Topics: slices.Clone(n.Topics),
			Stores: slices.Clone(n.Stores), Predecessors: nodeNames(n.Parents), Successors: nodeNames(n.Children),
			File: n.Site.File, Line: n.Site.Line,
		})
	}
	for _, t := range t.planned().Needs() {
		g.Topics = append(g.Topics, GraphTopic{
			Subtopology: t.Sub, Name: t.Name, Changelog: t.Changelog, Partitions: int(t.Partitions), Config: t.Config,
		})
	}
	return g
}

func nodeNames(nodes []*plan.Node) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.Name
	}
	return out
}

// Graph is a topology as data, its nodes in the order they were declared.
type Graph struct {
	Nodes  []GraphNode
	Topics []GraphTopic // what the application makes for itself, sorted by sub-topology and name
}

// GraphTopic is an internal topic: a repartition topic, which belongs to the sub-topology that reads it, or the changelog of
// a store.
type GraphTopic struct {
	Subtopology int
	Name        string // as the broker knows it
	Changelog   bool
	Partitions  int               // 0: follows from the topics that are read
	Config      map[string]string // what Kafka Streams sets, and what the store was given
}

// GraphNode is a source, processor or sink; Subtopology is -1 for what serves a global store. Topics are without the application's prefix.
type GraphNode struct {
	Subtopology  int
	Name, Kind   string
	Topics       []string
	Stores       []string
	Predecessors []string
	Successors   []string
	File         string
	Line         int
}

// emitInterval is Kafka Streams' for windows that emit on close and for results of joins that found no partner.
const emitInterval = time.Second

// assemble finishes the graph and finds the serdes of everything in it: all faults at once.
func assemble(b *build, c Config) (*task.Program, error) {
	p, found := b.graph.Finish(plan.Rules{App: c.ApplicationID, Optimize: plan.Optimization(c.Optimize), RequireNames: c.RequireNames})
	rs := &resolver{registry: c.Serdes, plan: p, topics: map[string]task.Serdes{}}
	prog := &task.Program{
		Plan: p, Bodies: make([]task.Body, len(p.Nodes)), Stores: map[string]*task.StoreSpec{}, DeadLetter: c.DeadLetterTopic,
		CacheBytes: c.CacheBytes, Topics: rs.topics, MaxIdle: c.MaxTaskIdle, EmitInterval: emitInterval, Detailed: c.MetricsLevel == metrics.Debug,
		TimeBy: rawTimes(c.Timestamps), Globals: b.globals, Ordered: c.Guarantee != AtLeastOnce, ExactState: c.Guarantee == ExactState, Retryable: IsRetryable, User: &offered{c.Metrics},
		Handlers: map[task.Stage]task.Handler{
			task.Deserialization: handler(c.DeserializationErrors),
			task.Processing:      handler(c.ProcessingErrors),
			task.Punctuation:     handler(c.ProcessingErrors),
			task.Serialization:   handler(c.ProductionErrors),
			task.Production:      handler(c.ProductionErrors),
		},
	}
	if prog.ExactState {
		prog.EmitInterval = 0 // the wall clock would choose other records to emit with, when they are processed again
	}
	if c.Stores != nil {
		prog.Disk = c.Stores.Backend(opt.Seal{})
	}
	for _, n := range p.Nodes {
		made, err := n.Body.(body)(rs, n)
		if err != nil {
			found = append(found, plan.Fault{Site: n.Site, Op: n.Op, Node: n.Name, Err: err})
		}
		prog.Bodies[n.Index] = made
	}
	for _, s := range p.Stores {
		spec, faulty := b.store(prog, s, c)
		for _, err := range faulty {
			found = append(found, plan.Fault{Site: s.Site, Op: "store", Node: s.Name, Err: err})
		}
		prog.Stores[spec.Name] = spec
	}
	if len(found) > 0 {
		return nil, faults(found)
	}
	return prog, nil
}

// store is what a task makes of a declared store, with all that is wrong with the declaration.
func (b *build) store(prog *task.Program, s *plan.Store, c Config) (*task.StoreSpec, []error) {
	d := s.Body.(*store.Decl)
	var faulty []error
	opener, err := d.Resolve(d, c.Serdes, prog.Plan.Changelog(d.Name))
	if err != nil {
		faulty = append(faulty, err)
	}
	spec := &task.StoreSpec{Name: d.Name, Kind: d.Kind, Opener: opener, History: d.History.Milliseconds()}
	spec.Cached = c.CacheBytes > 0 && (d.Caching == opt.On || d.Caching == opt.Unset && s.Cached)
	if spec.TTL = d.TTL.Milliseconds(); d.TTL != 0 {
		spec.Cached = false
	}
	spec.Shape = b.shape(d, spec, c)
	if spec.Headers = c.StoreFormat == state.WithHeaders && (s.Cached || d.Kind == store.JoinWindow) || d.Kind == store.Headed; spec.Headers && spec.Shape != nil {
		spec.Shape.Headers = true
	}
	if o, ok := opener.(store.Shaped); ok {
		o.SetShape(spec.Shape)
	}
	if spec.LRU = d.LRU; spec.LRU != 0 && (spec.LRU < 0 || d.Kind != store.KeyValue && d.Kind != store.Timestamped) {
		faulty = append(faulty, errors.New("LRU needs a key-value store and a positive number of rows"))
	}
	if err := endless(d, s); err != nil {
		faulty = append(faulty, err)
	}
	if s.Logged {
		spec.Changelog = prog.Plan.Changelog(d.Name)
	}
	if !s.Global {
		spec.Source = s.Source
	}
	spec.OnDisk = prog.Disk != nil && !s.Global && d.OnDisk()
	return spec, faulty
}

// errClaimed is what a second App or driver of one definition gets.
var errClaimed = errors.New("stream: this Builder already belongs to an App or a test driver: make a new one")

func claim(claimed *atomic.Bool) error {
	if !claimed.CompareAndSwap(false, true) {
		return errClaimed
	}
	return nil
}

// Assemble checks a definition and makes it the caller's. It is there for package streamtest; only this module can call it.
func Assemble(_ opt.Seal, d Definition, c Config) (*task.Program, error) {
	if c.Metrics == nil {
		c.Metrics = metrics.New()
	}
	c.CacheBytes = c.caches()
	prog, err := assemble(d.definition(), c)
	if err != nil {
		return nil, err
	}
	return prog, claim(&d.definition().claimed)
}

// TaskFailure makes an error of the engine the TaskError it is in this package. It is there for package streamtest; only this
// module can call it.
func TaskFailure(_ opt.Seal, err error) error { return public(err) }
