package plan_test

import (
	"strings"
	"testing"

	"github.com/millrun/millrun/stream/internal/plan"
)

// sketch draws graphs for tests.
type sketch struct {
	g *plan.Graph
}

func newSketch() sketch { return sketch{plan.NewGraph()} }

var here = plan.Site{File: "here.go", Line: 7}

func (s sketch) node(k plan.Kind, name string, parents ...*plan.Node) *plan.Node {
	return s.g.Add(&plan.Node{Kind: k, Name: name, Parents: parents, Site: here, Op: "test"})
}

func (s sketch) source(topics ...string) *plan.Node {
	n := s.node(plan.Source, "read-"+topics[0])
	n.Topics = topics
	return n
}

// hop leads a node through a repartition topic of its name.
func (s sketch) hop(from *plan.Node, name string, partitions int32) *plan.Node {
	s.g.AddRepartition(&plan.Repartition{Topic: name, Partitions: partitions, Site: here})
	sink := s.node(plan.Sink, name+"-sink", s.node(plan.Processor, name+"-filter", from))
	source := s.node(plan.Source, name+"-source")
	sink.Topics, sink.Internal = []string{name}, true
	source.Topics, source.Internal = []string{name}, true
	return source
}

func (s sketch) join(a, b *plan.Node) *plan.Node {
	s.g.Copartition("Join", here, a, b)
	return s.node(plan.Processor, "join-"+a.Name+"-"+b.Name, a, b)
}

func (s sketch) finish(t *testing.T, r plan.Rules) *plan.Plan {
	t.Helper()
	r.App = "app"
	p, faults := s.g.Finish(r)
	for _, f := range faults {
		t.Fatalf("%s:%d: %v", f.File, f.Line, f.Err)
	}
	return p
}

// sizes finds the partitions of all topics, given those of the user.
func sizes(t *testing.T, p *plan.Plan, user map[string]int32) (map[string]int32, error) {
	t.Helper()
	_, err := p.Internal(user, nil)
	return user, err
}

func TestARepartitionTopicIsAsWideAsWhatLeadsThere(t *testing.T) {
	t.Parallel()
	s := newSketch()
	all := s.node(plan.Processor, "merge", s.source("a"), s.source("b", "c"))
	first := s.hop(all, "first", 0)
	s.hop(first, "second", 0)
	s.hop(all, "own", 2)
	s.hop(s.hop(all, "wide", 9), "behind", 0)
	got, err := sizes(t, s.finish(t, plan.Rules{}), map[string]int32{"a": 3, "b": 4, "c": 1})
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]int32{"app-first": 4, "app-second": 4, "app-own": 2, "app-wide": 9, "app-behind": 9} {
		if got[topic] != want {
			t.Errorf("%s has %d, want %d", topic, got[topic], want)
		}
	}
}

func TestJoinedTopicsAgree(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		draw func(s sketch)
		user map[string]int32
		want map[string]int32
		err  string
	}{
		{"a repartition topic follows a source", func(s sketch) {
			s.join(s.hop(s.source("a"), "x", 0), s.source("b"))
		}, map[string]int32{"a": 9, "b": 3}, map[string]int32{"app-x": 3}, ""},
		{"the wider of two repartition topics decides", func(s sketch) {
			s.join(s.hop(s.source("a"), "x", 0), s.hop(s.source("b"), "y", 0))
		}, map[string]int32{"a": 2, "b": 5}, map[string]int32{"app-x": 5, "app-y": 5}, ""},
		{"a number that was given decides over width", func(s sketch) {
			s.join(s.hop(s.source("a"), "x", 3), s.hop(s.source("b"), "y", 0))
		}, map[string]int32{"a": 2, "b": 5}, map[string]int32{"app-x": 3, "app-y": 3}, ""},
		{"groups with a topic in common are one", func(s sketch) {
			b := s.hop(s.source("b"), "y", 0)
			s.join(s.hop(s.source("a"), "x", 0), b)
			s.join(b, s.source("c"))
		}, map[string]int32{"a": 2, "b": 5, "c": 4}, map[string]int32{"app-x": 4, "app-y": 4}, ""},
		{"sources differ", func(s sketch) { s.join(s.source("a"), s.source("b")) },
			map[string]int32{"a": 2, "b": 3}, nil, "here.go:7: Join: topics that are joined need equally many partitions: a has 2, b has 3; lead one of them through Repartition"},
		{"a number that was given does not fit a source", func(s sketch) {
			s.join(s.hop(s.source("a"), "x", 7), s.source("b"))
		}, map[string]int32{"a": 2, "b": 3}, nil, `the repartition topic "app-x" was given 7 partitions, and the topics it is joined with have 3`},
		{"nothing leads there", func(s sketch) { s.hop(s.source("a"), "x", 0) }, map[string]int32{}, nil, "no topic leads there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSketch()
			c.draw(s)
			got, err := sizes(t, s.finish(t, plan.Rules{}), c.user)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for topic, want := range c.want {
				if got[topic] != want {
					t.Errorf("%s has %d, want %d", topic, got[topic], want)
				}
			}
		})
	}
}

func TestNumbersThatWereGivenMustAgree(t *testing.T) {
	t.Parallel()
	s := newSketch()
	s.join(s.hop(s.source("a"), "x", 3), s.hop(s.source("b"), "y", 4))
	_, faults := s.g.Finish(plan.Rules{App: "app"})
	if len(faults) != 1 || !strings.Contains(faults[0].Err.Error(), "app-x has 3, app-y has 4") || faults[0].Site != here {
		t.Errorf("got %v", faults)
	}
}

func TestMergedRepartitionsKeepTheGroup(t *testing.T) {
	t.Parallel()
	s := newSketch()
	key := s.node(plan.Processor, "key", s.source("a"))
	key.Rekeys = true
	s.node(plan.Processor, "count", s.hop(key, "x-repartition", 0))
	s.join(s.hop(key, "y-repartition", 0), s.source("b"))
	p := s.finish(t, plan.Rules{Optimize: plan.MergeRepartitionTopics})
	got, err := sizes(t, p, map[string]int32{"a": 9, "b": 3})
	if err != nil {
		t.Fatal(err)
	}
	if got["app-x-repartition"] != 3 || got["app-y-repartition"] != 0 {
		t.Errorf("got %v: the merged topic has to be as wide as what it is joined with", got)
	}
	var order []string
	for _, n := range p.Nodes {
		order = append(order, n.Name)
	}
	want := "read-a key x-repartition-filter x-repartition-sink x-repartition-source count read-b join-y-repartition-source-read-b"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestNamesThatWereLeftOpenAreFaults(t *testing.T) {
	t.Parallel()
	s := newSketch()
	n := s.node(plan.Processor, "count", s.hop(s.source("a"), s.g.StoreName("KSTREAM-AGGREGATE-")+"-repartition", 0))
	open, named := s.g.StoreName("KSTREAM-AGGREGATE-"), "mine-0000000001"
	n.Stores = []string{open, named, "global-STATE-STORE-0000000001"}
	s.g.AddStore(&plan.Store{Name: open, Logged: true, Site: here})
	s.g.AddStore(&plan.Store{Name: named, Logged: true, Site: here})
	s.g.AddStore(&plan.Store{Name: "global-STATE-STORE-0000000001", Global: true, Site: here})
	if p := s.finish(t, plan.Rules{}); p == nil {
		t.Fatal("names are free unless they are required")
	}
	_, faults := s.g.Finish(plan.Rules{App: "app", RequireNames: true})
	var said []string
	for _, f := range faults {
		said = append(said, f.Err.Error())
	}
	want := []string{
		"the repartition topic KSTREAM-AGGREGATE-STATE-STORE-0000000000-repartition has a generated name: name the operator by Named",
		"the store KSTREAM-AGGREGATE-STATE-STORE-0000000001 and its changelog have generated names: name it by As or Into",
	}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(said, "\n"))
	}
}

func TestNullKeysPassWhereALeftJoinIsReached(t *testing.T) {
	t.Parallel()
	s := newSketch()
	strict := s.hop(s.source("a"), "strict", 0)
	s.node(plan.Processor, "count", strict)
	lax := s.hop(s.source("b"), "lax", 0)
	far := s.hop(s.node(plan.Processor, "map", lax), "far", 0)
	s.node(plan.Processor, "left-join", far).Relaxed = true
	p := s.finish(t, plan.Rules{})
	for topic, want := range map[string]bool{"strict": false, "lax": true, "far": true} {
		if got := p.Repartition(topic).KeepNulls; got != want {
			t.Errorf("%s keeps nulls: %v", topic, got)
		}
	}
}

func TestARepartitionUsedAgainCountsAsDeclaredThen(t *testing.T) {
	t.Parallel()
	s := newSketch()
	key := s.node(plan.Processor, "key", s.source("a"))
	shared := s.hop(key, "shared", 0)
	s.node(plan.Processor, "one", shared)
	s.node(plan.Processor, "between", key)
	s.g.Renew("shared")
	s.node(plan.Processor, "two", shared)
	var order []string
	for _, n := range s.finish(t, plan.Rules{}).Nodes {
		order = append(order, n.Name)
	}
	if got := strings.Join(order, " "); got != "read-a key between shared-filter shared-sink shared-source one two" {
		t.Errorf("got %s", got)
	}
}
