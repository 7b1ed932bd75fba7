package plan

import (
	"slices"
	"strings"
)

// Describe is Kafka Streams' TopologyDescription.toString of 4.3, byte for byte.
func (p *Plan) Describe() string {
	var b strings.Builder
	b.WriteString("Topologies:\n ")
	for _, sub := range p.Subs {
		describeSub(&b, sub)
	}
	return b.String()
}

// shown is a node in the making of a description, in Java TopologyDescription's AbstractNode.
type shown struct {
	n            *Node
	size         int
	predecessors *javaTreeSet
	successors   *javaTreeSet
}

// before is Java's NODE_COMPARATOR: the larger subtree first, then the name.
func before(a, b *shown) int {
	if a == b {
		return 0
	}
	if a.size != b.size {
		return b.size - a.size
	}
	return strings.Compare(a.n.Name, b.n.Name)
}

// grow adds to the size of a node and of all that lead to it, once for each path, as Java does.
func (s *shown) grow(by int) {
	s.size += by
	for _, p := range s.predecessors.ordered() {
		p.grow(by)
	}
}

func describeSub(b *strings.Builder, sub *Sub) {
	byNode := map[*Node]*shown{}
	names := make([]string, len(sub.Nodes))
	byName := map[string]*shown{}
	for i, n := range sub.Nodes {
		s := &shown{n: n, size: 1, predecessors: &javaTreeSet{}, successors: &javaTreeSet{}}
		byNode[n], byName[n.Name] = s, s
		names[i] = n.Name
	}
	// Java walks a HashMap here while the sizes, by which the sets are ordered, still grow. So its order shows.
	for _, name := range javaHashOrder(names) {
		s := byName[name]
		for _, parent := range s.n.Parents {
			p := byNode[parent]
			s.predecessors.add(p)
			p.successors.add(s)
			p.grow(s.size)
		}
	}
	all := make([]*shown, 0, len(byNode))
	for _, s := range byNode {
		all = append(all, s)
	}
	slices.SortFunc(all, before)
	b.WriteString("  Sub-topology: ")
	b.WriteString(itoa(sub.ID))
	if sub.Global {
		b.WriteString(" for global store (will not generate tasks)")
	}
	b.WriteString("\n")
	for _, s := range all {
		s.write(b)
	}
	if !sub.Global {
		b.WriteString("\n")
	}
}

func (s *shown) write(b *strings.Builder) {
	b.WriteString("    " + s.n.Kind.String() + ": " + s.n.Name)
	switch s.n.Kind {
	case Source:
		topics := "[" + strings.Join(javaHashOrder(s.n.Topics), ", ") + "]"
		if s.n.Pattern != nil {
			topics = s.n.Pattern.String()
		}
		b.WriteString(" (topics: " + topics + ")\n")
	case Processor:
		b.WriteString(" (stores: [" + strings.Join(javaHashOrder(s.n.Stores), ", ") + "])\n")
	case Sink:
		if s.n.Dynamic != "" {
			b.WriteString(" (extractor class: " + s.n.Dynamic + ")\n")
			break
		}
		b.WriteString(" (topic: " + s.n.Topics[0] + ")\n")
	}
	if s.n.Kind != Sink {
		b.WriteString("      --> " + list(s.successors) + "\n")
	}
	if s.n.Kind != Source {
		b.WriteString("      <-- " + list(s.predecessors) + "\n")
	}
}

func list(set *javaTreeSet) string {
	nodes := set.ordered()
	if len(nodes) == 0 {
		return "none"
	}
	names := make([]string, len(nodes))
	for i, s := range nodes {
		names[i] = s.n.Name
	}
	return strings.Join(names, ", ")
}
