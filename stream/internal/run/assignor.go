package run

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/assign"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// assignor is Kafka Streams' protocol between the members of a classic group, name and bytes: cooperative, so that members
// keep what they have while the leader shares tasks out. The client calls it on the goroutine that manages the group.
type assignor struct {
	e    *Engine
	plan *plan.Plan
	log  *slog.Logger
	name func() string                         // as which member the client joins; "" if the group has forgotten it
	ends func([]assign.Task) map[task.ID]int64 // sums of where the changelogs of tasks end
	last []string                              // members when this one led the group last

	mu   sync.Mutex // guards what follows; never held while anything is waited for
	told told
	has  map[task.ID]int64 // what the thread has of tasks, as of its last callback
	turn int8              // differs whenever this member wants the group to rebalance
}

// told is what the assignor knows and the thread has to know, too.
type told struct {
	eager    bool      // the group has agreed on the protocol of our last release
	orphaned bool      // the group has forgotten this member, and the client has not said so
	refused  bool      // the leader runs another program
	standby  []task.ID // of which copies are to be kept here
	next     int64     // when this member is to ask for a rebalance, in ms since 1970; 0: at once; math.MaxInt64: not at all
}

func newAssignor(t *thread) *assignor {
	return &assignor{e: t.e, plan: t.e.o.Program.Plan, log: t.log, ends: t.e.changelogEnds, name: func() string {
		member, _ := t.cl.GroupMetadata()
		return member
	}}
}

// news returns what was told.
func (a *assignor) news() told {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.told
}

// tell changes what was told.
func (a *assignor) tell(change func(*told)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.told)
}

// hold notes what the thread has of tasks.
func (a *assignor) hold(has map[task.ID]int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.has = has
}

// ask makes this member's next subscription another one: brokers answer one they know without a rebalance.
func (a *assignor) ask() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn++
}

// ProtocolName is what members must agree on.
func (*assignor) ProtocolName() string { return assign.Protocol }

// IsCooperative says that members give up only what others are to get.
func (*assignor) IsCooperative() bool { return true }

// JoinGroupMetadata tells the leader what this member has. A member that the group has forgotten has nothing: others may be at
// work on it.
func (a *assignor) JoinGroupMetadata(topics []string, owned map[string][]int32, generation int32) []byte {
	forgotten := len(owned) > 0 && a.name() == ""
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told.orphaned = a.told.orphaned || forgotten
	if a.told.orphaned {
		owned = nil
	}
	s := assign.Subscription{Process: a.e.identity(), Offsets: map[task.ID]int64{}, Unique: a.turn, Tags: a.e.o.Tags}
	maps.Copy(s.Offsets, a.e.left.all())
	mine := tasksOf(a.plan, owned)
	for id, sum := range a.has {
		if _, ok := mine[id]; ok || sum != assign.Running { // what it has lost is at work elsewhere
			s.Offsets[id] = sum
		}
	}
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics, m.Generation, m.UserData = 2, topics, generation, s.Append(nil)
	for _, topic := range slices.Sorted(maps.Keys(owned)) {
		o := kmsg.NewConsumerMemberMetadataOwnedPartition()
		o.Topic, o.Partitions = topic, owned[topic]
		m.OwnedPartitions = append(m.OwnedPartitions, o)
	}
	return m.AppendTo(nil)
}

// ParseSyncAssignment reads what the leader decided.
func (a *assignor) ParseSyncAssignment(b []byte) (map[string][]int32, error) {
	var m kmsg.ConsumerMemberAssignment
	if err := m.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("stream: the leader's assignment: %w", err)
	}
	info := assign.Assignment{Next: assign.Never}
	if len(m.UserData) > 0 {
		var err error
		if info, err = assign.ReadAssignment(m.UserData); err != nil {
			return nil, fmt.Errorf("stream: the leader's assignment: %w", err)
		}
	}
	a.tell(func(t *told) {
		t.eager, t.refused, t.next, t.standby = false, info.Error == assign.AssignmentFailed, info.Next, nil
		for _, s := range info.Standby {
			t.standby = append(t.standby, s.Task)
		}
	})
	out := map[string][]int32{}
	for _, t := range m.Topics {
		out[t.Topic] = append(out[t.Topic], t.Partitions...)
	}
	return out, nil
}

// MemberBalancer reads what the members said.
func (a *assignor) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	d := &deal{a: a, topics: map[string][]string{}, offsets: map[string]map[task.ID]int64{}, common: assign.Version}
	all := map[string]struct{}{}
	for _, m := range members {
		var meta kmsg.ConsumerMemberMetadata
		if err := meta.ReadFrom(m.ProtocolMetadata); err != nil {
			return nil, nil, fmt.Errorf("stream: what member %s says: %w", m.MemberID, err)
		}
		d.seat(m.MemberID, &meta)
		for _, t := range meta.Topics {
			all[t] = struct{}{}
		}
	}
	return d, all, nil
}

// tasksOf are the tasks whose partitions these are, with the topics among them.
func tasksOf(pl *plan.Plan, of map[string][]int32) map[task.ID][]string {
	out := map[task.ID][]string{}
	for topic, partitions := range of {
		for _, sub := range pl.Subs {
			if !slices.ContainsFunc(sub.Sources, func(n *plan.Node) bool { return pl.Reads(n, topic) }) {
				continue
			}
			for _, p := range partitions {
				id := task.ID{Sub: sub.ID, Partition: p}
				out[id] = append(out[id], topic)
			}
		}
	}
	return out
}

// identity is the instance's to the other members.
func (e *Engine) identity() (p assign.Process) {
	b, err := hex.DecodeString(strings.ReplaceAll(e.process, "-", ""))
	if err != nil {
		b = []byte(e.process)
	}
	copy(p[:], b)
	return p
}

// stateful says whether a task of the sub-topology has to be restored when it moves.
func (e *Engine) stateful(sub *plan.Sub) bool {
	return slices.ContainsFunc(sub.Stores, func(s *plan.Store) bool { return e.o.Program.Stores[s.Name].Restored() != "" })
}
