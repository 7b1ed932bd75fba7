package plan

import (
	"container/heap"
	"slices"
)

// order puts the nodes in the order in which Kafka Streams writes its graph: the earliest declared of those whose parents
// are written. That is the order of declaration but where the plan has moved nodes. Children and parents follow.
func (p *Plan) order() {
	written := make(map[*Node]bool, len(p.Nodes))
	out := make([]*Node, 0, len(p.Nodes))
	q := &byPrio{}
	for _, n := range p.Nodes {
		if len(n.Parents) == 0 && !n.Internal {
			heap.Push(q, n)
		}
	}
	far := p.farSides()
	for q.Len() > 0 {
		n := heap.Pop(q).(*Node)
		if written[n] || slices.ContainsFunc(n.Parents, func(parent *Node) bool { return !written[parent] }) {
			continue
		}
		written[n] = true
		out = append(out, n)
		for _, c := range slices.Concat(n.Children, far[n]) {
			heap.Push(q, c)
		}
	}
	p.Nodes = out
	for i, n := range p.Nodes {
		n.Index = i
	}
	for _, n := range p.Nodes {
		slices.SortStableFunc(n.Children, func(a, b *Node) int { return a.Index - b.Index })
	}
}

// farSides are the sources behind each sink of a repartition topic.
func (p *Plan) farSides() map[*Node][]*Node {
	sources := map[string][]*Node{}
	for _, n := range p.Nodes {
		if n.Kind == Source && n.Internal {
			sources[n.Topics[0]] = append(sources[n.Topics[0]], n)
		}
	}
	out := map[*Node][]*Node{}
	for _, n := range p.Nodes {
		if n.Kind == Sink && n.Internal {
			out[n] = sources[n.Topics[0]]
		}
	}
	return out
}

// byPrio is a heap of nodes, the earliest declared first.
type byPrio []*Node

// Len is the number of nodes.
func (h byPrio) Len() int { return len(h) }

// Less compares the places of declaration.
func (h byPrio) Less(i, j int) bool { return h[i].prio < h[j].prio }

// Swap exchanges two nodes.
func (h byPrio) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push appends a node.
func (h *byPrio) Push(n any) { *h = append(*h, n.(*Node)) }

// Pop takes the last node off.
func (h *byPrio) Pop() any {
	last := len(*h) - 1
	n := (*h)[last]
	*h = (*h)[:last]
	return n
}
