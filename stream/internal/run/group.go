package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// The callbacks of the group. They come while the thread does not work; the mutex makes sure of it.

// assigned makes the tasks of the partitions we got. Tasks that were ours until now go on with their stores.
func (t *thread) assigned(_ context.Context, _ *kgo.Client, got map[string][]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.e.fail.At("assigned-before")
	defer t.e.fail.At("assigned-after")
	t.joined = true
	for topic, partitions := range got {
		for _, p := range partitions {
			if err := t.own(topic, p); err != nil && t.fatal == nil {
				t.fatal = err
			}
		}
	}
	if err := t.drop(t.suspended); err != nil {
		t.log.Warn("a task that moved away did not close well", "error", err)
	}
	t.log.Info("assigned", "tasks", len(t.tasks))
}

// own adds a partition to its task, which is made if need be.
func (t *thread) own(topic string, p int32) error {
	pl := t.e.o.Program.Plan
	for _, sub := range pl.Subs {
		if !slices.ContainsFunc(sub.Sources, func(n *plan.Node) bool { return pl.Reads(n, topic) }) {
			continue
		}
		id := task.ID{Sub: sub.ID, Partition: p}
		a, ok := t.tasks[id]
		if !ok {
			var err error
			if a, err = t.make(id); err != nil {
				return err
			}
			t.tasks[id] = a
		}
		a.task.Open(topic)
		a.partitions[topic] = true
	}
	_, err := t.e.size(t.life, topic) // one that matched a pattern may be new to us
	return err
}

// make creates a task, or takes a suspended one up again.
func (t *thread) make(id task.ID) (*active, error) {
	if a, ok := t.suspended[id]; ok {
		delete(t.suspended, id)
		return a, nil
	}
	sub := t.e.o.Program.Plan.Subs[id.Sub]
	ctx, cancel := context.WithCancel(context.Background())
	made, err := task.New(t.e.o.Program, id, []*plan.Sub{sub}, task.Env{
		Context: ctx, Log: t.log.With("application", t.e.app, "task", id.String()), Cache: &t.caches,
		Partitions: func(topic string) int32 {
			n, _ := t.e.size(ctx, topic) // a sink that chooses its topic may name a new one; 0 if it is not there
			return n
		},
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("stream: task %s: %w", id, err)
	}
	a := &active{id: id, sub: sub, task: made, cancel: cancel, partitions: map[string]bool{}, restoring: map[string]bool{}}
	for _, s := range made.Stores() {
		if s.Restored() != "" {
			a.restoring[s.Name] = true
		}
	}
	return a, nil
}

// revoked commits and gives the partitions up. The tasks are kept aside: when they come back at once, nobody else has
// written to their changelogs and their stores are still whole.
func (t *thread) revoked(ctx context.Context, _ *kgo.Client, lost map[string][]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.e.fail.At("revoked-before")
	defer t.e.fail.At("revoked-after")
	if len(t.tasks) == 0 || len(lost) == 0 {
		return
	}
	t.e.works(t.name, false)
	err := errors.Join(t.finish(ctx, t.tasks), t.commit(ctx))
	if err != nil {
		t.log.Warn("commit before giving partitions up failed; their records will be processed again", "error", err)
		t.note(err)
		t.note(t.abort(ctx))
		t.giveUp(t.drop(t.tasks))
		return
	}
	for id, a := range t.tasks {
		delete(t.tasks, id)
		t.countTask(a)
		if !a.running {
			t.giveUp(t.drop(map[task.ID]*active{id: a}))
			continue
		}
		t.e.close(a.task)
		a.task.Suspend()
		t.pool.giveUp(a.task)
		a.running = false
		clear(a.partitions)
		t.suspended[id] = a
	}
	t.forget()
}

// lost is called when the group has given us up: others may be at work on our partitions already.
func (t *thread) lost(context.Context, *kgo.Client, map[string][]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.e.fail.At("lost-before")
	defer t.e.fail.At("lost-after")
	t.e.works(t.name, false)
	t.note(t.abort(t.life))
	t.giveUp(t.drop(t.tasks))
	t.giveUp(t.drop(t.suspended))
}

// note keeps an error of a callback for the loop if it is not done with by giving the tasks up.
func (t *thread) note(err error) {
	if err == nil || t.fatal != nil || errors.Is(err, errUnfinished) {
		return
	}
	if tr, ok := errors.AsType[*trouble](err); ok {
		switch v := judge(tr.step, tr.err, t.e.o.ExactlyOnce); v {
		case again, undone, moved:
			return
		case fenced:
			err = fmt.Errorf("%w: %w", errFenced, err)
		case final: // explained when the loop meets it
		}
	}
	t.fatal = err
}

func (t *thread) giveUp(err error) {
	if err != nil {
		t.log.Warn("a task did not close well", "error", err)
	}
}

// drop closes tasks and forgets them, without a commit.
func (t *thread) drop(tasks map[task.ID]*active) error {
	var errs []error
	for id, a := range tasks {
		delete(tasks, id)
		t.e.close(a.task)
		t.countTask(a)
		errs = append(errs, a.task.Close())
		a.cancel()
		t.pool.giveUp(a.task)
		t.restore.forget(a)
	}
	t.forget()
	return errors.Join(errs...)
}

// forget clears what was known of partitions that are no longer ours.
func (t *thread) forget() {
	if len(t.tasks) > 0 {
		return
	}
	resume := map[string][]int32{}
	for at := range t.paused {
		resume[at.topic] = append(resume[at.topic], at.partition)
	}
	if len(resume) > 0 {
		t.cl.ResumeFetchPartitions(resume)
	}
	clear(t.paused)
	clear(t.fetched)
}

// offsetsFetched remembers what was committed, with the text beside it.
func (t *thread) offsetsFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.e.fail.At("offsets-fetched-before")
	defer t.e.fail.At("offsets-fetched-after")
	for _, g := range resp.Groups {
		for _, topic := range g.Topics {
			for _, p := range topic.Partitions {
				o := task.Offset{Topic: topic.Topic, Partition: p.Partition, Offset: p.Offset, Epoch: p.LeaderEpoch}
				if p.Metadata != nil {
					o.Metadata = *p.Metadata
				}
				t.fetched[part{topic.Topic, p.Partition}] = o
			}
		}
	}
	return nil
}

// beginnings chooses where partitions begin that have no committed offset, by the source's policy.
func (t *thread) beginnings(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic, partitions := range offsets {
		for p := range partitions {
			at := part{topic, p}
			if t.fetched[at].Offset >= 0 {
				continue
			}
			begin, err := t.begin(ctx, at)
			if err != nil {
				if t.fatal == nil {
					t.fatal = err
				}
				return nil, err
			}
			partitions[p] = kgo.NewOffset().At(begin)
			t.fetched[at] = task.Offset{Topic: topic, Partition: p, Offset: begin, Epoch: -1, New: true}
		}
	}
	return offsets, nil
}

// begin finds the offset where a partition begins by its source's policy.
func (t *thread) begin(ctx context.Context, at part) (int64, error) {
	var listed kadm.ListedOffsets
	var err error
	reset := t.policy(at.topic)
	switch reset.Policy {
	case opt.Earliest:
		listed, err = list(ctx, []string{at.topic}, t.e.admin.ListStartOffsets)
	case opt.Latest:
		listed, err = list(ctx, []string{at.topic}, t.e.admin.ListCommittedOffsets)
	case opt.ByDuration:
		listed, err = t.e.admin.ListOffsetsAfterMilli(ctx, time.Now().Add(-reset.Ago).UnixMilli(), at.topic)
	case opt.None:
		return 0, &task.Error{Op: "begin", Source: &task.Input{Topic: at.topic, Partition: at.partition, Offset: -1},
			Err: errors.New("there is no committed offset, and the source says NoReset"), Hint: "commit an offset for the group, or let the source StartFrom another place"}
	}
	if err != nil {
		return 0, fmt.Errorf("stream: where %s-%d begins: %w", at.topic, at.partition, err)
	}
	o, ok := listed.Lookup(at.topic, at.partition)
	if !ok || o.Err != nil {
		return 0, fmt.Errorf("stream: where %s-%d begins: %w", at.topic, at.partition, errors.Join(o.Err))
	}
	return o.Offset, nil
}

// restart goes on by the source's policy where the offset to be read is not there any more.
func (t *thread) restart(ctx context.Context, topic string, p int32) error {
	begin, err := t.begin(ctx, part{topic, p})
	if err != nil {
		return err
	}
	t.log.Warn("the offset to be read is gone; the source's reset policy applies", "topic", topic, "partition", p, "continues", begin)
	if a := t.owner(topic, p); a != nil {
		a.task.Seek(topic, begin)
	}
	t.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {p: {Epoch: -1, Offset: begin}}})
	return nil
}
