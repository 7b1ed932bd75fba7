// Package plan is a topology before it runs: nodes and their edges, Kafka Streams' names for them, sub-topologies, internal
// topics and the description. It knows no types and no bytes, asks nobody and starts nothing.
package plan

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
)

// Kind is a kind of node.
type Kind uint8

// The kinds.
const (
	Source Kind = iota
	Processor
	Sink
)

// String is the word of Kafka Streams' description.
func (k Kind) String() string { return [...]string{"Source", "Processor", "Sink"}[k] }

// Site is where in the user's program a node or store was asked for.
type Site struct {
	File string
	Line int
}

// Fault is something wrong with a topology, and where.
type Fault struct {
	Site
	Op, Node string
	Err      error
}

// Node is a source, processor or sink. Once Finish has returned it is never changed.
type Node struct {
	Index    int // its place in Plan.Nodes
	Name     string
	Kind     Kind
	Topics   []string       // of a source or sink, without the application's prefix
	Pattern  *regexp.Regexp // of a source: it reads every topic that matches, and Topics is empty
	Dynamic  string         // of a sink that chooses a topic for each record: how it is called, and Topics is empty
	Alone    bool           // a source that is not merged with another of the same topics, which is then a fault
	Internal bool           // Topics is one repartition topic
	Table    bool           // a source that a table is made of
	Edits    bool           // of a table's source: the table keeps something else than the topic says
	Global   bool           // it serves a global store: one task of the instance runs it, over all partitions
	Rekeys   bool           // its records may have another key
	Revalues bool           // its records may have a value of another type
	Merges   bool           // several streams become one here
	Relaxed  bool           // a left or outer join of streams, which takes records without key
	Parents  []*Node
	Children []*Node // in the order they were attached, which is that of forwarding
	Stores   []string
	Reset    *opt.Reset // of a source; nil is the application's
	Types    string     // what a source reads, for messages
	Op       string     // the operator that made it
	Site     Site
	Idle     time.Duration // of a windowed aggregation: the silence of its input after which its windows close by the wall clock; 0: never
	Grace    *int64        // of a windowed aggregation: how many milliseconds after its end a window is still open; nil of others
	Body     any           // the typed edge's, opaque here

	gone  bool           // taken out of the plan while it is made
	whole *regexp.Regexp // Pattern, for whole names
	prio  int            // when it was declared: the order in which Kafka Streams builds the graph
	sub   int            // union-find while the plan is made, then the sub-topology
}

// Sub is the sub-topology the node belongs to.
func (n *Node) Sub() int { return n.sub }

// Matches says whether a source by pattern reads a topic: its whole name matches, as in Java.
func (n *Node) Matches(topic string) bool {
	return n.whole != nil && n.whole.MatchString(topic)
}

// ReadPattern makes a source read every topic whose whole name matches.
func (n *Node) ReadPattern(p *regexp.Regexp) {
	n.Pattern, n.whole = p, regexp.MustCompile(`\A(?:`+p.String()+`)\z`)
}

// Store is a state store.
type Store struct {
	Name   string
	Logged bool
	Cached bool // an operator keeps it, not a user's processor: it is cached unless it says otherwise
	Global bool
	Ending bool              // rows are deleted for their age, too: a table's source does not hold the same
	Source string            // the topic it is restored from in place of a changelog, which has the same content
	Config map[string]string // of the changelog, beyond the defaults
	Site   Site
	Body   any // the typed edge's, opaque here

	// What Kafka Streams sets on the changelog of such a store beside what it sets on all: Defaults give way to the
	// application's settings for all topics, Imposed only to the store's own.
	Defaults, Imposed map[string]string
}

// Repartition is a topic that the topology writes and reads itself, so that records of one key meet in one task.
type Repartition struct {
	Topic      string // without the application's prefix
	Partitions int32  // 0: follows from the topics that are read
	Table      bool   // it carries the changes of a table that is grouped, which is never merged with others
	Asked      bool   // the user asked for this very topic: it is never merged with others
	KeepNulls  bool   // records without key go through it too; known once the plan is made
	Key, Value any    // serdes named by the user; the typed edge knows their types
	Site       Site
}

// Graph collects nodes in the order of their declaration; a node comes after all its parents.
type Graph struct {
	nodes   []*Node
	names   map[string]*Node
	stores  []*Store
	byStore map[string]*Store
	parts   map[string]*Repartition
	counter int
	prios   int
	faults  []Fault

	generated map[string]bool // names out of the counter
	together  []together
	selves    []SelfJoin
}

// NewGraph returns an empty Graph.
func NewGraph() *Graph {
	return &Graph{names: map[string]*Node{}, byStore: map[string]*Store{}, parts: map[string]*Repartition{}, generated: map[string]bool{}}
}

// Fault notes something wrong; Finish returns them all.
func (g *Graph) Fault(f Fault) { g.faults = append(g.faults, f) }

// Name is the next generated name of a node: the prefix and ten digits of a counter that the whole topology shares. Kafka
// Streams names internal topics by it, so it must be asked exactly where Java asks, used or not.
func (g *Graph) Name(prefix string) string {
	name := fmt.Sprintf("%s%010d", prefix, g.counter)
	g.counter++
	g.generated[name] = true
	return name
}

// StoreName is the next generated name of a store.
func (g *Graph) StoreName(prefix string) string { return g.Name(prefix + "STATE-STORE-") }

// Named is Name, or the user's own name: the counter moves on either way, as in Java.
func (g *Graph) Named(own, prefix string) string {
	generated := g.Name(prefix)
	if own != "" {
		return own
	}
	return generated
}

// Add appends a node and attaches it to its parents.
func (g *Graph) Add(n *Node) *Node {
	if other, ok := g.names[n.Name]; ok {
		g.Fault(Fault{n.Site, n.Op, n.Name, fmt.Errorf("the name %q is taken at %s:%d", n.Name, other.Site.File, other.Site.Line)})
	}
	g.names[n.Name] = n
	n.prio = g.priority()
	g.nodes = append(g.nodes, n)
	n.Parents = unique(n.Parents)
	for _, p := range n.Parents {
		p.Children = append(p.Children, n)
	}
	return n
}

// unique drops repetitions: a stream merged with itself is one parent, as in Java.
func unique(nodes []*Node) []*Node {
	var out []*Node
	for _, n := range nodes {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// priority is the next place in the order of declaration. Places are apart, so that the optimizer may put nodes between.
func (g *Graph) priority() int {
	g.prios += spread
	return g.prios
}

// spread is the distance between the places of two declarations.
const spread = 8

// Renew makes a repartition count as declared just now, as in Java where a grouping with a name is used again.
func (g *Graph) Renew(topic string) {
	for _, n := range g.nodes {
		if hop := n.Internal && n.Topics[0] == topic; hop {
			if n.Kind == Sink && n.Parents[0].Op == n.Op { // the filter in front of it; that of a table has none
				n.Parents[0].prio = g.priority()
			}
			n.prio = g.priority()
		}
	}
}

// AddStore declares a store; twice the same is one.
func (g *Graph) AddStore(s *Store) *Store {
	if old, ok := g.byStore[s.Name]; ok {
		if old.Body != s.Body {
			g.Fault(Fault{s.Site, "store", s.Name, fmt.Errorf("the store name %q is taken at %s:%d", s.Name, old.Site.File, old.Site.Line)})
		}
		return old
	}
	g.byStore[s.Name] = s
	g.stores = append(g.stores, s)
	return s
}

// AddRepartition declares a repartition topic.
func (g *Graph) AddRepartition(r *Repartition) {
	if old, ok := g.parts[r.Topic]; ok {
		g.Fault(Fault{r.Site, "repartition", r.Topic, fmt.Errorf("the repartition topic %q is taken at %s:%d: name one of the operators", r.Topic, old.Site.File, old.Site.Line)})
	}
	g.parts[r.Topic] = r
}

// Repartition finds a declared repartition topic.
func (p *Plan) Repartition(topic string) *Repartition { return p.parts[topic] }

// AddSelfJoin says what becomes of a join whose sides turn out to be one stream, if that is to be optimized.
func (g *Graph) AddSelfJoin(j SelfJoin) { g.selves = append(g.selves, j) }

// Store finds a declared store.
func (g *Graph) Store(name string) (*Store, bool) {
	s, ok := g.byStore[name]
	return s, ok
}

// Plan is a finished topology.
type Plan struct {
	App    string
	Nodes  []*Node
	Stores []*Store
	Subs   []*Sub

	byStore  map[string]*Store
	parts    map[string]*Repartition
	names    map[string]bool // out of the counter
	together []together
	selves   []SelfJoin
	moved    map[*Node]*Node // sources that were made one with another
}

// Sub is a sub-topology: what one kind of task runs.
type Sub struct {
	ID      int
	Global  bool // it serves a global store and has no tasks
	Nodes   []*Node
	Sources []*Node
	Stores  []*Store // in the order they were declared
}

// Rules are what an application says about its plan.
type Rules struct {
	App          string
	Optimize     Optimization
	RequireNames bool // generated names of stores and topics are faults
}

// Optimization is a set of optimizations, as in package stream.
type Optimization uint

// The optimizations.
const (
	ReuseSourceTopics Optimization = 1 << iota
	MergeRepartitionTopics
	SingleStoreSelfJoin
)

// Finish checks the graph and makes the plan of an application. The graph's own nodes are not changed, so it may be
// finished more than once.
func (g *Graph) Finish(rules Rules) (*Plan, []Fault) {
	p := &Plan{
		App: rules.App, byStore: map[string]*Store{}, parts: map[string]*Repartition{}, names: g.generated, moved: map[*Node]*Node{},
	}
	for _, s := range g.stores {
		s := *s
		p.Stores, p.byStore[s.Name] = append(p.Stores, &s), &s
	}
	for _, r := range g.parts {
		r := *r
		p.parts[r.Topic] = &r
	}
	faults := slices.Clone(g.faults)
	p.copy(g)
	faults = append(faults, p.mergeSources()...)
	p.optimize(rules.Optimize)
	p.relax()
	p.order()
	faults = append(faults, p.checkTopics()...)
	if len(p.Nodes) == 0 && len(faults) == 0 {
		faults = append(faults, Fault{Op: "topology", Err: fmt.Errorf("it has no source: begin with Stream or Table")})
	}
	p.group()
	faults = append(faults, p.checkStores()...)
	faults = append(faults, p.checkPartitions()...)
	if rules.RequireNames {
		faults = append(faults, p.checkNames()...)
	}
	return p, faults
}

// copy takes the graph's nodes over, edges and all, so that the plan may change them.
func (p *Plan) copy(g *Graph) {
	twin := make(map[*Node]*Node, len(g.nodes))
	p.Nodes = make([]*Node, len(g.nodes))
	for i, n := range g.nodes {
		c := *n
		twin[n], p.Nodes[i] = &c, &c
	}
	for _, n := range p.Nodes {
		n.Parents, n.Children = mapped(n.Parents, twin), mapped(n.Children, twin)
	}
	for _, t := range g.together {
		p.together = append(p.together, together{mapped(t.nodes, twin), t.op, t.site})
	}
	for _, j := range g.selves {
		j.Left, j.Right, j.This, j.Other, j.Merge = twin[j.Left], twin[j.Right], twin[j.This], twin[j.Other], twin[j.Merge]
		p.selves = append(p.selves, j)
	}
}

func mapped(nodes []*Node, twin map[*Node]*Node) []*Node {
	out := make([]*Node, len(nodes))
	for i, n := range nodes {
		out[i] = twin[n]
	}
	return out
}

// mergeSources makes one of several stream sources with the same topics, as Java does whatever the configuration: a topic
// is read once. The first keeps its name and gets the others' children, in the order of their declaration.
func (p *Plan) mergeSources() (faults []Fault) {
	first := map[string]*Node{}
	var kept []*Node
	for _, n := range p.Nodes {
		if n.Kind != Source || n.Table || n.Internal || n.Global || n.Alone {
			kept = append(kept, n)
			continue
		}
		main, ok := first[key(n)]
		if !ok {
			first[key(n)] = n
			kept = append(kept, n)
			continue
		}
		faults = append(faults, p.merge(main, n)...)
	}
	p.Nodes = kept
	return faults
}

// key tells whether two sources read the same.
func key(n *Node) string {
	if n.Pattern != nil {
		return "matching " + n.Pattern.String()
	}
	return fmt.Sprint(slices.Sorted(slices.Values(n.Topics)))
}

func (p *Plan) merge(main, n *Node) (faults []Fault) {
	if main.Types != n.Types {
		faults = append(faults, Fault{n.Site, n.Op, n.Name, fmt.Errorf("topic %s is read as %s here and as %s at %s:%d", key(n), n.Types, main.Types, main.Site.File, main.Site.Line)})
	}
	if !sameReset(main.Reset, n.Reset) {
		faults = append(faults, Fault{n.Site, n.Op, n.Name, fmt.Errorf("topic %s has another StartFrom at %s:%d", key(n), main.Site.File, main.Site.Line)})
	}
	p.moved[n] = main
	for _, c := range n.Children {
		for i, parent := range c.Parents {
			if parent == n {
				c.Parents[i] = main
			}
		}
		c.Parents = unique(c.Parents)
		main.Children = unique(append(main.Children, c))
	}
	return faults
}

func sameReset(a, b *opt.Reset) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// checkTopics finds topics that two sources claim: each partition is read once, by one source.
func (p *Plan) checkTopics() (faults []Fault) {
	owner := map[string]*Node{}
	for _, n := range p.Nodes {
		if n.Kind != Source {
			continue
		}
		for _, other := range p.Nodes {
			for _, t := range other.Topics {
				if other.Kind == Source && !other.Internal && n.Matches(t) {
					faults = append(faults, Fault{n.Site, n.Op, n.Name, fmt.Errorf("the pattern %s matches topic %q, which is already read at %s:%d", n.Pattern, t, other.Site.File, other.Site.Line)})
				}
			}
		}
		for _, t := range n.Topics {
			if other, ok := owner[t]; ok {
				faults = append(faults, Fault{n.Site, n.Op, n.Name, fmt.Errorf("topic %q is already read at %s:%d: use the stream or table made there", t, other.Site.File, other.Site.Line)})
			}
			owner[t] = n
		}
	}
	return faults
}

// group finds the sub-topologies: what hangs together by an edge or a shared store. They are numbered by their first node.
func (p *Plan) group() {
	root := make([]int, len(p.Nodes))
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			i = root[i]
		}
		return i
	}
	join := func(a, b int) { root[max(find(a), find(b))] = min(find(a), find(b)) }
	users := map[string]int{}
	for i, n := range p.Nodes {
		n.Index = i
		for _, parent := range n.Parents {
			join(i, parent.Index)
		}
		for _, s := range n.Stores {
			if u, ok := users[s]; ok {
				join(i, u)
			}
			users[s] = i
		}
	}
	ids := map[int]*Sub{}
	for i, n := range p.Nodes {
		sub, ok := ids[find(i)]
		if !ok {
			sub = &Sub{ID: len(p.Subs)}
			ids[find(i)] = sub
			p.Subs = append(p.Subs, sub)
		}
		n.sub = sub.ID
		sub.Global = sub.Global || n.Global
		sub.Nodes = append(sub.Nodes, n)
		if n.Kind == Source {
			sub.Sources = append(sub.Sources, n)
		}
	}
	p.attachStores(ids, find)
}

// attachStores gives each sub-topology its stores in the order in which its nodes name them, and a node's in the order of a
// HashSet: so Java has it, and flushes them in that order.
func (p *Plan) attachStores(ids map[int]*Sub, find func(int) int) {
	seen := map[string]bool{}
	for i, n := range p.Nodes {
		for _, name := range javaHashOrder(n.Stores) {
			if s, ok := p.byStore[name]; ok && !seen[name] {
				seen[name] = true
				sub := ids[find(i)]
				sub.Stores = append(sub.Stores, s)
			}
		}
	}
}

// Store finds a store and the sub-topology it belongs to.
func (p *Plan) Store(name string) (*Store, *Sub, bool) {
	for _, sub := range p.Subs {
		for _, s := range sub.Stores {
			if s.Name == name {
				return s, sub, true
			}
		}
	}
	return nil, nil, false
}
