package plan

import (
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// InternalTopic is a topic that the application makes for itself.
type InternalTopic struct {
	Name       string // as the broker knows it
	Partitions int32
	Config     map[string]string
}

// Topic is a topic's name on the broker: internal ones carry the application's id.
func (p *Plan) Topic(name string, internal bool) string {
	if internal {
		return p.App + "-" + name
	}
	return name
}

// Changelog is the topic that keeps a store.
func (p *Plan) Changelog(store string) string { return p.App + "-" + store + "-changelog" }

// SourceTopics are all topics that tasks read, as the broker knows them, sorted. Those that match a pattern are not known.
func (p *Plan) SourceTopics() []string {
	return p.topics(func(n *Node) bool { return n.Kind == Source && !n.Global })
}

// GlobalTopics are the topics of global stores, sorted.
func (p *Plan) GlobalTopics() []string {
	return p.topics(func(n *Node) bool { return n.Kind == Source && n.Global })
}

// UserTopics are the topics of the given kind that the application does not make itself, sorted.
func (p *Plan) UserTopics(k Kind) []string {
	return p.topics(func(n *Node) bool { return n.Kind == k && !n.Internal })
}

func (p *Plan) topics(of func(*Node) bool) []string {
	seen := map[string]bool{}
	for _, n := range p.Nodes {
		if !of(n) {
			continue
		}
		for _, t := range n.Topics {
			seen[p.Topic(t, n.Internal)] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Topics are the topics a sub-topology reads, as the broker knows them, sorted.
func (p *Plan) Topics(sub *Sub) []string {
	var out []string
	if sub.Global {
		return nil
	}
	for _, n := range sub.Sources {
		for _, t := range n.Topics {
			out = append(out, p.Topic(t, n.Internal))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TopicsAmong are the topics a sub-topology reads, out of names that are known to be there also those that match a pattern.
// Sorted.
func (p *Plan) TopicsAmong(sub *Sub, known iter.Seq[string]) []string {
	out := p.Topics(sub)
	if sub.Global || !slices.ContainsFunc(sub.Sources, func(n *Node) bool { return n.Pattern != nil }) {
		return out
	}
	for t := range known {
		if slices.ContainsFunc(sub.Sources, func(n *Node) bool { return n.Pattern != nil && p.Reads(n, t) }) {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Reads says whether a source reads a topic, by its name on the broker. No pattern matches what the application or the broker
// made for itself.
func (p *Plan) Reads(n *Node, topic string) bool {
	if n.Kind != Source || n.Global {
		return false
	}
	if slices.ContainsFunc(n.Topics, func(t string) bool { return p.Topic(t, n.Internal) == topic }) {
		return true
	}
	return n.Matches(topic) && !strings.HasPrefix(topic, "__") && !p.internal(topic) && !p.changelog(topic)
}

func (p *Plan) changelog(topic string) bool {
	return slices.ContainsFunc(p.Stores, func(s *Store) bool { return s.Logged && p.Changelog(s.Name) == topic })
}

// Patterns are those that sources read by; nil if there are none.
func (p *Plan) Patterns() (out []*regexp.Regexp) {
	for _, n := range p.Nodes {
		if n.Pattern != nil {
			out = append(out, n.Pattern)
		}
	}
	return out
}

// Tasks is how many tasks a sub-topology has: the most partitions of any of its topics.
func (p *Plan) Tasks(sub *Sub, partitions map[string]int32) int32 {
	var n int32
	for _, t := range p.TopicsAmong(sub, maps.Keys(partitions)) {
		n = max(n, partitions[t])
	}
	return n
}

// Internal finds the partitions of the repartition topics and adds them to partitions, which holds those of the user's
// topics; then it lists every internal topic with the configuration Kafka Streams gives it. overrides are configurations
// for all of them.
func (p *Plan) Internal(partitions map[string]int32, overrides map[string]string) ([]InternalTopic, error) {
	maps.Copy(partitions, p.given())
	if err := p.derive(partitions); err != nil {
		return nil, err
	}
	if err := p.agree(partitions); err != nil {
		return nil, err
	}
	var out []InternalTopic
	for _, name := range slices.Sorted(maps.Keys(p.parts)) {
		topic := p.Topic(name, true)
		out = append(out, InternalTopic{topic, partitions[topic], config(overrides, nil, repartitionConfig)})
	}
	for _, sub := range p.Subs {
		for _, s := range sub.Stores {
			if s.Logged {
				out = append(out, InternalTopic{p.Changelog(s.Name), p.Tasks(sub, partitions), s.changelog(overrides)})
			}
		}
	}
	return out, nil
}

// What Kafka Streams sets on its internal topics.
var (
	repartitionConfig = map[string]string{
		"cleanup.policy": "delete", "segment.bytes": "52428800", "retention.ms": "-1", "message.timestamp.type": "CreateTime",
	}
	changelogConfig = map[string]string{"cleanup.policy": "compact", "message.timestamp.type": "CreateTime"}
)

// Need is an internal topic as the topology alone knows it, before anybody has asked a broker.
type Need struct {
	Sub        int    // whose source, or whose store
	Name       string // as the broker knows it
	Changelog  bool
	Partitions int32 // 0: follows from the topics that are read
	Config     map[string]string
}

// Needs are the internal topics, by sub-topology, repartition topics first, then by name.
func (p *Plan) Needs() []Need {
	var out []Need
	for _, sub := range p.Subs {
		for _, n := range sub.Sources {
			if n.Internal {
				name := n.Topics[0]
				out = append(out, Need{
					Sub: sub.ID, Name: p.Topic(name, true), Partitions: p.parts[name].Partitions, Config: config(nil, nil, repartitionConfig),
				})
			}
		}
		for _, s := range sub.Stores {
			switch {
			case s.Global:
			case s.Source != "": // not made by the application, but asked to be kept as a changelog is
				out = append(out, Need{Sub: sub.ID, Name: s.Source, Changelog: true, Config: s.changelog(nil)})
			case s.Logged:
				out = append(out, Need{Sub: sub.ID, Name: p.Changelog(s.Name), Changelog: true, Config: s.changelog(nil)})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Need) int {
		switch {
		case a.Sub != b.Sub:
			return a.Sub - b.Sub
		case a.Changelog != b.Changelog:
			return map[bool]int{false: -1, true: 1}[a.Changelog]
		default:
			return strings.Compare(a.Name, b.Name)
		}
	})
	return out
}

// changelog is the configuration of a store's changelog.
func (s *Store) changelog(overrides map[string]string) map[string]string {
	defaults := maps.Clone(changelogConfig)
	maps.Copy(defaults, s.Defaults)
	out := config(overrides, s.Imposed, defaults)
	maps.Copy(out, s.Config)
	return out
}

// config lays the settings over each other: Kafka Streams' defaults, then the application's, then the store's own.
func config(overrides, own, defaults map[string]string) map[string]string {
	out := maps.Clone(defaults)
	maps.Copy(out, overrides)
	maps.Copy(out, own)
	return out
}

// derive gives each repartition topic as many partitions as the widest topic that its writers' sub-topology reads. Those may
// be repartition topics themselves, so it goes round until nothing is open. The two topics of a foreign-key join lead from
// either side to the other: there the topics that are known decide.
func (p *Plan) derive(partitions map[string]int32) error {
	writers := map[string][]int{}
	for _, n := range p.Nodes {
		if n.Kind == Sink && n.Internal {
			t := p.Topic(n.Topics[0], true)
			writers[t] = append(writers[t], n.sub)
		}
	}
	maps.DeleteFunc(writers, func(t string, _ []int) bool { return partitions[t] > 0 })
	open := slices.Sorted(maps.Keys(writers))
	for len(open) > 0 {
		left := p.widen(open, writers, partitions, false)
		if len(left) == len(open) {
			left = p.widen(open, writers, partitions, true)
		}
		if len(left) == len(open) {
			return fmt.Errorf("how many partitions %v should have is not known: no topic leads there, or only each other", left)
		}
		open = left
	}
	return nil
}

// widen sets the partitions of those open topics whose sources are known, or, if partial, of the first of which some are. It
// returns the others.
func (p *Plan) widen(open []string, writers map[string][]int, partitions map[string]int32, partial bool) (left []string) {
	for _, t := range open {
		n, all := p.width(writers[t], partitions)
		if all || partial && n > 0 {
			partitions[t], partial = n, false
			continue
		}
		left = append(left, t)
	}
	return left
}

// width is the most partitions of any known topic that the sub-topologies read, and whether all of them are known.
func (p *Plan) width(subs []int, partitions map[string]int32) (n int32, all bool) {
	all = true
	for _, id := range subs {
		for _, t := range p.TopicsAmong(p.Subs[id], maps.Keys(partitions)) {
			c, ok := partitions[t]
			all = all && ok
			n = max(n, c)
		}
	}
	return n, all && n > 0 // a pattern may match nothing yet
}
