package task

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/metrics"
)

// Task runs sub-topologies for one partition. It belongs to one goroutine; only what a store Shares may be used by others.
//
// Its life: New, Restore for each changelog, Init once, then Add, Process and Punctuate in any order, Close. After a method
// has returned an error the task is stopped: nothing but Take and Close may be called.
type Task struct {
	id       ID
	program  *Program
	env      Env
	queues   []*queue
	byTopic  map[string]*queue
	stores   map[string]*Store
	ordered  []*Store
	expiring []*Store // those of them whose rows live for a time only
	parts    *Assembly
	subs     []*plan.Sub
	rec      Rec
	now      time.Time
	time     int64 // stream time: the highest time of any record processed
	filled   byTime

	markers   map[string]int64 // how far operators have come, by their stores' names
	schedules [2][]*schedule
	quiets    map[string]*Quiet
	touched   bool // something happened that offsets do not show
	asked     bool
	started   bool  // Init has run before
	eager     bool  // no empty queue is waited for: the writer of the global stores
	broken    error // a changelog could not be read
	out       []Output
	space     []byte
	counts    Counts
	flows     map[flowKey]*Flow
	nodes     map[int]*Node // by plan.Node.Index

	asyncs   []*Async
	calls    []*Call    // of the last answer of Calls
	resolved []*Call    // may go on, in this order
	begun    uint64     // calls so far
	from     *queue     // whose first record is at work; nil if none is
	before   int64      // its time without that record
	held     *held      // the record at work, if it has calls
	barrier  *barrier   // since the last flush
	barriers []*barrier // with calls under way, the oldest first
	holding  Hold
	changes  int  // of stores and markers
	keeps    bool // a store keeps its changes until the task flushes
	exact    *exact
}

// Counts is what a task has done since the last call of Task.Counts.
type Counts struct {
	Processed, Punctuated, DeadLetters int64
	CacheReads, CacheHits              int64                // of single keys, by operators and processors
	Calls, CallsFailed, CallsRepeated  int64                // of slow work: runs, how many of them failed, and were tried again
	CallsLate                          int64                // results that nobody waited for any more
	Dropped                            map[string]int64     // by reason
	Enforced                           int64                // records taken though not every input partition had one
	Lateness                           metrics.Distribution // of records behind the task's time, in milliseconds
	Flows                              []Flow               // that are not empty
	Nodes                              []Node
	Stores                             []StoreCounts
}

// New makes a task of the given sub-topologies. The runtime gives it one; the test driver gives it all of them, as Java's
// does.
func New(p *Program, id ID, subs []*plan.Sub, env Env) (*Task, error) {
	subs = slices.DeleteFunc(slices.Clone(subs), func(s *plan.Sub) bool { return s.Global })
	return assembled(p, id, subs, env, nil)
}

// assembled makes a task, or the writer of the global stores, with the content of stores that there are already.
func assembled(p *Program, id ID, subs []*plan.Sub, env Env, from map[string]*Store) (*Task, error) {
	t := &Task{id: id, program: p, env: env, byTopic: map[string]*queue{}, stores: map[string]*Store{}, quiets: map[string]*Quiet{}, time: unknown, subs: subs, flows: map[flowKey]*Flow{}, nodes: map[int]*Node{}, exact: newExact(p)}
	t.rec.task = t
	t.counts.Dropped = map[string]int64{}
	for _, sub := range subs {
		for _, s := range sub.Stores {
			spec, ok := p.Stores[s.Name]
			if !ok {
				return nil, fmt.Errorf("store %s is not in the program", s.Name)
			}
			made, err := t.store(spec, from[s.Name])
			if err != nil {
				return nil, errors.Join(err, t.closeHomes())
			}
			if spec.Cached {
				made.cache = store.NewCache(env.Cache, spec.Shape != nil)
			}
			t.stores[s.Name] = made
			t.ordered = append(t.ordered, made)
			t.keeps = t.keeps || spec.Kind == store.Kept
			if made.expiry != nil {
				t.expiring = append(t.expiring, made)
			}
		}
	}
	n := len(p.Plan.Nodes)
	t.parts = &Assembly{Task: t, made: make([]any, n), inits: make([][]func() error, n), closes: make([][]func() error, n), times: map[int]Extractor{}}
	for _, sub := range subs {
		for _, node := range slices.Backward(sub.Nodes) {
			t.parts.made[node.Index] = p.Bodies[node.Index](t.parts, node)
			if node.Kind == plan.Source {
				t.addQueues(node)
			}
		}
	}
	return t, nil
}

func (t *Task) store(spec *StoreSpec, from *Store) (*Store, error) {
	if from != nil {
		return from.successor(t), nil
	}
	return newStore(spec, t)
}

func (t *Task) addQueues(n *plan.Node) {
	for _, topic := range n.Topics {
		t.addQueue(n, t.program.Plan.Topic(topic, n.Internal))
	}
}

// ID is the task's name.
func (t *Task) ID() ID { return t.id }

// Env is what the task was given.
func (t *Task) Env() Env { return t.env }

// Program is what the task runs.
func (t *Task) Program() *Program { return t.program }

// Now is the wall clock as of the step at work.
func (t *Task) Now() time.Time { return t.now }

// Time is the stream time in milliseconds, -1 before the first record.
func (t *Task) Time() int64 { return t.time }

// Rec is the record at work.
func (t *Task) Rec() *Rec { return &t.rec }

// AskCommit asks for a commit soon.
func (t *Task) AskCommit() { t.asked, t.touched = true, true }

// Store finds a store of the task.
func (t *Task) Store(name string) (*Store, bool) {
	s, ok := t.stores[name]
	return s, ok
}

// Stores are the task's stores in the order of their declaration.
func (t *Task) Stores() []*StoreSpec {
	out := make([]*StoreSpec, len(t.ordered))
	for i, s := range t.ordered {
		out[i] = s.spec
	}
	return out
}

// Restore applies records of a store's changelog, in their order, before Init.
func (t *Task) Restore(name string, in []Input) {
	s := t.stores[name]
	for i := range in {
		if len(in[i].Headers) == 0 && len(s.missing) == 0 || s.admit(&in[i]) {
			s.restore(&in[i])
		}
	}
}

// Init begins work: topics have the offsets and texts of their last commit.
func (t *Task) Init(now time.Time, committed []Offset) error {
	t.now = now
	if t.broken != nil {
		return t.stopped(t.broken, "restore")
	}
	for _, c := range committed {
		if q, ok := t.byTopic[c.Topic]; ok {
			if !c.New {
				q.committed = c.Offset
			}
			if q.next == unknown {
				q.next, q.epoch = c.Offset, c.Epoch
			}
			q.time = max(q.time, t.recall(c.Metadata))
			if q.internal && t.exact != nil {
				q.hops = readHops(c.Metadata)
			}
			t.time = max(t.time, q.time)
		}
	}
	t.exact.resume(t.markers, committed)
	for _, q := range t.queues {
		if q.safe.offset == unknown {
			q.safe = q.position()
		}
	}
	if t.started {
		return nil // taken up again: the processors never ended
	}
	if err := t.amend(); err != nil {
		return err
	}
	for i, fs := range t.parts.inits {
		for _, f := range fs {
			t.begin(nil, Processing)
			t.rec.At = i
			if err := t.guarded(func(*Rec) error { return f() }); err != nil {
				return t.stopped(err, "Init")
			}
		}
	}
	return nil
}

// Topics are the topics the task reads.
func (t *Task) Topics() []string {
	out := make([]string, len(t.queues))
	for i, q := range t.queues {
		out[i] = q.topic
	}
	return out
}

// Add queues records of one topic in their order. The slice is the task's from now on.
func (t *Task) Add(topic string, in []Input) {
	q := t.byTopic[topic]
	was := q.n
	q.add(in)
	if was == 0 && t.headed(q) {
		t.filled.offer(q)
	}
}

// Buffered is how many records of a topic wait.
func (t *Task) Buffered(topic string) int { return t.byTopic[topic].n }

// Next is the offset of a topic's partition that the consumer reads next; -1 if it is not known.
func (t *Task) Next(topic string) int64 { return t.byTopic[topic].next }

// Advance tells that the consumer has gone on to an offset without records, behind a transaction's marker.
func (t *Task) Advance(topic string, next int64, epoch int32) { t.byTopic[topic].advance(next, epoch) }

// SetEnd tells where a topic's partition ends.
func (t *Task) SetEnd(topic string, end int64) {
	q := t.byTopic[topic]
	q.end, q.seen = max(q.end, end), max(q.seen, end)
}

// Seek makes the consumer's position another one, as after a loss of records. What waits is still processed.
func (t *Task) Seek(topic string, next int64) {
	q := t.byTopic[topic]
	q.next, q.epoch, q.end, q.seen = next, unknown, unknown, unknown
}

// Suspend drops what waits: its partitions are given up, after a commit. Stores and processors stay, and Init takes the
// task up again.
func (t *Task) Suspend() {
	at := make([]position, len(t.queues))
	for i, q := range t.queues {
		at[i] = t.at(q)
	}
	t.giveUp()
	for i, q := range t.queues {
		fresh := newQueue(q.topic, q.partition)
		fresh.source, fresh.node, fresh.extract, fresh.flow, fresh.internal = q.source, q.node, q.extract, q.flow, q.internal
		fresh.time, fresh.epoch, fresh.committed = at[i].time, at[i].epoch, at[i].offset
		*q = *fresh
	}
	t.filled, t.started = nil, true
}

// ForgetEnds makes the task ask again where the partitions end that it waits for.
func (t *Task) ForgetEnds() {
	for _, q := range t.queues {
		if q.n == 0 {
			q.end = unknown
		}
	}
}

// Blocked are the topics whose end must be known before the task may go on: it has records, but one of an empty partition
// could be older. Empty if nothing waits.
func (t *Task) Blocked() []string {
	if t.program.MaxIdle < 0 {
		return nil
	}
	var waiting bool
	var out []string
	for _, q := range t.queues {
		waiting = waiting || q.n > 0
		if q.n == 0 && !q.caughtUp() {
			out = append(out, q.topic)
		}
	}
	if !waiting {
		return nil
	}
	return out
}

// choose finds the queue whose head is the oldest, or nil while an empty one has to be waited for (max.task.idle.ms).
func (t *Task) choose() *queue {
	if len(t.filled) == 0 {
		return nil
	}
	ready := true
	for _, q := range t.queues {
		if q.n == 0 {
			ready = t.idle(q) && ready
		}
	}
	if !ready {
		return nil
	}
	return t.filled[0]
}

// idle says whether an empty queue need not be waited for.
func (t *Task) idle(q *queue) bool {
	if t.program.MaxIdle < 0 || t.eager {
		return true
	}
	if !q.caughtUp() {
		return false
	}
	if t.program.MaxIdle == 0 {
		return true
	}
	if q.emptyAt.IsZero() || t.now.Before(q.emptyAt) { // the clock may have been set back
		q.emptyAt = t.now
	}
	return t.now.Sub(q.emptyAt) >= t.program.MaxIdle
}

// Process lets one result of slow work go on, or takes one record, if there is one to take, and what is due by stream time
// after it.
func (t *Task) Process(now time.Time) (bool, error) {
	t.now = now
	if len(t.asyncs) > 0 {
		if did, err := t.goOn(); did || err != nil {
			return did, err
		}
		if t.holding != Flowing || t.crowded() {
			return false, nil
		}
	}
	q := t.choose()
	if q == nil {
		return false, nil
	}
	in := q.peek()
	t.begin(in, Processing)
	if t.exact != nil && t.repeated(q, in) {
		t.next(q)
		return true, nil
	}
	if q.bad != nil {
		return false, t.stopped(q.bad, "timestamp")
	}
	if t.rec.Time = q.at; q.at < 0 {
		f := &Fault{Stage: Processing, Node: q.node, Err: fmt.Errorf("the record's timestamp is negative: %d", in.Time), Hint: "the topic's producer must set a time"}
		return false, t.stopped(f, "read")
	}
	before, effects := q.time, t.effects()
	q.time = max(q.time, q.at)
	t.time = max(t.time, q.at)
	t.taken(q, in)
	t.exact.begin(in, false, 0)
	if err := t.expire(); err != nil {
		return false, err
	}
	t.from, t.before = q, before
	err := t.traced(q, in)
	t.from, t.held = nil, nil
	if err != nil {
		return false, err
	}
	t.exact.begin(nil, false, 0)
	t.next(q)
	t.counts.Processed++
	_, err = t.punctuate(StreamTime, t.time)
	if t.program.Ordered && (t.keeps || t.effects() != effects) {
		q.effect = in.Offset
	}
	return true, err
}

// next lets go of the first record of the queue that was chosen.
func (t *Task) next(q *queue) {
	t.filled.poll()
	if q.pop(); t.headed(q) {
		t.filled.offer(q)
	}
}

// begin sets the record at work.
func (t *Task) begin(in *Input, stage Stage) {
	t.rec = Rec{task: t, stage: stage, Source: in}
	if in != nil {
		t.rec.Time, t.rec.Headers = in.Time, in.Headers
	}
}

// guarded calls f and recovers it.
func (t *Task) guarded(f func(*Rec) error) (err error) {
	defer t.rec.Recover(&err)
	return f(&t.rec)
}

// settled calls f until it succeeds or its failure is settled.
func (t *Task) settled(f func(*Rec) error) error {
	mark := t.rec.Mark()
	for attempt := 1; ; attempt++ {
		err := t.guarded(f)
		if err == nil {
			return nil
		}
		t.rec.Restore(mark)
		retry, final := t.rec.Settle(err, attempt)
		if final != nil {
			return t.stopped(final, string(t.rec.stage))
		}
		if !retry {
			return nil
		}
	}
}

// Take returns what is to be sent since the last call; the slice is the task's again after the next step.
func (t *Task) Take() []Output {
	out := t.out
	t.out = t.out[:0]
	return out
}

// Counts returns what was done since the last call.
func (t *Task) Counts() Counts {
	c := t.counts
	t.counted(&c)
	t.counts = Counts{Dropped: map[string]int64{}}
	return c
}

func (t *Task) drop(reason string) { t.counts.Dropped[reason]++ }

func (t *Task) nodeName(i int) string {
	if i < 0 || i >= len(t.program.Plan.Nodes) {
		return ""
	}
	return t.program.Plan.Nodes[i].Name
}

// Close ends the processors and what stores keep on disk. It does not commit.
func (t *Task) Close() error {
	t.giveUp()
	var first error
	for i, fs := range t.parts.closes {
		for _, f := range fs {
			t.begin(nil, Processing)
			t.rec.At = i
			if err := t.guarded(func(*Rec) error { return f() }); err != nil && first == nil {
				first = t.stopped(err, "Close")
			}
		}
	}
	return errors.Join(first, t.closeHomes())
}
