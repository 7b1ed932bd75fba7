package run

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream/internal/task"
)

// streams is membership by KIP-1071: the broker shares the tasks out. The thread's client is in no group; what it consumes is
// told to it, heartbeats are sent by a goroutine of ours, and the thread carries out in its own turn what they brought.
type streams struct {
	t        *thread
	beat     *heartbeat
	carried  int           // the last assignment that was carried out
	unplaced map[part]bool // partitions of ours of which it is not known yet where to begin
	asked    time.Time     // for that
	waits    time.Time     // since when the brokers have not said where; zero: they have
}

func newStreams(t *thread) *streams {
	return &streams{t: t, unplaced: map[part]bool{}}
}

func (*streams) options() []kgo.Opt { return nil }

func (s *streams) join(ctx context.Context) error {
	e := s.t.e
	p := newPlace(e.app, rand.Text(), e.process, len(e.o.Program.Plan.Subs), shape(e.o.Program.Plan, e.internal, e.o.ReplicationFactor))
	s.beat = newHeartbeat(&coordinator{cl: s.t.cl, group: e.app}, p, s.t.log)
	s.beat.start(ctx)
	return nil
}

// turn carries out what the heartbeats brought. Nothing is owned and nothing given up but here, by the thread itself.
func (s *streams) turn(ctx context.Context) error {
	s.beat.alive()
	var now place
	s.beat.look(func(p *place) { now = *p })
	switch {
	case now.fatal != nil:
		return now.fatal
	case now.phase == expelled:
		s.t.log.Warn("the group has given this member up; joining again")
		s.t.rebalancing(ousted)
		s.t.e.fail.At("lost-before")
		s.t.lose()
		s.t.e.fail.At("lost-after")
		s.seek()
		return nil
	case now.news != s.carried:
		if err := s.refresh(ctx, minus(now.target.active, now.owned.active)); err != nil {
			s.t.log.Warn("topics cannot be described; the assignment waits", "error", err)
			break
		}
		s.reconcile(ctx, now.owned, now.target)
		s.carried = now.news
	}
	return s.begin(ctx)
}

// reconcile gives up first, after a last commit, and then takes: the group is told of both at once.
func (s *streams) reconcile(ctx context.Context, owned, target share) {
	s.t.e.works(s.t.name, false)
	s.t.rebalancing(others)
	if gone := minus(owned.active, target.active); len(gone) > 0 {
		s.t.e.fail.At("revoked-before")
		s.t.give(ctx, gone)
		s.ignore(gone)
		s.t.e.fail.At("revoked-after")
	}
	come := map[task.ID][]string{}
	for _, id := range minus(target.active, owned.active) {
		come[id] = s.topics(id)
		for _, topic := range come[id] {
			s.unplaced[part{topic, id.Partition}] = true
		}
	}
	s.t.e.fail.At("assigned-before")
	s.t.gain(come)
	s.t.settled()
	s.t.e.fail.At("assigned-after")
	copies := s.t.stand(slices.Concat(target.standby, target.warmup))
	s.beat.change(func(p *place) {
		p.own(share{active: target.active, standby: both(target.standby, copies), warmup: both(target.warmup, copies)})
	})
}

// refresh asks how large the topics of tasks are that come to us: one may have got more partitions.
func (s *streams) refresh(ctx context.Context, come []task.ID) error {
	ask := map[string]bool{}
	for _, id := range come {
		for _, topic := range s.t.e.o.Program.Plan.Topics(s.t.e.o.Program.Plan.Subs[id.Sub]) {
			ask[topic] = true
		}
	}
	if len(ask) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := s.t.e.describe(ctx, keys(ask))
	return err
}

func both(a, b []task.ID) []task.ID {
	return slices.DeleteFunc(slices.Clone(a), func(id task.ID) bool { return !slices.Contains(b, id) })
}

// topics are those of which a task has a partition.
func (s *streams) topics(id task.ID) (out []string) {
	e := s.t.e
	for _, topic := range e.o.Program.Plan.Topics(e.o.Program.Plan.Subs[id.Sub]) {
		if n, ok := e.partitions.get(topic); ok && id.Partition < n {
			out = append(out, topic)
		}
	}
	return out
}

// ignore ends the consumption of tasks.
func (s *streams) ignore(ids []task.ID) {
	gone := map[string][]int32{}
	for _, id := range ids {
		for _, topic := range s.topics(id) {
			gone[topic] = append(gone[topic], id.Partition)
			delete(s.unplaced, part{topic, id.Partition})
		}
	}
	if len(gone) > 0 {
		s.t.cl.RemoveConsumePartitions(gone)
	}
}

// seek asks the group for a new place, once the thread has nothing any more.
func (s *streams) seek() {
	var had []task.ID
	s.beat.look(func(p *place) { had = p.owned.active })
	s.ignore(had)
	s.t.stand(nil)
	s.carried = 0
	s.beat.change((*place).again)
}

// begin finds out where partitions begin that came to us, as soon as no transaction has a say in it any more, and consumes
// them from there. Others are not kept waiting for it: a turn asks once.
func (s *streams) begin(ctx context.Context) error {
	if len(s.unplaced) == 0 || time.Since(s.asked) < pause {
		return nil
	}
	defer func() { s.asked = time.Now() }()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	who := s.identity()
	if who.member == "" {
		return nil
	}
	found, err := s.t.askCommitted(ctx, who, slices.Collect(maps.Keys(s.unplaced)))
	switch refusal, ok := errors.AsType[*kerr.Error](err); {
	case !ok || refusal.Retriable:
	case isAny(err, ofGroup):
		s.beat.soon()
	default:
		return fmt.Errorf("stream: fetch committed offsets: %w", err)
	}
	from := map[string]map[int32]kgo.Offset{}
	for at, o := range found {
		if o.Offset < 0 {
			begin, err := s.t.begin(ctx, at)
			answered, final := patient(err, &s.waits, s.t.e.o.TaskTimeout)
			if final != nil {
				return final
			}
			if !answered {
				s.t.log.Warn("the brokers do not say where a partition begins; they are asked again", "topic", at.topic, "partition", at.partition, "error", err)
				continue
			}
			o = task.Offset{Topic: at.topic, Partition: at.partition, Offset: begin, Epoch: -1, New: true}
		}
		s.t.fetched[at] = o
		delete(s.unplaced, at)
		if from[at.topic] == nil {
			from[at.topic] = map[int32]kgo.Offset{}
		}
		from[at.topic][at.partition] = kgo.NewOffset().At(o.Offset).WithEpoch(o.Epoch)
	}
	if len(from) > 0 {
		s.t.cl.AddConsumePartitions(from)
	}
	return nil
}

func (*streams) allow() {}

func (s *streams) ready() (yes bool) {
	s.beat.look(func(p *place) { yes = p.ready(time.Now()) })
	return yes
}

func (s *streams) silent() (yes bool) {
	s.beat.look(func(p *place) { yes = p.silent(time.Now()) })
	return yes
}

func (s *streams) identity() (who identity) {
	s.beat.look(func(p *place) { who = p.identity() })
	return who
}

func (s *streams) renewed(ctx context.Context, old identity) error {
	if s.beat.renewed(ctx, old) {
		return nil
	}
	return kerr.StaleMemberEpoch
}

func (s *streams) rejoin() {
	s.t.disown(slices.Collect(maps.Keys(s.t.gained)))
	s.t.giveUp(s.t.drop(s.t.suspended))
	s.seek()
}

func (s *streams) fault(err error) error { return fmt.Errorf("stream: group %s: %w", s.t.e.app, err) }

func (s *streams) leave() {
	s.beat.end()
	s.t.cl.Close()
}
