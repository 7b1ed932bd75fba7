package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/task"
)

// commitTimeout bounds flushing and committing together: beyond it the broker has been away for too long.
const commitTimeout = 60 * time.Second

// errMoved is what a commit returns when this member no longer owns its partitions: its tasks are at work elsewhere.
var errMoved = errors.New("stream: the group has moved on without this member")

// errUnfinished is what a commit returns under exactly-once while slow work stands in its way: a part of what a record causes
// is done, the rest is not. Trying again later helps.
var errUnfinished = errors.New("stream: slow work is not finished")

// commit makes what the tasks have done last: everything sent is acknowledged, only then are the offsets committed. Under
// at-least-once the records are processed again after a crash between the two; under exactly-once both are one transaction.
func (t *thread) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	start := time.Now()
	if t.producer.lost != nil {
		return t.producer.lost
	}
	if !t.whole() {
		return errUnfinished
	}
	t.lastCommit = start
	if err := t.acknowledged(ctx); err != nil {
		return err
	}
	all, per := t.due()
	if len(all) == 0 && !t.producer.open {
		return nil
	}
	if t.e.fail.Planted("saved-before-commit") {
		for a, offsets := range per {
			_ = t.save(a, offsets)
		}
	}
	if err := t.conclude(ctx, all); err != nil {
		return err
	}
	t.troubled = time.Time{}
	for a, offsets := range per {
		a.task.Committed(offsets)
		a.spent.commits++
		if err := t.save(a, offsets); err != nil {
			return err
		}
	}
	t.spent(all)
	took(&t.meter.commit, start)
	t.meter.commits++
	return nil
}

// acknowledged empties the caches and waits until everything sent is acknowledged.
func (t *thread) acknowledged(ctx context.Context) error {
	for _, a := range t.tasks {
		if a.running && !a.halved && a.task.CommitNeeded() {
			if err := t.emptyCaches(ctx, a); err != nil {
				return err
			}
		}
	}
	if !t.whole() {
		return errUnfinished // what left the caches is the beginning of more
	}
	t.e.fail.At("flush-before")
	if !t.e.fail.Planted("offsets-before-flush") {
		if err := t.flush(ctx); err != nil {
			return err
		}
	}
	t.e.fail.At("flush-after")
	return nil
}

// due is what a commit says, in all and of each task.
func (t *thread) due() (all []task.Offset, per map[*active][]task.Offset) {
	per = map[*active][]task.Offset{}
	for _, a := range t.tasks {
		if a.running && !a.halved && a.task.CommitNeeded() {
			per[a] = a.task.Offsets()
			all = append(all, per[a]...)
		}
	}
	if t.e.fail.Planted("half-a-commit") {
		all = all[:len(all)/2]
	}
	return all, per
}

// emptyCaches sends what a task's caches held back.
func (t *thread) emptyCaches(ctx context.Context, a *active) error {
	if err := a.task.Flush(t.e.o.Clock()); err != nil {
		a.halved = true
		return t.halt(ctx, a, err)
	}
	return t.producer.send(ctx, a.id, a.task.Take())
}

// flush waits until everything sent is acknowledged. Dead letters for what was not may themselves have to be waited for.
func (t *thread) flush(ctx context.Context) error {
	defer t.waited(time.Now())
	for {
		if err := t.taken(ctx); err != nil {
			return &trouble{flushing, fmt.Errorf("the brokers did not take what was sent: %w", err)}
		}
		if !t.producer.failed.Load() {
			return nil
		}
		if err := t.producer.check(ctx); err != nil {
			return err
		}
	}
}

// taken waits until the brokers have answered for all that was sent. If meanwhile the group may have given this member up,
// what they have not taken is taken back.
func (t *thread) taken(ctx context.Context) error {
	for {
		wait, cancel := context.WithTimeout(ctx, pollWait)
		err := t.producer.cl.Flush(wait)
		cancel()
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case t.member.silent():
			t.recall()
			return errMoved
		}
	}
}

// commitOffsets writes the offsets with their metadata, as this member of this generation, so that a member the group has
// given up is refused.
func (t *thread) commitOffsets(ctx context.Context, offsets []task.Offset) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.InstanceID = t.e.app, t.instance
	at := map[string]int{}
	for _, o := range offsets {
		i, ok := at[o.Topic]
		if !ok {
			i = len(req.Topics)
			at[o.Topic] = i
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic, topic.TopicID = o.Topic, t.e.partitions.topicID(o.Topic)
			req.Topics = append(req.Topics, topic)
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = o.Partition, o.Offset, o.Epoch
		p.Metadata = new(o.Metadata)
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	return t.asMember(ctx, func(who identity) error {
		req.MemberID, req.Generation = who.member, who.epoch
		t.e.fail.At("offset-commit-before")
		defer t.e.fail.At("offset-commit-after")
		return issue(ctx, t, req)
	})
}

// asMember commits as the member that the thread is, until the answer is not that a coordinator is busy, moving or loading,
// or that the member has another epoch since a moment ago.
func (t *thread) asMember(ctx context.Context, commit func(identity) error) error {
	for {
		who := t.member.identity()
		if who.member == "" {
			return &trouble{committing, errMoved} // without a name, nothing would be fenced
		}
		err := commit(who)
		switch {
		case errors.Is(err, kerr.StaleMemberEpoch), errors.Is(err, kerr.IllegalGeneration):
			if err := t.member.renewed(ctx, who); err != nil {
				return &trouble{committing, err}
			}
			continue
		case errors.Is(err, kerr.RebalanceInProgress), !kerr.IsRetriable(err) && !errors.Is(err, kerr.ConcurrentTransactions):
			return troubled(committing, err)
		}
		select {
		case <-ctx.Done():
			return &trouble{committing, err}
		case <-time.After(pause):
		}
	}
}

func issue(ctx context.Context, t *thread, req *kmsg.OffsetCommitRequest) error {
	resp, err := req.RequestWith(ctx, t.cl)
	if err != nil {
		return err
	}
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// millis is a record's time.
func millis(ms int64) time.Time {
	if ms < 0 {
		return time.Time{} // the client's clock sets it
	}
	return time.UnixMilli(ms)
}
