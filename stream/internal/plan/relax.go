package plan

import "fmt"

// relax finds the repartition topics that take records without key: those from which a left or outer join of streams can be
// reached. All others drop them, whoever asked for the topic.
func (p *Plan) relax() {
	far := p.farSides()
	reach := map[*Node]bool{}
	var leads func(n *Node) bool
	leads = func(n *Node) bool {
		if known, ok := reach[n]; ok {
			return known
		}
		reach[n] = false
		found := n.Relaxed
		for _, c := range n.Children {
			found = leads(c) || found
		}
		for _, c := range far[n] {
			found = leads(c) || found
		}
		reach[n] = found
		return found
	}
	for _, n := range p.Nodes {
		if n.Kind == Source && n.Internal && leads(n) {
			if r, ok := p.parts[n.Topics[0]]; ok {
				r.KeepNulls = true
			}
		}
	}
}

// checkStores finds stores that no node opens.
func (p *Plan) checkStores() (faults []Fault) {
	used := map[string]bool{}
	for _, n := range p.Nodes {
		for _, s := range n.Stores {
			used[s] = true
		}
	}
	for _, s := range p.Stores {
		if !used[s.Name] {
			faults = append(faults, Fault{s.Site, "AddStore", s.Name, fmt.Errorf("nobody uses the store %q: name it in the Uses of a processor", s.Name)})
		}
	}
	return faults
}
