package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream/internal/task"
)

// restorer makes the stores of a thread's tasks whole from their changelogs, by a group-less client of its own, a poll at a
// time so that rebalances are not held up. When they are, it follows the changelogs of copies. It belongs to the thread.
type restorer struct {
	t    *thread
	cl   *kgo.Client // nil while nothing is restored
	jobs map[part]*job

	decided map[part]task.Offset // under exact state: what is committed of the inputs of tasks that copies are made of
	held    map[part]time.Time   // since when a copy waits for what is not decided

	limits map[part]int64 // how far sources are processed that copies are made of
	asked  time.Time      // for that
	idle   bool           // what copies are made of is not fetched while tasks wait

	waits time.Time // since when brokers have not answered; zero: they do
	dog   watchdog
}

// job is the restoration of one store.
type job struct {
	a     *active
	store string
	at    part
	next  int64 // where the client reads on
	end   int64 // where the changelog ended when the job began: nobody else writes it meanwhile. That of a copy has no end
	done  int64
	pace  pace
}

// step goes on restoring and begins the tasks that are whole. It says whether any is not yet.
func (r *restorer) step(ctx context.Context) (restoring bool, err error) {
	r.look(ctx)
	err = r.begin(ctx)
	if err == nil && len(r.jobs) > 0 {
		r.yield()
		err = r.poll(ctx)
	}
	if answered, final := patient(err, &r.waits, r.t.e.o.TaskTimeout); final != nil {
		return true, final
	} else if !answered {
		r.t.log.Warn("restoring waits for brokers", "error", err)
	}
	if len(r.jobs) == 0 {
		r.close()
	}
	for _, a := range r.t.tasks {
		if a.running {
			continue
		}
		if len(a.restoring) > 0 && !r.t.e.fail.Planted("begun-before-restored") || !r.t.start(a) {
			restoring = true
			continue
		}
		if err := r.t.init(ctx, a); err != nil {
			return true, err
		}
	}
	return restoring, nil
}

// busy says whether a task waits for something to be read: one that waits for its offsets waits for the group.
func (r *restorer) busy() bool {
	for _, j := range r.jobs {
		if !j.a.copy {
			return true
		}
	}
	return false
}

// wanting are the jobs that are yet to begin, and their topics.
func (r *restorer) wanting() (map[part]*job, map[string]bool) {
	fresh, topics := map[part]*job{}, map[string]bool{}
	want := func(a *active) {
		if len(a.restoring) == 0 || !r.orient(a) {
			return
		}
		for store := range a.restoring {
			spec := r.t.e.o.Program.Stores[store]
			at := part{spec.Restored(), a.id.Partition}
			if spec.Source != "" && !r.known(a, store, at) || a.copy && r.holds(at) {
				continue
			}
			if r.jobs[at] == nil {
				fresh[at] = &job{a: a, store: store, at: at}
				topics[at.topic] = true
			}
		}
	}
	for _, a := range r.t.tasks {
		want(a)
	}
	for _, a := range r.t.copies {
		if a.retired.IsZero() {
			want(a)
		}
	}
	return fresh, topics
}

// begin makes jobs of the stores that are not whole and have none.
func (r *restorer) begin(ctx context.Context) error {
	fresh, topics := r.wanting()
	if len(fresh) == 0 {
		return nil
	}
	starts, err := list(ctx, keys(topics), r.t.e.admin.ListStartOffsets)
	if err != nil {
		return fmt.Errorf("stream: restore: %w", err)
	}
	ends, err := list(ctx, keys(topics), r.t.e.ends())
	if err != nil {
		return fmt.Errorf("stream: restore: %w", err)
	}
	for at, j := range fresh {
		start, ok1 := starts.Lookup(at.topic, at.partition)
		end, ok2 := ends.Lookup(at.topic, at.partition)
		if !ok1 || !ok2 {
			return fmt.Errorf("%w: changelog %s has no partition %d", ErrTopics, at.topic, at.partition)
		}
		if err := errors.Join(start.Err, end.Err); err != nil {
			return fmt.Errorf("%w: changelog %s-%d: %w", ErrTopics, at.topic, at.partition, err)
		}
		j.next, j.end = start.Offset, r.limit(j, start.Offset, end.Offset)
		if r.t.e.fail.Planted("restored-short") {
			j.end = max(j.next, j.end-3)
		}
		if j.a.copy && r.t.e.fail.Planted("copy-without-past") {
			j.next = end.Offset
		}
		again, err := r.resume(j, end.Offset)
		if again || err != nil {
			return err // the next turn begins with what is there then
		}
	}
	return r.add(fresh)
}

// resume lets a store go on from where it is. One that does not fit its topic costs the task a new beginning.
func (r *restorer) resume(j *job, end int64) (again bool, err error) {
	m, ok := j.a.mark(j.store)
	if !ok {
		return false, nil
	}
	spec := r.t.e.o.Program.Stores[j.store]
	if !j.a.copy {
		end = j.end
	}
	if why := cmp.Or(r.t.fits(spec, m, j.next, end), r.t.unproved(j.a, spec, m)); why != nil {
		if spec.OnDisk {
			r.t.wiping(j.a, "position", why)
		}
		if j.a.copy {
			r.t.discard(j.a, why)
			return true, nil
		}
		return true, r.t.rebuild(j.a)
	}
	j.next = m.Position
	return false, nil
}

// ends asks where changelogs end. A transaction of the last owner may be decided and not yet written everywhere: its offsets
// are committed then, and its rows must be waited for.
func (e *Engine) ends() func(context.Context, ...string) (kadm.ListedOffsets, error) {
	if e.o.ExactlyOnce {
		return e.admin.ListEndOffsets
	}
	return e.admin.ListCommittedOffsets
}

// known says whether it is known how far a source's partition is processed, and for a copy, that this is further than it is.
func (r *restorer) known(a *active, store string, at part) bool {
	if !a.copy {
		_, ok := r.t.fetched[at]
		return ok
	}
	m, _ := a.mark(store)
	return r.limits[at] > max(m.Position, 0)
}

// limit is where restoring ends. A store that is restored from a source topic gets what the task has processed of it: the
// rest is processed yet.
func (r *restorer) limit(j *job, start, end int64) int64 {
	source := r.t.e.o.Program.Stores[j.store].Source != ""
	switch {
	case j.a.copy && source:
		return r.limits[j.at]
	case j.a.copy:
		return math.MaxInt64
	case !source:
		return end
	}
	o := r.t.fetched[j.at]
	if o.New || o.Offset < 0 {
		return start
	}
	return min(end, o.Offset)
}

// add starts reading. An empty changelog is restored as it is.
func (r *restorer) add(fresh map[part]*job) error {
	read := map[part]*job{}
	for at, j := range fresh {
		if !j.a.copy {
			r.tell(j, max(0, j.end-j.next), false)
		}
		if j.next >= j.end {
			if err := r.finish(j); err != nil {
				return err
			}
			continue
		}
		if r.jobs == nil {
			r.jobs = map[part]*job{}
		}
		r.jobs[at], read[at] = j, j
	}
	return r.read(read)
}

// read has the client read what jobs need.
func (r *restorer) read(jobs map[part]*job) error {
	if len(jobs) == 0 {
		return nil
	}
	from := map[string]map[int32]kgo.Offset{}
	for at, j := range jobs {
		if from[at.topic] == nil {
			from[at.topic] = map[int32]kgo.Offset{}
		}
		from[at.topic][at.partition] = kgo.NewOffset().At(j.next)
	}
	if r.cl == nil {
		cl, err := kgo.NewClient(append(r.t.e.options("restore"),
			kgo.FetchIsolationLevel(r.t.e.isolation("restored-uncommitted")),
			kgo.KeepControlRecords(),
			kgo.ConsumeResetOffset(kgo.NoResetOffset()),
			kgo.MaxDecompressBatchBytes(64<<20),
		)...)
		if err != nil {
			return fmt.Errorf("stream: client: %w", err)
		}
		r.cl = cl
		r.dog.begin()
	}
	r.cl.AddConsumePartitions(from)
	return nil
}

// renew goes on with another client.
func (r *restorer) renew() error {
	r.cl.Close()
	r.cl, r.idle = nil, false
	return r.read(r.jobs)
}

// fetch waits for records if a task does.
func (r *restorer) fetch(ctx context.Context) kgo.Fetches {
	if !r.busy() {
		return r.cl.PollRecords(nil, pollMost) //nolint:staticcheck // a nil context is kgo's way not to wait
	}
	ctx, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()
	return r.cl.PollRecords(ctx, pollMost)
}

// poll applies what has come.
func (r *restorer) poll(ctx context.Context) error {
	r.t.e.fail.At("restore-before")
	defer r.t.e.fail.At("restore-after")
	defer r.t.restores(time.Now())
	fetches := r.fetch(ctx)
	for _, f := range fetches.Errors() {
		switch {
		case errors.Is(f.Err, context.DeadlineExceeded), errors.Is(f.Err, context.Canceled):
		case errors.Is(f.Err, kerr.OffsetOutOfRange):
			r.again(part{f.Topic, f.Partition})
		default:
			return fmt.Errorf("stream: restore from %s-%d: %w", f.Topic, f.Partition, away(f.Err))
		}
	}
	var failed error
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		j := r.jobs[part{p.Topic, p.Partition}]
		if j == nil || len(p.Records) == 0 || failed != nil {
			return
		}
		in := make([]task.Input, 0, len(p.Records))
		for _, rec := range p.Records {
			if !rec.Attrs.IsControl() && rec.Offset < j.end { // a source topic may go on behind
				in = append(in, input(rec))
			}
		}
		all := len(in)
		in = r.decide(j, in)
		j.a.task.Restore(j.store, in)
		j.done += int64(len(in))
		if j.next = p.Records[len(p.Records)-1].Offset + 1; len(in) < all {
			failed = r.hold(j, in)
			return
		}
		left := max(0, min(j.end, p.LastStableOffset)-j.next)
		r.tell(j, left, j.a.copy && left == 0)
		if j.next >= j.end {
			r.remove(j)
			failed = r.finish(j)
			return
		}
		failed = r.t.restored(j.a, j.store, j.next)
	})
	return failed
}

// again begins a job anew: the changelog's beginning was deleted under it. What is gone was deleted from the store as well.
func (r *restorer) again(at part) {
	if j := r.jobs[at]; j != nil {
		r.remove(j)
	}
}

// remove ends a job. Its partition does not stay paused: the task of a copy that waited may have come here, and is waited for.
func (r *restorer) remove(j *job) {
	delete(r.jobs, j.at)
	at := map[string][]int32{j.at.topic: {j.at.partition}}
	r.cl.RemoveConsumePartitions(at)
	if j.a.copy {
		r.cl.ResumeFetchPartitions(at)
	}
}

func (r *restorer) finish(j *job) error {
	if !j.a.copy { // that one is never finished
		delete(j.a.restoring, j.store)
		r.t.amends(j.a, j.store)
		r.tell(j, 0, true)
	}
	return r.t.restored(j.a, j.store, j.end)
}

func (r *restorer) tell(j *job, left int64, done bool) {
	rate, rest := j.pace.at(j.done, j.next, left, time.Now())
	r.t.countRestored(j, left, rate)
	r.t.e.o.OnRestore(Restored{
		Store: j.store, Task: j.a.id, Restored: j.done, Remaining: left, Done: done, Standby: j.a.copy, Rate: rate, Left: rest,
	})
	if done {
		j.pace.begun = time.Time{} // a copy goes on when there is more
	}
}

// forget ends the jobs of a task that is no longer ours.
func (r *restorer) forget(a *active) {
	for _, j := range r.jobs {
		if j.a == a {
			r.remove(j)
		}
	}
	if a.copy { // how far it is behind nobody knows any more
		r.t.e.o.Metrics.RemoveGauges(r.t.labels("task", a.id.String())...)
	}
}

// close ends the client; the next restoration makes another.
func (r *restorer) close() {
	if r.cl != nil {
		r.cl.Close()
		r.cl = nil
	}
	clear(r.jobs)
}

// start says whether a task may begin: the committed offsets of all its partitions are known.
func (t *thread) start(a *active) bool {
	for topic := range a.partitions {
		if _, ok := t.fetched[part{topic, a.id.Partition}]; !ok {
			return false
		}
	}
	return true
}

// init begins a task whose stores are whole.
func (t *thread) init(ctx context.Context, a *active) error {
	if err := a.task.Init(t.e.o.Clock(), t.committedOf(a)); err != nil {
		return err
	}
	a.running = true
	t.e.open(a.task)
	t.log.Debug("task works", "task", a.id.String(), "since", time.Since(t.lastCommit))
	return t.producer.send(ctx, a.id, a.task.Take())
}
