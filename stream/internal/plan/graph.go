// Package plan is a topology before it runs: nodes and their edges, Kafka Streams' names for them, sub-topologies, internal
// topics and the description. It knows no types and no bytes, asks nobody and starts nothing.
package plan

import (
	"fmt"
	"maps"
	"slices"

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
	Topics   []string // of a source or sink, without the application's prefix
	Internal bool     // Topics is one repartition topic
	Table    bool     // a source that a table is made of
	Parents  []*Node
	Children []*Node // in the order they were attached, which is that of forwarding
	Stores   []string
	Reset    *opt.Reset // of a source; nil is the application's
	Types    string     // what a source reads, for messages
	Op       string     // the operator that made it
	Site     Site
	Body     any // the typed edge's, opaque here

	sub int // union-find while the plan is made, then the sub-topology
}

// Sub is the sub-topology the node belongs to.
func (n *Node) Sub() int { return n.sub }

// Store is a state store.
type Store struct {
	Name   string
	Logged bool
	Cached bool              // an operator keeps it, not a user's processor: it is cached unless it says otherwise
	Config map[string]string // of the changelog, beyond the defaults
	Site   Site
	Body   any // the typed edge's, opaque here
}

// Repartition is a topic that the topology writes and reads itself.
type Repartition struct {
	Topic string // without the application's prefix
	Site  Site
}

// Graph collects nodes in the order of their declaration; a node comes after all its parents.
type Graph struct {
	nodes   []*Node
	names   map[string]*Node
	stores  []*Store
	byStore map[string]*Store
	parts   map[string]*Repartition
	counter int
	faults  []Fault
}

// NewGraph returns an empty Graph.
func NewGraph() *Graph {
	return &Graph{names: map[string]*Node{}, byStore: map[string]*Store{}, parts: map[string]*Repartition{}}
}

// Fault notes something wrong; Finish returns them all.
func (g *Graph) Fault(f Fault) { g.faults = append(g.faults, f) }

// Name is the next generated name of a node: the prefix and ten digits of a counter that the whole topology shares. Kafka
// Streams names internal topics by it, so it must be asked exactly where Java asks, used or not.
func (g *Graph) Name(prefix string) string {
	n := g.counter
	g.counter++
	return fmt.Sprintf("%s%010d", prefix, n)
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
	g.nodes = append(g.nodes, n)
	for _, p := range n.Parents {
		p.Children = append(p.Children, n)
	}
	return n
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

	byStore map[string]*Store
	parts   map[string]*Repartition
}

// Sub is a sub-topology: what one kind of task runs.
type Sub struct {
	ID      int
	Nodes   []*Node
	Sources []*Node
	Stores  []*Store // in the order they were declared
}

// Finish checks the graph and makes the plan of application app. The graph's own nodes are not changed, so it may be
// finished more than once.
func (g *Graph) Finish(app string) (*Plan, []Fault) {
	p := &Plan{App: app, Stores: g.stores, byStore: maps.Clone(g.byStore), parts: maps.Clone(g.parts)}
	faults := slices.Clone(g.faults)
	p.Nodes = copied(g.nodes)
	faults = append(faults, p.mergeSources()...)
	faults = append(faults, p.checkTopics()...)
	if len(p.Nodes) == 0 && len(faults) == 0 {
		faults = append(faults, Fault{Op: "topology", Err: fmt.Errorf("it has no source: begin with Stream or Table")})
	}
	p.group()
	return p, faults
}

// copied is a deep copy of the nodes, edges and all.
func copied(nodes []*Node) []*Node {
	twin := make(map[*Node]*Node, len(nodes))
	out := make([]*Node, len(nodes))
	for i, n := range nodes {
		c := *n
		twin[n], out[i] = &c, &c
	}
	for _, n := range out {
		n.Parents, n.Children = mapped(n.Parents, twin), mapped(n.Children, twin)
	}
	return out
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
		if n.Kind != Source || n.Table || n.Internal {
			kept = append(kept, n)
			continue
		}
		key := fmt.Sprint(slices.Sorted(slices.Values(n.Topics)))
		main, ok := first[key]
		if !ok {
			first[key] = n
			kept = append(kept, n)
			continue
		}
		faults = append(faults, p.merge(main, n)...)
	}
	p.Nodes = kept
	for i, n := range p.Nodes {
		n.Index = i
		slices.SortStableFunc(n.Children, func(a, b *Node) int { return a.Index - b.Index })
	}
	for _, n := range p.Nodes {
		slices.SortStableFunc(n.Children, func(a, b *Node) int { return a.Index - b.Index })
	}
	return faults
}

func (p *Plan) merge(main, n *Node) (faults []Fault) {
	if main.Types != n.Types {
		faults = append(faults, Fault{n.Site, n.Op, n.Name, fmt.Errorf("topic %s is read as %s here and as %s at %s:%d", n.Topics, n.Types, main.Types, main.Site.File, main.Site.Line)})
	}
	if !sameReset(main.Reset, n.Reset) {
		faults = append(faults, Fault{n.Site, n.Op, n.Name, fmt.Errorf("topic %s has another StartFrom at %s:%d", n.Topics, main.Site.File, main.Site.Line)})
	}
	for _, c := range n.Children {
		for i, parent := range c.Parents {
			if parent == n {
				c.Parents[i] = main
			}
		}
		main.Children = append(main.Children, c)
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
