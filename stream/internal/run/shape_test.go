package run

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/plan"
)

// TestTheTopologyThatAGroupIsTold has a repartition topic that is joined with a topic of the user's, and two changelogs.
func TestTheTopologyThatAGroupIsTold(t *testing.T) {
	t.Parallel()
	g := plan.NewGraph()
	node := func(k plan.Kind, name string, topics []string, internal bool, parents ...*plan.Node) *plan.Node {
		return g.Add(&plan.Node{Kind: k, Name: name, Topics: topics, Internal: internal, Parents: parents, Op: "test"})
	}
	g.AddRepartition(&plan.Repartition{Topic: "by-word", Partitions: 4})
	in := node(plan.Source, "in", []string{"zebras", "ants"}, false)
	node(plan.Sink, "out-of-here", []string{"by-word"}, true, in)
	back := node(plan.Source, "back", []string{"by-word"}, true)
	words := node(plan.Source, "words", []string{"words"}, false)
	join := node(plan.Processor, "join", nil, false, back, words)
	g.Copartition("Join", plan.Site{}, back, words)
	for _, name := range []string{"seen", "counts", "scratch"} {
		g.AddStore(&plan.Store{Name: name, Logged: name != "scratch"})
		join.Stores = append(join.Stores, name)
	}
	p, faults := g.Finish(plan.Rules{App: "app"})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	internal, err := p.Internal(map[string]int32{"zebras": 2, "ants": 1, "words": 4}, map[string]string{"max.message.bytes": "9"})
	if err != nil {
		t.Fatal(err)
	}
	got := shape(p, internal, 3)
	want := []string{
		"0 reads ants zebras; writes app-by-word",
		"1 reads words, app-by-word/4*3{cleanup.policy=delete max.message.bytes=9 message.timestamp.type=CreateTime retention.ms=-1 segment.bytes=52428800};" +
			" keeps app-counts-changelog/0*3{cleanup.policy=compact max.message.bytes=9 message.timestamp.type=CreateTime}" +
			" app-seen-changelog/0*3{cleanup.policy=compact max.message.bytes=9 message.timestamp.type=CreateTime}; together words app-by-word",
	}
	if len(got.Subtopologies) != len(want) || got.Epoch != 0 {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if s := described(&got.Subtopologies[i]); s != want[i] {
			t.Errorf("got  %s\nwant %s", s, want[i])
		}
	}
}

// described is a sub-topology in words.
func described(s *kmsg.StreamsGroupHeartbeatRequestTopologySubtopology) string {
	topics := func(all []kmsg.TopicInfo) (out []string) {
		for _, t := range all {
			var configs []string
			for _, c := range t.Configs {
				configs = append(configs, c.Key+"="+c.Value)
			}
			out = append(out, t.Topic+"/"+string('0'+t.NumPartitions)+"*"+string('0'+rune(t.ReplicationFactor))+"{"+strings.Join(configs, " ")+"}")
		}
		return out
	}
	out := s.SubtopologyID + " reads " + strings.Join(s.SourceTopics, " ")
	if r := topics(s.RepartitionSourceTopics); r != nil {
		out += ", " + strings.Join(r, " ")
	}
	if s.RepartitionSinkTopics != nil {
		out += "; writes " + strings.Join(s.RepartitionSinkTopics, " ")
	}
	if c := topics(s.StateChangelogTopics); c != nil {
		out += "; keeps " + strings.Join(c, " ")
	}
	for _, g := range s.CopartitionGroups {
		out += "; together"
		for _, i := range g.SourceTopics {
			out += " " + s.SourceTopics[i]
		}
		for _, i := range g.RepartitionSourceTopics {
			out += " " + s.RepartitionSourceTopics[i].Topic
		}
	}
	return out
}

func TestTheProtocolThatIsPicked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wanted Protocol
		facts  facts
		picks  Protocol
		says   string
	}{
		"a new group":                       {AutoProtocol, facts{speaks: true}, ClassicProtocol, "no streams group"},
		"a classic group":                   {AutoProtocol, facts{speaks: true, group: census{members: 2}}, ClassicProtocol, "its members use it"},
		"a streams group":                   {AutoProtocol, facts{speaks: true, group: census{streams: true, members: 2}}, StreamsProtocol, "it is a streams group"},
		"a streams group without members":   {AutoProtocol, facts{speaks: true, group: census{streams: true}}, StreamsProtocol, "it is a streams group"},
		"old brokers":                       {AutoProtocol, facts{}, ClassicProtocol, "streams.version=1"},
		"a pattern":                         {AutoProtocol, facts{speaks: true, patterns: true}, ClassicProtocol, "name the topics"},
		"classic is wanted":                 {ClassicProtocol, facts{speaks: true}, ClassicProtocol, "Config"},
		"streams is wanted":                 {StreamsProtocol, facts{speaks: true}, StreamsProtocol, "Config"},
		"streams is wanted of old brokers":  {StreamsProtocol, facts{}, AutoProtocol, "streams.version=1"},
		"streams is wanted with a pattern":  {StreamsProtocol, facts{speaks: true, patterns: true}, AutoProtocol, "name the topics"},
		"a static member":                   {AutoProtocol, facts{speaks: true, static: true, group: census{streams: true}}, ClassicProtocol, "InstanceID"},
		"streams is wanted statically":      {StreamsProtocol, facts{speaks: true, static: true}, AutoProtocol, "InstanceID"},
		"streams is wanted of others":       {StreamsProtocol, facts{speaks: true, group: census{members: 2}}, AutoProtocol, "stop them first"},
		"streams is wanted after a classic": {StreamsProtocol, facts{speaks: true, group: census{}}, StreamsProtocol, "Config"},
	} {
		streams, why, err := c.wanted.pick(c.facts)
		got := ClassicProtocol
		switch {
		case err != nil:
			got, why = AutoProtocol, err.Error()
		case streams:
			got = StreamsProtocol
		}
		if got != c.picks || !strings.Contains(why, c.says) {
			t.Errorf("%s: got %d because %s", name, got, why)
		}
	}
}
