package run

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/assign"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// deal is one assignment on its way.
type deal struct {
	a       *assignor
	members []assign.Member
	offsets map[string]map[task.ID]int64 // that members told
	topics  map[string][]string          // that members read
	strange map[string]bool              // members that run another program
	leader  string                       // the member that decides
	common  int32                        // newest version of the bytes that every member reads
}

// SetBalanceInfo is called by the client before it asks for the assignment. The thread may not know its client yet.
func (d *deal) SetBalanceInfo(info kgo.BalanceInfo) { d.leader = info.LeaderID }

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
	mine := tasksOf(d.a.plan, owned)
	for t := range mine {
		m.Active = append(m.Active, t)
	}
	for t, sum := range s.Offsets {
		if _, ok := mine[t]; !ok && sum >= 0 {
			m.Standby = append(m.Standby, t)
		}
	}
	d.topics[id], d.offsets[id] = meta.Topics, s.Offsets
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
	d.meetStrangers()
	for i := range d.members {
		m := &d.members[i]
		m.Refuses = map[int]bool{}
		for sub, names := range reads {
			m.Refuses[sub] = d.strange[m.ID] || slices.ContainsFunc(names, func(t string) bool { return !slices.Contains(d.topics[m.ID], t) })
		}
	}
	d.weigh(tasks)
	o := d.a.e.o
	r := assign.Assign(assign.Config{Standbys: o.Standbys, Warmups: o.Warmups, RecoveryLag: o.RecoveryLag, RackAware: o.RackAware}, d.members, tasks)
	d.tell(r)
	return d.answers(r, reads, topics)
}

// meetStrangers finds the members that run another program, under the same name: they read none of our sources, not even a
// part of them as another version would.
func (d *deal) meetStrangers() {
	d.strange = map[string]bool{}
	ours := d.a.plan.UserTopics(plan.Source)
	if d.a.plan.Patterns() != nil || len(ours) == 0 {
		return
	}
	for member, topics := range d.topics {
		if len(topics) > 0 && !slices.ContainsFunc(topics, func(t string) bool { return slices.Contains(ours, t) }) {
			d.a.log.Warn("a member runs another program under the name of this application; it is refused", "member", member, "reads", topics)
			d.strange[member] = true
		}
	}
}

// weigh finds out how far each member is behind with each task. Who has nothing of it has everything to read.
func (d *deal) weigh(tasks []assign.Task) {
	ends := d.a.ends(tasks)
	for i := range d.members {
		m := &d.members[i]
		for _, x := range tasks {
			if !x.Stateful {
				continue
			}
			sum, has := d.offsets[m.ID][x.ID]
			end, known := ends[x.ID]
			switch {
			case sum == assign.Running && slices.Contains(m.Active, x.ID):
				m.Lags[x.ID] = 0
			case known && has && sum >= 0:
				m.Lags[x.ID] = max(0, end-sum)
			case known:
				m.Lags[x.ID] = end
			}
		}
	}
}

// tell logs a decision.
func (d *deal) tell(r assign.Result) {
	now := make([]string, 0, len(d.members))
	moving, warming, standing := 0, 0, 0
	for _, m := range d.members {
		now = append(now, m.ID)
		s := r.Shares[m.ID]
		moving, warming, standing = moving+len(s.Awaited), warming+len(s.Warmup), standing+len(s.Standby)
	}
	came := slices.DeleteFunc(slices.Clone(now), func(m string) bool { return slices.Contains(d.a.last, m) })
	left := slices.DeleteFunc(slices.Clone(d.a.last), func(m string) bool { return slices.Contains(now, m) })
	d.a.last = now
	d.a.log.Info("led a rebalance", "members", len(now), "came", came, "left", left, "moving", moving,
		"warming", warming, "standbys", standing, "standbys missing", r.Short, "standbys in the same rack", r.Near)
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
		if d.strange[m.ID] {
			info.Error = assign.AssignmentFailed
		}
		if slices.ContainsFunc(m.Active, func(id task.ID) bool { return !slices.Contains(share.Active, id) }) {
			info.Next = 0 // the task's new member waits for it to be given up
		} else if r.Probing && m.ID == d.leader {
			info.Next = time.Now().Add(d.a.e.o.Probing).UnixMilli()
		}
		for _, id := range slices.Concat(share.Standby, share.Warmup) {
			info.Standby = append(info.Standby, d.a.e.copyOf(id))
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

// copyOf is what a member is told of a copy.
func (e *Engine) copyOf(id task.ID) assign.Standby {
	s := assign.Standby{Task: id}
	for _, st := range e.o.Program.Plan.Subs[id.Sub].Stores {
		if topic := e.o.Program.Stores[st.Name].Restored(); topic != "" {
			s.Partitions = append(s.Partitions, assign.Partition{Topic: topic, Partition: id.Partition})
		}
	}
	return s
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
