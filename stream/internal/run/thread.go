package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/statedir"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// Sizes of the loop.
const (
	pollWait   = 100 * time.Millisecond // Kafka Streams' poll.ms; also how late a punctuation may be
	pollMost   = 10_000                 // records at once
	workMost   = 200 * time.Millisecond // then poll again, so that a rebalance waits no longer than this
	turnMost   = 1000                   // records of one task before the next one's turn
	drainLimit = 20 * time.Second       // for the last commit
	fetchWait  = 500 * time.Millisecond // Kafka's fetch.max.wait.ms; a partition that is resumed waits for the fetch under way
	endsAge    = time.Second            // how long it is believed that an empty partition has nothing left
	endsPause  = 10 * time.Millisecond  // between two questions for the ends of partitions
)

// active is a task in the hands of a thread.
type active struct {
	id         task.ID
	sub        *plan.Sub
	task       *task.Task
	cancel     context.CancelFunc // ends the context that user code sees
	partitions map[string]bool    // topics whose partition is ours
	restoring  map[string]bool    // stores that are not whole yet
	running    bool
	halved     bool           // what its caches held back has gone on by half
	dir        *statedir.Task // of stores on disk; nil: there are none
	wipe       bool           // what is in it is of no use
	spent      spent

	at      map[string]store.Mark // what stores are worth, as of the last commit or while they are restored
	copy    bool                  // its stores follow their changelogs; others work on the task
	retired time.Time             // since when the group does not want the copy; zero: it does
}

// mark says what a store's content is worth; false if it begins empty.
func (a *active) mark(name string) (store.Mark, bool) {
	if m, ok := a.task.Mark(name); ok {
		return m, true
	}
	m, ok := a.at[name]
	return m, ok
}

// thread is a stream thread. Its fields belong to whoever holds mu: the loop while it works, callbacks of the client
// otherwise. The producer and the client have their own protection.
type thread struct {
	e        *Engine
	name     string
	log      *slog.Logger
	contact  contact
	cl       *kgo.Client
	producer *producer
	member   membership

	instance      *string // name of a static member; nil of others
	transactional string  // id of the transactional producer, unique among all that live; "" under at-least-once

	mu         gate
	tasks      map[task.ID]*active
	gained     map[task.ID][]string // tasks that were gained and are not made yet, with their topics
	awaited    map[task.ID]bool     // those of them that another thread of this instance has not let go of
	ripe       bool                 // nothing more is gained for now
	spoiled    bool                 // the transaction of the tasks was aborted and they have not begun anew
	suspended  map[task.ID]*active  // given up by a clean revocation; taken up again if they come back at once
	wanted     map[task.ID]bool     // of which the group wants copies kept here
	copies     map[task.ID]*active
	moving     rebalance
	fetched    map[part]task.Offset
	paused     map[part]bool
	rewound    map[part]bool // in the turn at work
	dog        watchdog
	restore    *restorer
	pool       *pool // of slow work
	asked      bool  // for a commit
	fatal      error // from a callback
	caches     store.Budget
	cacheMax   atomic.Int64 // this thread's part of them
	troubled   time.Time    // since when no commit has succeeded; zero: there is no trouble
	lastCommit time.Time
	lastPurge  time.Time
	lastEnds   time.Time
	lastForget time.Time
	meter      meter

	unpurged kadm.Offsets // of repartition topics, what is committed
	purging  sync.Mutex   // held while a purge is under way
	purges   sync.WaitGroup
	life     context.Context // of everything but polling: ends with the thread, or when draining takes too long
}

// part is a partition of a topic.
type part struct {
	topic     string
	partition int32
}

func newThread(e *Engine, n int) *thread {
	name := e.o.ClientID + "-StreamThread-" + strconv.Itoa(n)
	id, process := "", e.process
	var instance *string
	if e.o.InstanceID != "" { // a restart then ends what a killed process has left open
		process = e.o.InstanceID
		instance = new(process + "-" + strconv.Itoa(n))
	}
	if e.o.ExactlyOnce {
		id = e.app + "-" + process + "-" + strconv.Itoa(n)
	}
	return &thread{
		e: e, mu: newGate(), name: name, instance: instance, transactional: id, log: e.o.Log.With("thread", name),
		tasks: map[task.ID]*active{}, gained: map[task.ID][]string{}, awaited: map[task.ID]bool{}, suspended: map[task.ID]*active{},
		wanted: map[task.ID]bool{}, copies: map[task.ID]*active{},
		fetched: map[part]task.Offset{}, paused: map[part]bool{}, rewound: map[part]bool{}, lastCommit: time.Now(), lastPurge: time.Now(),
		meter: meter{started: time.Now(), passed: time.Now()},
	}
}

func (t *thread) labels(more ...string) []string {
	return append([]string{"application", t.e.app, "thread", t.name}, more...)
}

// run is the life of a thread: one client after the other, as long as they are fenced.
func (t *thread) run(ctx context.Context) error {
	for first := true; ; first = false {
		err := t.serve(ctx, first)
		if !errors.Is(err, errFenced) {
			return err
		}
		if ctx.Err() != nil { // what was not committed was done by nobody, or is done by others
			t.log.Info("fenced while ending; what was not committed will be processed again", "error", err)
			return nil //nolint:nilerr // it is told
		}
		t.log.Warn("going on with a new client", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// serve is the life of a client.
func (t *thread) serve(ctx context.Context, first bool) error {
	t.moving = rebalance{since: time.Now(), cause: joined}
	if !first {
		t.moving.cause = returned
	}
	t.ripe, t.spoiled, t.asked, t.fatal, t.lastCommit = false, false, false, nil, time.Now()
	clear(t.gained)
	clear(t.awaited)
	clear(t.wanted)
	clear(t.fetched)
	clear(t.paused)
	t.dog.begin()
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	t.life = life
	// What is under way when ctx ends is finished, but not for ever.
	defer context.AfterFunc(ctx, func() {
		select {
		case <-life.Done():
		case <-time.After(drainLimit):
			end()
		}
	})()
	if err := t.connect(first); err != nil {
		return err
	}
	t.e.works(t.name, false)
	err := t.member.join(t.life)
	if err == nil {
		err = t.loop(ctx)
	}
	return errors.Join(err, t.shutdown(err == nil, end))
}

// connect makes the client and all that goes with it. The client may call back before it is even returned.
func (t *thread) connect(first bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pool = newPool(t.log)
	if t.member = newClassic(t); t.e.streams {
		t.member = newStreams(t)
	}
	cl, err := kgo.NewClient(t.options()...)
	if err != nil {
		return fmt.Errorf("stream: client: %w", err)
	}
	t.contact.touch()
	t.cl = cl
	t.producer = &producer{e: t.e, cl: cl, logs: progress{}}
	t.restore = &restorer{t: t}
	if !first || t.e.dir != nil || t.instance != nil { // an instance with a directory was called the same before it was killed
		t.takeOver(cl)
	}
	return nil
}

// options are those of a stream thread's client; research on franz-go says why each is set.
func (t *thread) options() []kgo.Opt {
	more := append(t.e.options(t.name[len(t.e.o.ClientID)+1:]), t.member.options()...)
	if t.transactional != "" {
		more = append(more, kgo.TransactionalID(t.transactional), kgo.TransactionTimeout(t.e.o.TransactionTimeout))
	}
	return append(more,
		kgo.AlwaysRetryEOF(), // a proxy before a broker that is away accepts and closes; a client without TLS has failed at the start
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(t.e.isolation("read-uncommitted")),
		kgo.KeepControlRecords(), // their offsets count: without them a lag behind a transaction never becomes 0
		kgo.WithHooks(&t.contact),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.MaxDecompressBatchBytes(64<<20),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(200_000),
		kgo.ProducerLinger(5*time.Millisecond),
	)
}

// loop polls and works until ctx ends.
func (t *thread) loop(ctx context.Context) error {
	busy := false
	for ctx.Err() == nil {
		start := time.Now()
		fetches := t.poll(ctx, busy)
		waited := time.Since(start)
		if err := t.contact.check(t.e.o.BrokerTimeout); err != nil {
			t.member.allow()
			return err
		}
		t.mu.Lock()
		t.meter.polls(waited, fetches.NumRecords())
		more, err := t.work(t.life, fetches)
		err = t.settle(t.life, err)
		t.mu.Unlock()
		t.member.allow()
		if err != nil {
			return err
		}
		busy = more
	}
	return nil
}

// poll waits for records, but not while there is work at hand.
func (t *thread) poll(ctx context.Context, busy bool) kgo.Fetches {
	if busy {
		return t.cl.PollRecords(nil, pollMost) //nolint:staticcheck // a nil context is kgo's way not to wait
	}
	ctx, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()
	t.pool.waking(cancel)
	defer t.pool.waking(nil)
	return t.cl.PollRecords(ctx, pollMost)
}

// work is one turn: take what was fetched, restore, process, punctuate, commit. More says that there is work left.
func (t *thread) work(ctx context.Context, fetches kgo.Fetches) (more bool, err error) {
	t.caches.Max = t.cacheMax.Load()
	clear(t.rewound)
	if t.member.silent() {
		t.recall()
	}
	if t.fatal != nil {
		return false, t.fatal
	}
	if err := errors.Join(t.member.turn(ctx), t.beginAgain(ctx), t.takeUp(), t.keepCopies()); err != nil {
		return false, err
	}
	if err := t.take(ctx, fetches); err != nil {
		return false, err
	}
	restoring, err := t.restore.step(ctx)
	if err != nil {
		return false, err
	}
	if err := t.ends(ctx); err != nil {
		return false, err
	}
	if more, err = t.process(ctx); err != nil {
		return false, err
	}
	if err := t.producer.check(ctx); err != nil {
		return false, err
	}
	if err := errors.Join(t.maybeCommit(ctx), t.watch()); err != nil {
		return false, err
	}
	t.purge()
	t.flow()
	t.count()
	t.e.works(t.name, t.member.ready() && !restoring && len(t.gained) == 0)
	return more || t.restore.busy(), nil
}

// take queues what was fetched.
func (t *thread) take(ctx context.Context, fetches kgo.Fetches) error {
	for _, f := range fetches.Errors() {
		if err := t.fetchFault(ctx, f); err != nil {
			return err
		}
	}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		a := t.owner(p.Topic, p.Partition)
		if a == nil || len(p.Records) == 0 || t.rewound[part{p.Topic, p.Partition}] {
			return
		}
		in := make([]task.Input, 0, len(p.Records))
		for _, r := range p.Records {
			if !r.Attrs.IsControl() {
				in = append(in, input(r))
			}
		}
		if len(in) > 0 {
			a.task.Add(p.Topic, in)
		}
		last := p.Records[len(p.Records)-1]
		a.task.Advance(p.Topic, last.Offset+1, last.LeaderEpoch)
		a.task.SetEnd(p.Topic, p.LastStableOffset)
	})
	return nil
}

func (t *thread) owner(topic string, partition int32) *active {
	for _, a := range t.tasks {
		if a.id.Partition == partition && a.partitions[topic] {
			return a
		}
	}
	return nil
}

func input(r *kgo.Record) task.Input {
	in := task.Input{
		Topic: r.Topic, Partition: r.Partition, Epoch: r.LeaderEpoch, Offset: r.Offset, Time: r.Timestamp.UnixMilli(),
		Key: r.Key, Value: r.Value,
	}
	if len(r.Headers) > 0 {
		in.Headers = make(serde.Headers, len(r.Headers))
		for i, h := range r.Headers {
			in.Headers[i] = serde.Header{Key: h.Key, Value: h.Value}
		}
	}
	return in
}

// fetchFault decides about an error of fetching. The client retries what may pass; what comes here is for us.
func (t *thread) fetchFault(ctx context.Context, f kgo.FetchError) error {
	var lost *kgo.ErrDataLoss
	switch {
	case errors.Is(f.Err, context.DeadlineExceeded), errors.Is(f.Err, context.Canceled), errors.Is(f.Err, kgo.ErrClientClosed):
		return nil
	case errors.As(f.Err, &lost):
		t.log.Warn("records are gone", "topic", lost.Topic, "partition", lost.Partition, "had", lost.ConsumedTo, "continues", lost.ResetTo)
		return nil
	case errors.Is(f.Err, kerr.OffsetOutOfRange):
		return t.restart(ctx, f.Topic, f.Partition)
	case errors.Is(f.Err, kerr.UnknownTopicOrPartition), errors.Is(f.Err, kerr.UnknownTopicID):
		return fmt.Errorf("%w: topic %q was deleted while it was read: %w", ErrTopics, f.Topic, f.Err)
	case f.Topic == "":
		return t.member.fault(f.Err)
	}
	return fmt.Errorf("stream: fetch from %s-%d: %w", f.Topic, f.Partition, advised(t.e.app, f.Err))
}

// process lets the tasks work in turn until nothing is left or the time is up.
func (t *thread) process(ctx context.Context) (more bool, err error) {
	if t.e.paused.Load() {
		return false, nil
	}
	end := time.Now().Add(workMost)
	for t.member.ready() { // a process may stand still for longer than its session anywhere
		did := false
		t.answered()
		for _, a := range t.tasks {
			if !a.running {
				continue
			}
			n, err := t.turn(ctx, a)
			if err != nil {
				return false, err
			}
			did = did || n > 0
			if time.Now().After(end) { // a commit may be due; tasks come in any order
				return true, nil
			}
		}
		if !did {
			return false, nil
		}
	}
	return false, nil
}

// turn gives a task its turn: records, then what is due by the wall clock.
func (t *thread) turn(ctx context.Context, a *active) (n int, err error) {
	now, start := t.e.o.Clock(), time.Now()
	for s := (spell{began: start}); n < turnMost && !s.over(n); n++ {
		did, err := a.task.Process(now)
		if err != nil {
			return n, t.halt(ctx, a, err)
		}
		if !did {
			break
		}
	}
	if n > 0 {
		took(&a.spent.process, start)
		t.meter.worked.Add(float64(n))
	}
	if err := a.punctuate(now); err != nil {
		return n, t.halt(ctx, a, err)
	}
	if err := t.call(a); err != nil {
		return n, t.halt(ctx, a, err)
	}
	return n, t.producer.send(ctx, a.id, a.task.Take())
}

// halt sends what the task had finished before it failed: it will be committed with the offsets of what was done.
func (t *thread) halt(ctx context.Context, a *active, err error) error {
	return errors.Join(err, t.producer.send(ctx, a.id, a.task.Take()))
}

func (t *thread) maybeCommit(ctx context.Context) error {
	asked := false
	for _, a := range t.tasks {
		asked = a.task.CommitAsked() || asked
	}
	t.asked = t.asked || asked || t.unsaved()
	if !t.asked && time.Since(t.lastCommit) < t.e.o.CommitInterval || !t.whole() {
		return nil
	}
	t.asked = false
	err := t.commit(ctx)
	if errors.Is(err, errUnfinished) {
		t.asked = true
		return nil
	}
	return err
}

// ends finds out whether partitions that tasks wait for have anything left, before records that came would fill the queues
// and pause fetching. What is known is asked again after a while.
func (t *thread) ends(ctx context.Context) error {
	now := time.Now()
	forget := now.Sub(t.lastForget) >= endsAge
	if forget {
		t.lastForget = now
	}
	var topics map[string]bool
	for _, a := range t.tasks {
		if !a.running {
			continue
		}
		if forget {
			a.task.ForgetEnds()
		}
		for _, topic := range a.task.Blocked() {
			if topics == nil {
				topics = map[string]bool{}
			}
			topics[topic] = true
		}
	}
	if len(topics) == 0 || now.Sub(t.lastEnds) < endsPause {
		return nil
	}
	t.lastEnds = now
	listed, err := t.e.admin.ListCommittedOffsets(ctx, keys(topics)...)
	if err != nil {
		t.log.Debug("ends of partitions are not known", "error", err)
		return nil // asked again
	}
	for _, a := range t.tasks {
		for topic := range a.partitions {
			if o, ok := listed.Lookup(topic, a.id.Partition); ok && o.Err == nil {
				a.task.SetEnd(topic, o.Offset)
			}
		}
	}
	return nil
}

// flow pauses partitions whose queues are long and resumes them when they are short. Pausing throws the client's buffer away,
// so the two limits are far apart.
func (t *thread) flow() {
	pause, resume := map[string][]int32{}, map[string][]int32{}
	for _, a := range t.tasks {
		for topic := range a.partitions {
			at := part{topic, a.id.Partition}
			n := a.task.Buffered(topic)
			switch {
			case n > 2*t.e.o.Buffered && !t.paused[at]:
				t.paused[at] = true
				pause[topic] = append(pause[topic], at.partition)
			case n < t.e.o.Buffered/2+1 && t.paused[at]:
				delete(t.paused, at)
				resume[topic] = append(resume[topic], at.partition)
			}
		}
	}
	if len(pause) > 0 {
		t.cl.PauseFetchPartitions(pause)
	}
	if len(resume) > 0 {
		t.cl.ResumeFetchPartitions(resume)
	}
}

// policy is where a source without committed offset begins.
func (t *thread) policy(topic string) opt.Reset {
	for _, n := range t.e.o.Program.Plan.Nodes {
		if n.Kind != plan.Source {
			continue
		}
		if !t.e.o.Program.Plan.Reads(n, topic) {
			continue
		}
		switch {
		case n.Internal:
			return opt.Reset{Policy: opt.Earliest} // what we sent ourselves is never skipped
		case n.Reset != nil:
			return *n.Reset
		}
	}
	return t.e.o.Reset
}

func keys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
