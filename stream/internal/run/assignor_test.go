package run

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
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
	return &assignor{e: e, plan: p, ends: func([]assign.Task) map[task.ID]int64 { return nil }, log: slog.New(slog.NewTextHandler(log, nil)), name: func() string { return name }}
}

func joins(a *assignor, owned map[string][]int32, generation int32) []byte {
	return a.JoinGroupMetadata([]string{"a", "b", "c"}, owned, generation)
}

// said are members, of whom each says something.
func said(members map[string][]byte) (in []kmsg.JoinGroupResponseMember) {
	for id, b := range members {
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID, m.ProtocolMetadata = id, b
		in = append(in, m)
	}
	return in
}

func shares(t *testing.T, a *assignor, members map[string][]byte) map[string]map[string][]int32 {
	t.Helper()
	b, topics, err := a.MemberBalancer(said(members))
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

// TestTheLeaderHasATaskWarmedUpBeforeItMoves follows a member that joins one which has much of a store.
func TestTheLeaderHasATaskWarmedUpBeforeItMoves(t *testing.T) {
	t.Parallel()
	leader, joins := plain("x", &bytes.Buffer{}), plain("y", &bytes.Buffer{})
	joins.e = &Engine{process: "0002", o: leader.e.o}
	for _, a := range []*assignor{leader, joins} {
		a.plan.Subs[1].Stores = []*plan.Store{{Name: "s"}}
		a.e.o.Program.Stores = map[string]*task.StoreSpec{"s": {Name: "s", Changelog: "log"}}
		a.e.o.Warmups, a.e.o.RecoveryLag, a.e.o.Probing = 1, 10, time.Hour
	}
	leader.ends = func(tasks []assign.Task) map[task.ID]int64 {
		out := map[task.ID]int64{}
		for _, x := range tasks {
			out[x.ID] = 1000
		}
		return out
	}
	owned := map[string][]int32{"c": {0, 1}}
	first, second := task.ID{Sub: 1}, task.ID{Sub: 1, Partition: 1}
	leader.hold(map[task.ID]int64{first: assign.Running, second: assign.Running})
	say := func(a *assignor, owned map[string][]int32, generation int32) []byte {
		return a.JoinGroupMetadata([]string{"c"}, owned, generation)
	}
	got := answered(t, leader, map[string][]byte{"x": say(leader, owned, 1), "y": say(joins, nil, -1)})
	copies := got["y"].Standby
	if len(copies) != 1 || len(got["y"].Active) > 0 || len(got["x"].Active) != 2 {
		t.Fatalf("before it has caught up: %+v", got)
	}
	if want := []assign.Partition{{Topic: "log", Partition: copies[0].Task.Partition}}; !reflect.DeepEqual(copies[0].Partitions, want) {
		t.Errorf("the copy is made of %v", copies[0].Partitions)
	}
	if got["x"].Next == assign.Never || got["x"].Next < time.Now().UnixMilli() || got["y"].Next != assign.Never {
		t.Errorf("the leader looks again at %d, the other at %d", got["x"].Next, got["y"].Next)
	}
	joins.hold(map[task.ID]int64{copies[0].Task: 995})
	got = answered(t, leader, map[string][]byte{"x": say(leader, owned, 2), "y": say(joins, nil, 2)})
	if len(got["x"].Active) != 1 || got["x"].Active[0] == copies[0].Task || got["x"].Next != 0 {
		t.Errorf("after it has caught up: %+v", got)
	}
}

// answered are the answers of a leader to members, of whom each says something.
func answered(t *testing.T, a *assignor, members map[string][]byte) map[string]assign.Assignment {
	t.Helper()
	b, _, err := a.MemberBalancer(said(members))
	if err != nil {
		t.Fatal(err)
	}
	b.(kgo.GroupMemberBalancerInfo).SetBalanceInfo(kgo.BalanceInfo{LeaderID: a.name()})
	out := map[string]assign.Assignment{}
	for _, s := range b.Balance(map[string]int32{"c": 2}).IntoSyncAssignment() {
		var m kmsg.ConsumerMemberAssignment
		if err := m.ReadFrom(s.MemberAssignment); err != nil {
			t.Fatal(err)
		}
		if out[s.MemberID], err = assign.ReadAssignment(m.UserData); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
