package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// together are nodes whose records meet by key, so the topics they come from must have equally many partitions.
type together struct {
	nodes []*Node
	op    string
	site  Site
}

// Copartition says that the records of these nodes meet by key in the last of them or below: the sides of a join. What leads
// to them through a topic is taken from there.
func (g *Graph) Copartition(op string, site Site, nodes ...*Node) {
	g.together = append(g.together, together{slices.Clone(nodes), op, site})
}

// group is a set of topics that have equally many partitions, as the broker knows them.
type group struct {
	topics map[string]bool
	op     string
	site   Site
}

// groups are the sets, those with a topic in common made one. Topics by pattern are in none.
func (p *Plan) groups() []*group {
	var out []*group
	for _, t := range p.together {
		g := &group{map[string]bool{}, t.op, t.site}
		for _, n := range t.nodes {
			p.sources(n, g.topics)
		}
		out = slices.DeleteFunc(out, func(old *group) bool {
			for topic := range old.topics {
				if g.topics[topic] {
					maps.Copy(g.topics, old.topics)
					g.op, g.site = old.op, old.site
					return true
				}
			}
			return false
		})
		out = append(out, g)
	}
	return out
}

// Copartitioned are the sets of topics, as the broker knows them, that must have equally many partitions; all sorted.
func (p *Plan) Copartitioned() [][]string {
	var out [][]string
	for _, g := range p.groups() {
		if len(g.topics) > 1 {
			out = append(out, slices.Sorted(maps.Keys(g.topics)))
		}
	}
	slices.SortFunc(out, slices.Compare)
	return out
}

// sources collects the topics that lead to a node without another topic in between.
func (p *Plan) sources(n *Node, into map[string]bool) {
	for p.moved[n] != nil {
		n = p.moved[n]
	}
	if n.Kind == Source {
		for _, t := range n.Topics {
			into[p.Topic(t, n.Internal)] = true
		}
	}
	for _, parent := range n.Parents {
		p.sources(parent, into)
	}
}

// checkPartitions finds repartition topics that should have equally many partitions and were given different numbers.
func (p *Plan) checkPartitions() (faults []Fault) {
	given := p.given()
	for _, g := range p.groups() {
		numbers := map[string]int32{}
		for t := range g.topics {
			if given[t] == 0 {
				numbers = nil
				break
			}
			numbers[t] = given[t]
		}
		if !equal(numbers) {
			faults = append(faults, Fault{g.site, g.op, "", fmt.Errorf("topics that are joined need equally many partitions: %s; lead one of them through Repartition", listed(numbers))})
		}
	}
	return faults
}

// given are the partitions of repartition topics for which the user has said a number.
func (p *Plan) given() map[string]int32 {
	out := map[string]int32{}
	for _, r := range p.parts {
		if r.Partitions > 0 {
			out[p.Topic(r.Topic, true)] = r.Partitions
		}
	}
	return out
}

// agree makes the repartition topics of each group as wide as its other topics, or, where there are none, as the numbers the
// user gave or else the widest. What cannot agree is an error.
func (p *Plan) agree(partitions map[string]int32) error {
	given := p.given()
	for _, g := range p.groups() {
		n, err := p.common(g, given, partitions)
		if err != nil {
			return err
		}
		for t := range g.topics {
			if !p.internal(t) {
				continue
			}
			if given[t] > 0 && given[t] != n {
				return g.fault("the repartition topic %q was given %d partitions, and the topics it is joined with have %d", t, given[t], n)
			}
			partitions[t] = n
		}
	}
	return nil
}

func (p *Plan) common(g *group, given, partitions map[string]int32) (n int32, err error) {
	outside, fixed := map[string]int32{}, map[string]int32{}
	for t := range g.topics {
		if !p.internal(t) {
			outside[t] = partitions[t]
		} else if given[t] > 0 {
			fixed[t] = given[t]
		}
		n = max(n, partitions[t])
	}
	for _, numbers := range []map[string]int32{outside, fixed} {
		if !equal(numbers) {
			return 0, g.fault("topics that are joined need equally many partitions: %s; lead one of them through Repartition", listed(numbers))
		}
		for _, same := range numbers {
			return same, nil
		}
	}
	return n, nil
}

func (g *group) fault(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s: %w", g.site.File, g.site.Line, g.op, fmt.Errorf(format, args...))
}

func (p *Plan) internal(topic string) bool {
	name, ok := strings.CutPrefix(topic, p.App+"-")
	return ok && p.parts[name] != nil
}

func equal(numbers map[string]int32) bool {
	return len(slices.Compact(slices.Sorted(maps.Values(numbers)))) <= 1
}

func listed(numbers map[string]int32) string {
	var out []string
	for _, t := range slices.Sorted(maps.Keys(numbers)) {
		out = append(out, fmt.Sprintf("%s has %d", t, numbers[t]))
	}
	return strings.Join(out, ", ")
}
