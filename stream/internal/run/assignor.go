package run

import (
	"cmp"
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
	name func() string // as which member the client joins; "" if the group has forgotten it
	last []string      // members when this one led the group last

	mu   sync.Mutex // guards what follows; never held while anything is waited for
	told told
	turn int8 // differs whenever this member wants the group to rebalance
}

// told is what the assignor knows and the thread has to know, too.
type told struct {
	eager    bool  // the group has agreed on the protocol of our last release
	orphaned bool  // the group has forgotten this member, and the client has not said so
	next     int64 // when this member is to ask for a rebalance, in ms since 1970; 0: at once; math.MaxInt64: not at all
}

func newAssignor(t *thread) *assignor {
	return &assignor{e: t.e, plan: t.e.o.Program.Plan, log: t.log, name: func() string {
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
	s := assign.Subscription{Process: a.e.identity(), Offsets: map[task.ID]int64{}, Unique: a.turn}
	for id := range tasksOf(a.plan, owned) {
		s.Offsets[id] = assign.Running
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
	a.tell(func(t *told) { t.eager, t.next = false, info.Next })
	out := map[string][]int32{}
	for _, t := range m.Topics {
		out[t.Topic] = append(out[t.Topic], t.Partitions...)
	}
	return out, nil
}

// MemberBalancer reads what the members said.
func (a *assignor) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	d := &deal{a: a, topics: map[string][]string{}, common: assign.Version}
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

// deal is one assignment on its way.
type deal struct {
	a       *assignor
	members []assign.Member
	topics  map[string][]string // that members read
	common  int32               // newest version of the bytes that every member reads
}

// seat adds a member. One whose user data cannot be read is taken for a process of its own without state: what it works on is
// told beside the user data.
func (d *deal) seat(id string, meta *kmsg.ConsumerMemberMetadata) {
	s, err := assign.ReadSubscription(meta.UserData)
	if err != nil {
		d.a.log.Warn("a member says what this version cannot read; it counts as one without state", "member", id, "error", err)
		s = assign.Subscription{Supported: s.Supported}
		copy(s.Process[:], id[max(0, len(id)-len(s.Process)):])
	}
	if s.Supported > 0 {
		d.common = min(d.common, s.Supported)
	}
	owned := map[string][]int32{}
	for _, o := range meta.OwnedPartitions {
		owned[o.Topic] = o.Partitions
	}
	m := assign.Member{ID: id, Process: s.Process, Generation: meta.Generation, Tags: s.Tags, Lags: map[task.ID]int64{}}
	for t := range tasksOf(d.a.plan, owned) {
		m.Active = append(m.Active, t)
		m.Lags[t] = 0
	}
	d.topics[id] = meta.Topics
	d.members = append(d.members, m)
}

// Balance shares the tasks out. A member that does not read all topics of a task, because it runs another version of the
// program, does not get it.
func (d *deal) Balance(topics map[string]int32) kgo.IntoSyncAssignment {
	var tasks []assign.Task
	reads := map[int][]string{}
	for _, sub := range d.a.plan.Subs {
		reads[sub.ID] = d.a.plan.TopicsAmong(sub, maps.Keys(topics))
		for p := range d.a.plan.Tasks(sub, topics) {
			tasks = append(tasks, assign.Task{ID: task.ID{Sub: sub.ID, Partition: p}, Stateful: d.a.e.stateful(sub)})
		}
	}
	for i := range d.members {
		m := &d.members[i]
		m.Refuses = map[int]bool{}
		for sub, names := range reads {
			m.Refuses[sub] = slices.ContainsFunc(names, func(t string) bool { return !slices.Contains(d.topics[m.ID], t) })
		}
	}
	// Whatever a process lacks does not keep a task from moving there: warm-ups come with standbys.
	r := assign.Assign(assign.Config{RecoveryLag: assign.Unknown}, d.members, tasks)
	d.tell(r)
	return d.answers(r, reads, topics)
}

// tell logs a decision.
func (d *deal) tell(r assign.Result) {
	now := make([]string, 0, len(d.members))
	moving := 0
	for _, m := range d.members {
		now = append(now, m.ID)
		moving += len(r.Shares[m.ID].Awaited)
	}
	came := slices.DeleteFunc(slices.Clone(now), func(m string) bool { return slices.Contains(d.a.last, m) })
	left := slices.DeleteFunc(slices.Clone(d.a.last), func(m string) bool { return slices.Contains(now, m) })
	d.a.last = now
	d.a.log.Info("led a rebalance", "members", len(now), "came", came, "left", left, "moving", moving)
	if len(r.Idle) > 0 {
		d.a.log.Warn("no member can run some tasks, because none reads all their topics", "tasks", r.Idle)
	}
}

// verdicts are the answers to the members.
type verdicts []kmsg.SyncGroupRequestGroupAssignment

// IntoSyncAssignment returns them.
func (v verdicts) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment { return v }

func (d *deal) answers(r assign.Result, reads map[int][]string, topics map[string]int32) verdicts {
	var out verdicts
	for _, m := range d.members {
		share := r.Shares[m.ID]
		info := assign.Assignment{Version: assign.Version, Common: d.common, Next: assign.Never}
		if slices.ContainsFunc(m.Active, func(id task.ID) bool { return !slices.Contains(share.Active, id) }) {
			info.Next = 0 // the task's new member waits for it to be given up
		}
		var parts []assign.Partition
		owner := map[assign.Partition]task.ID{}
		for _, id := range share.Active {
			for _, t := range reads[id.Sub] {
				if p := (assign.Partition{Topic: t, Partition: id.Partition}); id.Partition < topics[t] {
					parts, owner[p] = append(parts, p), id
				}
			}
		}
		answer := kmsg.NewSyncGroupRequestGroupAssignment()
		answer.MemberID = m.ID
		answer.MemberAssignment = assignment(&info, parts, owner)
		out = append(out, answer)
	}
	return out
}

// assignment is the whole of what a member is told: its partitions, each of a task, and the user data beside them.
func assignment(info *assign.Assignment, parts []assign.Partition, owner map[assign.Partition]task.ID) []byte {
	slices.SortFunc(parts, func(x, y assign.Partition) int {
		return cmp.Or(strings.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	m := kmsg.NewConsumerMemberAssignment()
	m.Version = 1
	for _, p := range parts {
		if n := len(m.Topics); n == 0 || m.Topics[n-1].Topic != p.Topic {
			topic := kmsg.NewConsumerMemberAssignmentTopic()
			topic.Topic = p.Topic
			m.Topics = append(m.Topics, topic)
		}
		last := &m.Topics[len(m.Topics)-1]
		last.Partitions = append(last.Partitions, p.Partition)
		info.Active = append(info.Active, owner[p])
	}
	m.UserData = info.Append(nil)
	return m.AppendTo(nil)
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
