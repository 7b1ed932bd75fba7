package run

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/assign"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// plain is an assignor of a plan with two sub-topologies, one of which reads two topics.
func plain(name string, log *bytes.Buffer) *assignor {
	p := &plan.Plan{App: "app", Subs: []*plan.Sub{{ID: 0}, {ID: 1}}}
	for i, topics := range [][]string{{"a", "b"}, {"c"}} {
		n := &plan.Node{Kind: plan.Source, Topics: topics}
		p.Nodes = append(p.Nodes, n)
		p.Subs[i].Sources = []*plan.Node{n}
	}
	e := &Engine{process: "0001", o: Options{Program: &task.Program{Plan: p}}}
	return &assignor{e: e, plan: p, log: slog.New(slog.NewTextHandler(log, nil)), name: func() string { return name }}
}

func joins(a *assignor, owned map[string][]int32, generation int32) []byte {
	return a.JoinGroupMetadata([]string{"a", "b", "c"}, owned, generation)
}

func shares(t *testing.T, a *assignor, members map[string][]byte) map[string]map[string][]int32 {
	t.Helper()
	var in []kmsg.JoinGroupResponseMember
	for id, said := range members {
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID, m.ProtocolMetadata = id, said
		in = append(in, m)
	}
	b, topics, err := a.MemberBalancer(in)
	if err != nil || len(topics) != 3 {
		t.Fatal(topics, err)
	}
	out := map[string]map[string][]int32{}
	for _, s := range b.Balance(map[string]int32{"a": 2, "b": 1, "c": 2}).IntoSyncAssignment() {
		if out[s.MemberID], err = a.ParseSyncAssignment(s.MemberAssignment); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestATaskIsGivenOnlyOnceItsOwnerHasLetGo(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := plain("x", &log)
	everything := map[string][]int32{"a": {0, 1}, "b": {0}, "c": {0, 1}}
	first := shares(t, a, map[string][]byte{"x": joins(a, everything, 1), "y": joins(a, nil, 0)})
	kept := first["x"]
	if len(first["y"]) > 0 || len(tasksOf(a.plan, kept)) != 2 {
		t.Fatalf("y gets %v while x has it; x keeps %v", first["y"], kept)
	}
	second := shares(t, a, map[string][]byte{"x": joins(a, kept, 2), "y": joins(a, nil, 2)})
	if !reflect.DeepEqual(second["x"], kept) || len(tasksOf(a.plan, second["y"])) != 2 {
		t.Fatalf("x has %v and gets %v, y gets %v", kept, second["x"], second["y"])
	}
	third := shares(t, a, map[string][]byte{"x": joins(a, second["x"], 3), "y": joins(a, second["y"], 3)})
	if !reflect.DeepEqual(third, second) {
		t.Fatalf("%v becomes %v with nothing changed", second, third)
	}
	if a.news().next != assign.Never {
		t.Errorf("a rebalance is planned for %d", a.news().next)
	}
}

func TestAMemberWithUnknownDataStillGetsTasks(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := plain("x", &log)
	strange := kmsg.NewConsumerMemberMetadata()
	strange.Topics, strange.UserData = []string{"a", "b", "c"}, []byte{0, 0, 0, 99, 0, 0, 0, 99}
	partial := kmsg.NewConsumerMemberMetadata() // of a program that reads less
	partial.Topics = []string{"c"}
	got := shares(t, a, map[string][]byte{"x": joins(a, nil, -1), "strange": strange.AppendTo(nil), "partial": partial.AppendTo(nil)})
	if len(got["strange"]) == 0 || len(got["partial"]["a"])+len(got["partial"]["b"]) > 0 {
		t.Errorf("got %v", got)
	}
	if !strings.Contains(log.String(), "unknown version") {
		t.Errorf("told %s", log.String())
	}
}

func TestAMemberTheGroupHasForgottenClaimsNothing(t *testing.T) {
	t.Parallel()
	a := plain("", &bytes.Buffer{})
	var m kmsg.ConsumerMemberMetadata
	if err := m.ReadFrom(joins(a, map[string][]int32{"a": {0}}, 7)); err != nil {
		t.Fatal(err)
	}
	s, err := assign.ReadSubscription(m.UserData)
	if err != nil || len(s.Offsets) > 0 || len(m.OwnedPartitions) > 0 || !a.news().orphaned {
		t.Errorf("claims %v, %v; orphaned: %t, %v", m.OwnedPartitions, s.Offsets, a.news().orphaned, err)
	}
}
