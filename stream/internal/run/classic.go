package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// pollInterval is how long a member may be busy with giving its tasks up: Kafka's max.poll.interval.ms.
const pollInterval = 5 * time.Minute

// classic is membership by the protocol that every broker has: the client's consumer group, whose leader shares the tasks
// out. Its callbacks come on goroutines of the client's, between a turn and the next poll (BlockRebalanceOnPoll); they and the
// loop take turns by the thread's mutex, which guards settled as well.
type classic struct {
	t       *thread
	settled bool // an assignment has come and was not taken back
}

func newClassic(t *thread) *classic { return &classic{t: t} }

func (c *classic) options() []kgo.Opt {
	p := c.t.e.o.Program.Plan
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.t.e.app),
		kgo.ConsumeTopics(subscription(p)...),
		kgo.Balancers(&balancer{p}),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.RebalanceTimeout(pollInterval),
		kgo.OnPartitionsAssigned(c.assigned),
		kgo.OnPartitionsRevoked(c.revoked),
		kgo.OnPartitionsLost(c.lost),
		kgo.OnOffsetsFetched(c.offsetsFetched),
		kgo.AdjustFetchOffsetsFn(c.beginnings),
	}
	if p.Patterns() != nil {
		opts = append(opts, kgo.ConsumeRegex())
	}
	return opts
}

func (*classic) join(context.Context) error { return nil } // the client does

func (*classic) turn(context.Context) error { return nil } // callbacks do

func (c *classic) allow() { c.t.cl.AllowRebalance() }

func (c *classic) ready() bool { return c.settled }

func (c *classic) identity() identity {
	member, generation := c.t.cl.GroupMetadata()
	return identity{member, generation}
}

func (*classic) renewed(context.Context, identity) bool { return false } // a new generation begins with a revocation

func (c *classic) rejoin() {
	c.settled = false
	c.t.cl.ForceRebalance() // the client finds out by its heartbeats at the latest
}

func (c *classic) fault(err error) error {
	var session *kgo.ErrGroupSession
	if !errors.As(err, &session) {
		return fmt.Errorf("stream: group %s: %w", c.t.e.app, err)
	}
	// The network is no reason to give up: how long nobody may answer is Config.BrokerTimeout. Nor is it that the group has
	// given this member up, a process that stood still for longer than its session; but that another has its static identity is.
	refusal, ok := errors.AsType[*kerr.Error](session.Err)
	if !ok || refusal.Retriable || isAny(refusal, ofGroup) && !errors.Is(refusal, kerr.FencedInstanceID) {
		c.t.log.Warn("the group session ended; joining again", "error", session.Err)
		return nil
	}
	if errors.Is(session.Err, kerr.InconsistentGroupProtocol) {
		return fmt.Errorf("stream: group %s: %w (its members use another protocol: stop them first, or let Config.GroupProtocol be theirs)", c.t.e.app, session.Err)
	}
	return fmt.Errorf("stream: group %s: %w", c.t.e.app, session.Err)
}

func (c *classic) leave() { c.t.cl.CloseAllowingRebalance() }

// assigned is called with what came to this member, even if that is nothing.
func (c *classic) assigned(_ context.Context, _ *kgo.Client, got map[string][]int32) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.e.fail.At("assigned-before")
	defer c.t.e.fail.At("assigned-after")
	c.settled = true
	c.t.gain(c.tasks(got))
	c.t.settled()
}

// revoked is called with what others are to get.
func (c *classic) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.e.fail.At("revoked-before")
	defer c.t.e.fail.At("revoked-after")
	if len(gone) == 0 {
		return
	}
	c.settled = false
	c.t.give(ctx, slices.Collect(maps.Keys(c.tasks(gone))))
}

// lost is called when the group has given us up: others may be at work on our partitions already.
func (c *classic) lost(context.Context, *kgo.Client, map[string][]int32) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.e.fail.At("lost-before")
	defer c.t.e.fail.At("lost-after")
	c.settled = false
	c.t.lose()
}

// tasks are those whose partitions these are, with the topics among them.
func (c *classic) tasks(of map[string][]int32) map[task.ID][]string {
	pl := c.t.e.o.Program.Plan
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

// offsetsFetched remembers what was committed, with the text beside it.
func (c *classic) offsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.e.fail.At("offsets-fetched-before")
	defer c.t.e.fail.At("offsets-fetched-after")
	for _, g := range resp.Groups {
		for _, topic := range g.Topics {
			for _, p := range topic.Partitions {
				o := task.Offset{Topic: topic.Topic, Partition: p.Partition, Offset: p.Offset, Epoch: p.LeaderEpoch}
				if p.Metadata != nil {
					o.Metadata = *p.Metadata
				}
				c.t.fetched[part{topic.Topic, p.Partition}] = o
			}
		}
	}
	return nil
}

// beginnings chooses where partitions begin that have no committed offset, by the source's policy.
func (c *classic) beginnings(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	for topic, partitions := range offsets {
		for p := range partitions {
			at := part{topic, p}
			if c.t.fetched[at].Offset >= 0 {
				continue
			}
			begin, err := c.t.begin(ctx, at)
			if err != nil {
				if _, later := errors.AsType[*unanswered](err); !later && c.t.fatal == nil {
					c.t.fatal = err
				}
				return nil, err // the client begins its session anew
			}
			partitions[p] = kgo.NewOffset().At(begin)
			c.t.fetched[at] = task.Offset{Topic: topic, Partition: p, Offset: begin, Epoch: -1, New: true}
		}
	}
	return offsets, nil
}
