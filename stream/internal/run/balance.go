package run

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/assign"
	"github.com/millrun/millrun/stream/internal/plan"
)

// balancer is the protocol of our last release, for groups that have members of it: eager, everybody gives up everything, then
// takes what it is given. All partitions of a task go to one member, so what must be together is together, whatever the topics'
// sizes are.
type balancer struct {
	plan *plan.Plan
	tell func(func(*told))
}

// ProtocolName is what members must agree on.
func (*balancer) ProtocolName() string { return "millrun-tasks" }

// IsCooperative says that it is not.
func (*balancer) IsCooperative() bool { return false }

// JoinGroupMetadata tells the leader which topics this member reads.
func (*balancer) JoinGroupMetadata(topics []string, _ map[string][]int32, _ int32) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

// ParseSyncAssignment reads what the leader decided.
func (b *balancer) ParseSyncAssignment(assigned []byte) (map[string][]int32, error) {
	b.tell(func(t *told) { t.eager, t.next, t.standby = true, assign.Never, nil })
	return kgo.ParseConsumerSyncAssignment(assigned)
}

// MemberBalancer reads what the members said.
func (b *balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	c, err := kgo.NewConsumerBalancer(b, members)
	if err != nil {
		return nil, nil, err
	}
	return c, c.MemberTopics(), nil
}

// Balance deals the tasks out: sub-topology by sub-topology, each member in turn, going on where the last sub-topology ended,
// so that nobody has two tasks more than another. A member that does not read all topics of a task, because it runs another
// version of the program, does not get it. The result depends on nothing but the members and the topics.
func (b *balancer) Balance(c *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	out := c.NewPlan()
	turn := 0
	for _, sub := range b.plan.Subs {
		names := b.plan.TopicsAmong(sub, maps.Keys(topics))
		able := readers(c, names)
		if len(able) == 0 {
			continue
		}
		for p := range b.plan.Tasks(sub, topics) {
			m := able[turn%len(able)]
			turn++
			for _, t := range names {
				if p < topics[t] {
					out.AddPartition(m, t, p)
				}
			}
		}
	}
	return out
}

func readers(c *kgo.ConsumerBalancer, topics []string) (out []*kmsg.JoinGroupResponseMember) {
	c.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		for _, t := range topics {
			if !slices.Contains(meta.Topics, t) {
				return
			}
		}
		out = append(out, m)
	})
	return out
}
