package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/assign"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// pollInterval is how long a member may be busy with giving its tasks up: Kafka's max.poll.interval.ms.
const pollInterval = 5 * time.Minute

// classic is membership by the protocol that every broker has: the client's consumer group, whose leader shares the tasks
// out. Its callbacks come on goroutines of the client's, between a turn and the next poll (BlockRebalanceOnPoll); they and the
// loop take turns by the thread's mutex, which guards the fields as well.
//
// A commit is made as the member of the generation in which a callback came last, not of one that has only just begun: should
// the group have agreed on an eager protocol in it, what is still at work here is given to others. Until the callback comes,
// commits are refused and made again.
type classic struct {
	t       *thread
	a       *assignor
	settled bool     // an assignment has come and was not taken back
	who     identity // the member and generation of the last callback; none before the first and after the group gave us up
	eager   bool     // the protocol in which the tasks here were assigned
	next    string   // the cause of the next rebalance, if this member asks for it
	pulse   *pulse
	silence time.Duration // how long the group may be silent before the thread is not ready any more; 0: not yet known
}

func newClassic(t *thread) *classic { return &classic{t: t, a: newAssignor(t), pulse: newPulse()} }

func (c *classic) options() []kgo.Opt {
	p := c.t.e.o.Program.Plan
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.t.e.app),
		kgo.ConsumeTopics(subscription(p)...),
		kgo.Balancers(c.a, &balancer{p, c.a.tell}),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.RebalanceTimeout(pollInterval),
		kgo.OnPartitionsCallbackBlocked(func(context.Context, *kgo.Client) { c.t.pool.rouse() }),
		kgo.OnPartitionsAssigned(c.assigned),
		kgo.OnPartitionsRevoked(c.revoked),
		kgo.OnPartitionsLost(c.lost),
		kgo.OnOffsetsFetched(c.offsetsFetched),
		kgo.AdjustFetchOffsetsFn(c.beginnings),
		kgo.WithHooks(c.pulse),
	}
	if id := c.t.instance; id != nil {
		opts = append(opts, kgo.InstanceID(*id))
	}
	if p.Patterns() != nil {
		opts = append(opts, kgo.ConsumeRegex())
	}
	return opts
}

func (*classic) join(context.Context) error { return nil } // the client does

// turn asks for a rebalance when the leader has told this member to.
func (c *classic) turn(context.Context) error {
	if next := c.a.news().next; c.settled && next != assign.Never && probes(next, time.Now().UnixMilli(), c.t.e.o.Probing.Milliseconds()) {
		c.a.tell(func(t *told) { t.next = assign.Never })
		c.a.ask()
		c.next = probed
		c.t.cl.ForceRebalance()
	}
	return nil
}

// probes says whether it is time for the rebalance that the assignment sets for next, in milliseconds of this machine's clock.
// One that is further away than such rebalances are apart was set before the clock was set back.
func probes(next, now, interval int64) bool { return next <= now || next-now > interval }

func (c *classic) allow() { c.t.cl.AllowRebalance() }

// sessionShare is the part of its session, one divided by it, that is left when a member which hears nothing stops processing.
const sessionShare = 3

func (c *classic) ready() bool { return c.settled && !c.silent() }

// silent is said at least once only, where nothing else keeps a member from overwriting what its successor writes.
func (c *classic) silent() bool {
	if !c.settled || c.t.transactional != "" {
		return false
	}
	if c.silence == 0 {
		session, _ := c.t.cl.OptValue(kgo.SessionTimeout).(time.Duration)
		c.silence = session - session/sessionShare
	}
	return !c.pulse.alive(time.Now(), c.silence)
}

func (c *classic) identity() identity { return c.who }

// renewed never waits: the next generation's callback comes between two turns.
func (c *classic) renewed(context.Context, identity) error { return kerr.RebalanceInProgress }

// rejoin lets the thread go on with a new client. The client's member may be at the wrong place, and only a new one begins
// with nothing.
func (c *classic) rejoin() {
	c.settled = false
	if c.t.fatal == nil {
		c.t.fatal = fmt.Errorf("%w: %w", errFenced, errMoved)
	}
}

func (c *classic) fault(err error) error {
	var session *kgo.ErrGroupSession
	if !errors.As(err, &session) {
		return fmt.Errorf("stream: group %s: %w", c.t.e.app, err)
	}
	// The network is no reason to give up: how long nobody may answer is Config.BrokerTimeout. Nor is it that the group has
	// given this member up, a process that stood still for longer than its session.
	if refusal, ok := errors.AsType[*kerr.Error](session.Err); !ok || refusal.Retriable || isAny(refusal, ofGroup) {
		c.t.log.Warn("the group session ended; joining again", "error", session.Err)
		return nil
	}
	if errors.Is(session.Err, kerr.InconsistentGroupProtocol) {
		return fmt.Errorf("stream: group %s: %w (its members use another protocol, or run another program: stop them first, let Config.GroupProtocol be theirs, or choose another ApplicationID)", c.t.e.app, session.Err)
	}
	return c.t.explained(fmt.Errorf("group %s: %w", c.t.e.app, session.Err))
}

func (c *classic) leave() { c.t.cl.CloseAllowingRebalance() }

// enter notes as whom a callback comes. It says no if the client has joined as another member without having told that the
// first one was given up: then everything is lost.
func (c *classic) enter(cl *kgo.Client) (told, bool) {
	news := c.a.news()
	var now identity
	now.member, now.epoch = cl.GroupMetadata()
	if news.orphaned || c.who.member != "" && now.member != c.who.member {
		c.who, c.settled = identity{}, false
		c.t.rebalancing(ousted)
		c.t.lose()
		c.rejoin()
		return news, false
	}
	c.who = now
	return news, true
}

// assigned is called with what came to this member, even if that is nothing.
func (c *classic) assigned(_ context.Context, cl *kgo.Client, got map[string][]int32) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.e.fail.At("assigned-before")
	defer c.t.e.fail.At("assigned-after")
	news, ok := c.enter(cl)
	if !ok {
		return
	}
	if news.refused && c.t.fatal == nil {
		c.t.fatal = fmt.Errorf("stream: group %s runs another program, which reads none of this one's sources (%s): give each application an ApplicationID of its own, or stop the other one first",
			c.t.e.app, strings.Join(c.t.e.o.Program.Plan.UserTopics(plan.Source), ", "))
		return
	}
	if c.next == followed { // the client joins again by itself
		c.a.tell(func(t *told) { t.next = assign.Never })
	}
	c.settled, c.eager = true, news.eager
	c.t.stand(news.standby)
	c.t.gain(tasksOf(c.t.e.o.Program.Plan, got))
	c.t.settled()
}

// revoked is called with what others are to get, and with nothing when a rebalance begins.
func (c *classic) revoked(ctx context.Context, cl *kgo.Client, gone map[string][]int32) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.e.fail.At("revoked-before")
	defer c.t.e.fail.At("revoked-after")
	defer func() { c.a.hold(c.t.holds()) }() // before the client joins again
	news, ok := c.enter(cl)
	if !ok {
		return
	}
	c.t.rebalancing(cmp.Or(c.next, others))
	c.next = ""
	if len(gone) == 0 {
		return
	}
	if news.eager && !c.eager { // the leader knew nothing of what we have: it is at work elsewhere already
		c.settled = false
		c.t.lose()
		return
	}
	if c.settled = !news.eager; c.settled {
		c.next = followed
	}
	c.t.give(ctx, slices.Collect(maps.Keys(tasksOf(c.t.e.o.Program.Plan, gone))))
}

// lost is called when the group has given us up: others may be at work on our partitions already.
func (c *classic) lost(context.Context, *kgo.Client, map[string][]int32) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.e.fail.At("lost-before")
	defer c.t.e.fail.At("lost-after")
	c.settled, c.who = false, identity{}
	c.a.tell(func(t *told) { t.orphaned = false })
	c.t.rebalancing(ousted)
	c.t.lose()
	c.a.hold(c.t.holds())
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
	c.t.pool.rouse() // tasks wait for it
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
