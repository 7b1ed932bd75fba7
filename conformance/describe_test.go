package conformance_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrun/millrun/conformance/set"
	"github.com/millrun/millrun/stream"
)

// optimizations are the values of topology.optimization that a set has descriptions for.
var optimizations = []string{"all", "merge.repartition.topics", "reuse.ktable.source.topics", "single.store.self.join"}

// built is the topology as it would run with some settings.
func (t *topology) built(settings map[string]string) (*stream.Topology, error) {
	c, err := t.configured(settings)
	if err != nil {
		return nil, err
	}
	c.Brokers = []string{"nowhere:9092"} // nobody asks it
	app, err := stream.NewApp(t.define(), c)
	if err != nil {
		return nil, err
	}
	return app.Topology(), nil
}

// described compares a description. The plain one also stands for each optimization that has none of its own.
func (t *topology) described(s set.Set, file, how string) string {
	want := string(s[file])
	if how != "" {
		return t.describe(want, how)
	}
	if diff := t.describe(want, ""); diff != "" {
		return diff
	}
	if _, own := t.config[optimization]; own {
		return ""
	}
	for _, o := range optimizations {
		if _, own := s[strings.TrimSuffix(file, "txt")+o+".txt"]; own {
			continue
		}
		if diff := t.describe(want, o); diff != "" {
			return fmt.Sprintf("with %s=%s, which should change nothing: %s", optimization, o, diff)
		}
	}
	return ""
}

func (t *topology) describe(want, how string) string {
	settings := t.settings()
	if how != "" {
		settings[optimization] = how
	}
	top, err := t.built(settings)
	if err != nil {
		return err.Error()
	}
	got := top.Describe()
	if got == want {
		return ""
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	i := 0
	for i < len(g) && i < len(w) && g[i] == w[i] {
		i++
	}
	at := func(lines []string) string {
		if i < len(lines) {
			return fmt.Sprintf("%q", lines[i])
		}
		return "the end"
	}
	return fmt.Sprintf("line %d: got %s, want %s", i+1, at(g), at(w))
}

// group is what the topology asks of the broker for one sub-topology.
type group struct {
	Subtopology int                      `json:"subtopology"`
	Sources     []string                 `json:"sources"`
	Sinks       []string                 `json:"sinks"`
	Repartition map[string]internalTopic `json:"repartition"`
	Changelog   map[string]internalTopic `json:"changelog"`
}

type internalTopic struct {
	Partitions int               `json:"partitions,omitempty"`
	Enforced   bool              `json:"enforcePartitions"`
	Config     map[string]string `json:"config"`
}

// needs compares the internal topics.
func (t *topology) needs(want []byte) string {
	var groups []group
	if err := json.Unmarshal(want, &groups); err != nil {
		return err.Error()
	}
	top, err := t.built(t.settings())
	if err != nil {
		return err.Error()
	}
	got := grouped(top.Graph(), t.settings()["application.id"])
	for i := range max(len(got), len(groups)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("no sub-topology %d", groups[i].Subtopology)
		case i >= len(groups):
			return fmt.Sprintf("sub-topology %d is too many", got[i].Subtopology)
		}
		if g, w := shown(got[i]), shown(groups[i]); g != w {
			return fmt.Sprintf("sub-topology %d:\n\t\tgot  %s\n\t\twant %s", groups[i].Subtopology, g, w)
		}
	}
	return ""
}

// grouped arranges a graph by sub-topology, as a set has it. What serves a global store belongs to none.
func grouped(g stream.Graph, app string) []group {
	groups := map[int]*group{}
	internal := map[string]bool{}
	for _, n := range g.Nodes {
		if n.Subtopology >= 0 && groups[n.Subtopology] == nil {
			groups[n.Subtopology] = &group{
				Subtopology: n.Subtopology, Sources: []string{}, Sinks: []string{},
				Repartition: map[string]internalTopic{}, Changelog: map[string]internalTopic{},
			}
		}
	}
	for _, x := range g.Topics {
		to := groups[x.Subtopology].Repartition
		if x.Changelog {
			to = groups[x.Subtopology].Changelog
		} else {
			internal[x.Name] = true
		}
		to[x.Name] = internalTopic{x.Partitions, x.Partitions > 0, x.Config}
	}
	for _, n := range g.Nodes {
		if n.Subtopology < 0 {
			continue
		}
		into := map[string]*[]string{"Source": &groups[n.Subtopology].Sources, "Sink": &groups[n.Subtopology].Sinks}[n.Kind]
		for _, topic := range n.Topics {
			if into != nil {
				*into = append(*into, prefixed(topic, app, internal))
			}
		}
	}
	var out []group
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		x := groups[id]
		if len(x.Sources) == 0 {
			continue // it reads a pattern: no topic of it is known before a broker has been asked, and a set has none
		}
		slices.Sort(x.Sources)
		slices.Sort(x.Sinks)
		x.Sources, x.Sinks = slices.Compact(x.Sources), slices.Compact(x.Sinks)
		out = append(out, *x)
	}
	return out
}

// prefixed is a topic as the broker knows it.
func prefixed(topic, app string, internal map[string]bool) string {
	if name := app + "-" + topic; internal[name] {
		return name
	}
	return topic
}
