package plan

import (
	"cmp"
	"slices"
)

// optimize changes the plan as Kafka Streams' topology.optimization does, in its order.
func (p *Plan) optimize(o Optimization) {
	if o&ReuseSourceTopics != 0 {
		p.reuseSources()
	}
	if o&MergeRepartitionTopics != 0 {
		p.mergeRepartitions()
	}
	if o&SingleStoreSelfJoin != 0 {
		p.joinSelves()
	}
}

// reuseSources makes the topic of a table the changelog of its store where both hold the same.
func (p *Plan) reuseSources() {
	for _, n := range p.Nodes {
		if n.Kind != Source || !n.Table || n.Global || n.Edits {
			continue
		}
		for _, table := range n.Children {
			for _, name := range table.Stores {
				if s, ok := p.byStore[name]; ok && !s.Ending {
					s.Logged, s.Source = false, n.Topics[0]
				}
			}
		}
	}
}

// detour is the way through a repartition topic: three nodes that are one in Kafka Streams' graph.
type detour struct {
	topic                *Repartition
	filter, sink, source *Node
}

// detours are all of them, in the order of their declaration.
func (p *Plan) detours() []*detour {
	far := p.farSides()
	var out []*detour
	for _, n := range p.Nodes {
		r := p.parts[first(n.Topics)]
		if n.Kind != Sink || !n.Internal || r == nil || len(far[n]) != 1 || len(n.Parents) != 1 {
			continue
		}
		out = append(out, &detour{topic: r, filter: n.Parents[0], sink: n, source: far[n][0]})
	}
	slices.SortFunc(out, func(a, b *detour) int { return cmp.Compare(a.source.prio, b.source.prio) })
	return out
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// merged is a node that changes keys, or where streams merge that did, and the repartitions below that do the same work.
type merged struct {
	under   *Node
	detours []*detour
}

// mergeRepartitions puts one repartition right below each node that changes keys, in place of those below it. The topic has
// the name of the first, and the nodes around it are called after the topic.
func (p *Plan) mergeRepartitions() {
	done := map[*detour]bool{}
	for _, m := range p.mergeable() {
		m.detours = slices.DeleteFunc(m.detours, func(d *detour) bool { return done[d] || !allBelow(d.filter, m.under) })
		if len(m.detours) == 0 {
			continue
		}
		p.replace(m)
		for _, d := range m.detours {
			done[d] = true
		}
	}
	p.Nodes = slices.DeleteFunc(p.Nodes, func(n *Node) bool { return n.gone })
}

// mergeable finds what may be merged: automatic repartitions whose nearest node upwards that changes keys or values changes
// keys. Where streams merge in between, all of whose repartitions lie below, the merge takes the place of the key changers.
func (p *Plan) mergeable() []*merged {
	var out []*merged
	byNode := map[*Node]*merged{}
	for _, n := range p.Nodes {
		if n.Rekeys {
			m := &merged{under: n}
			byNode[n] = m
			out = append(out, m)
		}
	}
	up := p.upstream()
	for _, d := range p.detours() {
		if d.topic.Asked || d.topic.Table {
			continue
		}
		changes := up.find(d.filter, func(n *Node) bool { return n.Rekeys || n.Revalues })
		if changer := up.find(d.filter, func(n *Node) bool { return n.Rekeys }); changer != nil && changer == changes {
			byNode[changer].detours = append(byNode[changer].detours, d)
		}
	}
	return p.atMerges(out, up)
}

// allBelow says whether every way up from n leads to top before the key, the value or the topic changes again. Kafka Streams
// does not ask: where a stream comes in from the side, it then lets its records go past the repartition.
func allBelow(n, top *Node) bool {
	for _, parent := range n.Parents {
		if parent != top && (parent.Rekeys || parent.Revalues || !allBelow(parent, top)) {
			return false
		}
	}
	return len(n.Parents) > 0
}

func (p *Plan) atMerges(all []*merged, up upstream) []*merged {
	moved := map[*merged]bool{}
	var merges []*merged
	for _, n := range p.Nodes {
		if !n.Merges {
			continue
		}
		at := &merged{under: n}
		for _, m := range all {
			below := !slices.ContainsFunc(m.detours, func(d *detour) bool { return up.child(d.filter, n) == nil })
			if below && up.child(n, m.under) != nil {
				at.detours = append(at.detours, m.detours...)
				moved[m] = true
			}
		}
		merges = append(merges, at)
	}
	slices.Reverse(merges) // the lowest merge first: what lies below it needs no other
	all = slices.DeleteFunc(all, func(m *merged) bool { return moved[m] })
	return append(all, merges...)
}

// replace puts the first of the detours below the node and takes the others out.
func (p *Plan) replace(m *merged) {
	one := m.detours[0]
	up := p.upstream()
	var heads []*Node
	for _, d := range m.detours {
		if c := up.child(d.filter, m.under); c != nil && c != d.filter {
			heads = append(heads, c)
		}
	}
	var below []*Node // what hung behind each detour, and on what it hangs now
	for _, d := range m.detours {
		before := d.filter.Parents
		for _, parent := range before {
			parent.Children = without(parent.Children, d.filter)
		}
		for _, c := range d.source.Children {
			c.Parents = without(c.Parents, d.source)
			for _, parent := range before {
				if parent == m.under {
					below = append(below, c)
					continue
				}
				link(parent, c)
			}
		}
		d.source.Children = nil
		if d != one {
			p.remove(d, one)
		}
	}
	one.filter.Parents = nil
	for _, c := range heads {
		m.under.Children = without(m.under.Children, c)
		c.Parents = without(c.Parents, m.under)
	}
	link(m.under, one.filter)
	for _, c := range slices.Concat(heads, below) {
		link(one.source, c)
	}
	topic := one.topic.Topic
	one.filter.Name, one.sink.Name, one.source.Name = topic+"-filter", topic+"-sink", topic+"-source"
	one.filter.prio, one.sink.prio, one.source.prio = m.under.prio+1, m.under.prio+2, m.under.prio+3
}

// remove takes a detour out for another, which gets its serdes where it has none.
func (p *Plan) remove(d, one *detour) {
	if one.topic.Key == nil {
		one.topic.Key = d.topic.Key
	}
	if one.topic.Value == nil {
		one.topic.Value = d.topic.Value
	}
	for _, n := range []*Node{d.filter, d.sink, d.source} {
		n.gone = true
	}
	p.moved[d.source] = one.source
	delete(p.parts, d.topic.Topic)
}

func link(parent, child *Node) {
	child.Parents = unique(append(child.Parents, parent))
	parent.Children = unique(append(parent.Children, child))
}

func without(nodes []*Node, n *Node) []*Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(o *Node) bool { return o == n })
}

// upstream walks a graph upwards as Kafka Streams sees it: through repartition topics.
type upstream map[*Node][]*Node

func (p *Plan) upstream() upstream {
	up := upstream{}
	for _, n := range p.Nodes {
		up[n] = n.Parents
	}
	for sink, sources := range p.farSides() {
		for _, s := range sources {
			up[s] = []*Node{sink}
		}
	}
	return up
}

// find is the node itself or one above it that satisfies want. Of several ways up the last decides, unless one of the
// parents themselves does: so Kafka Streams searches, and internal names depend on it.
func (up upstream) find(n *Node, want func(*Node) bool) (found *Node) {
	if want(n) {
		return n
	}
	for _, parent := range up[n] {
		if want(parent) {
			return parent
		}
		found = up.find(parent, want)
	}
	return found
}

// child is n or the node above it that hangs right below top.
func (up upstream) child(n, top *Node) *Node {
	return up.find(n, func(n *Node) bool { return slices.Contains(up[n], top) })
}

// SelfJoin says what becomes of a join of streams whose sides are one stream: Merge does all the work with the store of
// Left, and the other nodes and their stores are not needed.
type SelfJoin struct {
	Left, Right *Node // keep the records of their sides
	This, Other *Node // join them
	Merge       *Node
	Store       string // Left's
	Body        any    // Merge's, then
}

// joinSelves finds the joins whose sides come from one node.
func (p *Plan) joinSelves() {
	for _, j := range p.selves {
		if len(j.Left.Parents) != 1 || len(j.Right.Parents) != 1 || j.Left.Parents[0] != j.Right.Parents[0] {
			continue
		}
		parent := j.Right.Parents[0]
		parent.Children = without(parent.Children, j.Right)
		spare := slices.Concat(j.Right.Stores, j.This.Stores, j.Other.Stores)
		for _, n := range []*Node{j.Right, j.This, j.Other} {
			n.gone = true
		}
		j.Left.Children = without(j.Left.Children, j.This)
		j.Merge.Parents, j.Merge.Stores, j.Merge.Body = nil, []string{j.Store}, j.Body
		link(j.Left, j.Merge)
		p.Nodes = slices.DeleteFunc(p.Nodes, func(n *Node) bool { return n.gone })
		p.Stores = slices.DeleteFunc(p.Stores, func(s *Store) bool { return s.Name != j.Store && slices.Contains(spare, s.Name) })
	}
}
