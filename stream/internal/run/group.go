package run

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/statedir"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// What a thread does with the tasks that the group gives and takes, by whatever protocol. A membership calls these methods with
// the thread's mutex held.

// gain notes tasks that are to be worked on here, each with topics whose partition is its own. The loop makes them, since no
// store may be opened while the group waits.
func (t *thread) gain(tasks map[task.ID][]string) {
	t.moving.gained += len(tasks)
	for id, topics := range tasks {
		t.gained[id] = append(t.gained[id], topics...)
	}
}

// settled says that everything this member is to work on has been gained: suspended tasks that did not come back are at work
// elsewhere.
func (t *thread) settled() { t.ripe = true }

// takeUp makes the tasks that were gained, and ends those that did not come back.
func (t *thread) takeUp() error {
	for id, topics := range t.gained {
		err := t.takeOn(id, topics)
		if errors.Is(err, statedir.ErrHeld) {
			t.awaited[id] = true // another thread of ours is about to let go of it
			continue
		}
		if err != nil {
			return err
		}
		delete(t.gained, id)
		if t.awaited[id] {
			delete(t.awaited, id)
			t.readAgain(id, slices.Values(topics))
		}
	}
	if t.ripe {
		t.ripe = false
		t.demote()
		if !t.e.fail.Planted("suspended-for-ever") {
			t.giveUp(t.drop(t.suspended))
		}
		t.rebalanced()
	}
	return nil
}

// readAgain goes back to where a task begins: what was fetched so far was given to nobody, or is gone with the task.
func (t *thread) readAgain(id task.ID, topics iter.Seq[string]) {
	back := map[string]map[int32]kgo.EpochOffset{}
	for topic := range topics {
		if o, ok := t.fetched[part{topic, id.Partition}]; ok { // otherwise nothing was fetched yet
			back[topic] = map[int32]kgo.EpochOffset{id.Partition: {Epoch: o.Epoch, Offset: o.Offset}}
		}
	}
	t.rewind(back)
}

// rewind lets the client read partitions again from somewhere. What the turn at work has fetched of them is not taken.
func (t *thread) rewind(to map[string]map[int32]kgo.EpochOffset) {
	t.cl.SetOffsets(to)
	for topic, partitions := range to {
		for p := range partitions {
			t.rewound[part{topic, p}] = true
		}
	}
}

func (t *thread) takeOn(id task.ID, topics []string) error {
	for _, topic := range topics {
		if err := t.own(id, topic); err != nil {
			return err
		}
	}
	return nil
}

// regain makes a task anew that has just ended here. If another thread of ours was faster, since the group has given it the task and
// this thread does not know yet, the task is awaited like one that was gained.
func (t *thread) regain(id task.ID, topics []string) error {
	err := t.takeOn(id, topics)
	if errors.Is(err, statedir.ErrHeld) {
		t.gained[id], t.awaited[id] = topics, true
		return nil
	}
	return err
}

// own adds a partition to its task, which is made if need be.
func (t *thread) own(id task.ID, topic string) error {
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
	_, err := t.e.size(t.life, topic) // one that matched a pattern may be new to us
	return err
}

// make creates a task, or takes up again what there is of it: suspended, or as a copy.
func (t *thread) make(id task.ID) (*active, error) {
	if a, ok := t.suspended[id]; ok {
		delete(t.suspended, id)
		return a, nil
	}
	if a, ok := t.copies[id]; ok {
		delete(t.copies, id)
		t.restore.forget(a)
		a.copy = false // the rest of its changelogs is read like that of any other task
		return a, nil
	}
	return t.build(id)
}

// build creates a task out of nothing, or of what is on disk.
func (t *thread) build(id task.ID) (*active, error) {
	dir, err := t.e.claim(id)
	if err != nil {
		return nil, err
	}
	a := &active{id: id, sub: t.e.o.Program.Plan.Subs[id.Sub], dir: dir}
	env, cancel := t.env(a)
	if a.task, err = task.New(t.e.o.Program, id, []*plan.Sub{a.sub}, env); err != nil {
		cancel()
		if dir != nil {
			dir.Release()
		}
		return nil, fmt.Errorf("stream: task %s: %w", id, err)
	}
	a.cancel = cancel
	t.meter.made++
	t.unrestored(a)
	return a, nil
}

// env is what a task is made with.
func (t *thread) env(a *active) (task.Env, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	env := task.Env{
		Context: ctx, Log: t.log.With("application", t.e.app, "task", a.id.String()), Cache: &t.caches, Trace: t.e.tracer(a.id),
		Partitions: func(topic string) int32 {
			n, _ := t.e.size(ctx, topic) // a sink that chooses its topic may name a new one; 0 if it is not there
			return n
		},
		TopicID: t.e.partitions.topicID,
	}
	if a.dir != nil {
		env.Home = t.home(a.id, a.dir)
	}
	return env, cancel
}

// unrestored begins the book-keeping of a task that was just made.
func (t *thread) unrestored(a *active) {
	a.partitions, a.restoring = map[string]bool{}, map[string]bool{}
	if a.at == nil {
		a.at = map[string]store.Mark{}
	}
	for _, s := range a.task.Stores() {
		if s.Restored() != "" {
			a.restoring[s.Name] = true
		}
	}
	t.follow(a)
}

// give gives tasks up to others, after a last commit. They are kept aside: when they come back at once, nobody else has
// written to their changelogs and their stores are still whole.
func (t *thread) give(ctx context.Context, ids []task.ID) {
	t.moving.given += len(ids)
	t.disown(ids)
	going := map[task.ID]*active{}
	for _, id := range ids {
		if a, ok := t.tasks[id]; ok {
			going[id] = a
		}
	}
	if len(going) == 0 {
		return
	}
	t.e.works(t.name, false)
	slow := going
	if t.e.o.Program.Ordered {
		slow = t.tasks // the transaction is one for all, and no commit leaves out what has left a trace
	}
	err := errors.Join(t.finish(ctx, slow), t.commit(ctx))
	for id := range going {
		delete(t.tasks, id)
	}
	if err != nil {
		t.log.Warn("commit before giving tasks up failed; their records will be processed again", "error", err)
		t.note(err)
		t.note(t.abort(ctx))
		t.recall()
		t.giveUp(t.drop(going))
		t.spoiled = t.e.o.ExactlyOnce
	} else {
		t.suspend(going)
	}
	for _, a := range t.tasks {
		if a.task.Asynchronous() {
			a.task.Hold(task.Flowing)
		}
	}
}

// disown forgets tasks that were gained and not yet made.
func (t *thread) disown(ids []task.ID) {
	for _, id := range ids {
		for _, topic := range t.gained[id] {
			delete(t.fetched, part{topic, id.Partition})
		}
		delete(t.gained, id)
		delete(t.awaited, id)
	}
}

// suspend keeps tasks aside whose work is committed.
func (t *thread) suspend(going map[task.ID]*active) {
	for id, a := range going {
		if !a.running {
			t.giveUp(t.drop(map[task.ID]*active{id: a}))
			continue
		}
		t.parts(a)
		t.e.close(a.task)
		a.task.Suspend()
		t.pool.giveUp(a.task)
		t.release(a)
		a.running = false
		clear(a.partitions)
		t.suspended[id] = a
	}
}

// lose gives all tasks up at once: others may be at work on them already, so nothing more is committed.
func (t *thread) lose() {
	t.e.works(t.name, false)
	t.moving.lost += len(t.tasks) + len(t.gained)
	t.disown(slices.Collect(maps.Keys(t.gained)))
	t.note(t.abort(t.life))
	t.recall()
	t.giveUp(t.drop(t.tasks))
	t.giveUp(t.drop(t.suspended))
}

// recall takes back what has been sent for tasks that are given up without a commit: it must not come after what their next
// owners write. What is on its way to a broker cannot be taken back. The thread goes on with a new client. Exactly once,
// brokers see to it.
func (t *thread) recall() {
	if t.e.o.ExactlyOnce || t.cl.BufferedProduceRecords() == 0 {
		return
	}
	t.cl.UnsafeAbortBufferedRecords()
	if t.fatal == nil {
		t.fatal = fmt.Errorf("%w: %w", errFenced, errMoved)
	}
}

// beginAgain begins the tasks anew that stay here after the transaction they were part of was aborted with those that went.
func (t *thread) beginAgain(ctx context.Context) error {
	if !t.spoiled {
		return nil
	}
	t.spoiled = false
	return t.undo(ctx)
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
		t.parts(a)
		t.meter.closed++
		t.unfollow(a)
		errs = append(errs, a.task.Close(), t.vacate(a))
		a.cancel()
		t.pool.giveUp(a.task)
		t.restore.forget(a)
		t.release(a)
	}
	return errors.Join(errs...)
}

// release clears what was known of a task's partitions, which are no longer ours.
func (t *thread) release(a *active) {
	resume := map[string][]int32{}
	for topic := range a.partitions {
		at := part{topic, a.id.Partition}
		if t.paused[at] {
			resume[topic] = append(resume[topic], at.partition)
		}
		delete(t.paused, at)
		delete(t.fetched, at)
	}
	if len(resume) > 0 {
		t.cl.ResumeFetchPartitions(resume)
	}
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
		err = away(err)
	case opt.None:
		return 0, &task.Error{Op: "begin", Source: &task.Input{Topic: at.topic, Partition: at.partition, Offset: -1},
			Err: errors.New("there is no committed offset, and the source says NoReset"), Hint: "commit an offset for the group, or let the source StartFrom another place"}
	}
	if err != nil {
		return 0, fmt.Errorf("stream: where %s-%d begins: %w", at.topic, at.partition, err)
	}
	o, ok := listed.Lookup(at.topic, at.partition)
	if !ok {
		return 0, fmt.Errorf("%w: topic %q has no partition %d any more", ErrTopics, at.topic, at.partition)
	}
	if o.Err != nil {
		return 0, fmt.Errorf("stream: where %s-%d begins: %w", at.topic, at.partition, o.Err)
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
