package task

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
)

// Forward passes what a call has made on to the nodes below, with the record at work being the one the call was begun for.
type Forward func(r *Rec) error

// Work is the user's slow function with its record. It may run on any goroutine.
type Work func(ctx context.Context) (Forward, error)

// AsyncOptions are those of one operator.
type AsyncOptions struct {
	Concurrency int           // calls that run at a time
	Window      int           // records that are under way before the task takes no more
	Timeout     time.Duration // of one call; 0 is none
	Attempts    int
	Pause       time.Duration // before the second attempt; it doubles from there
	// Failed gets the records whose call failed for good. Nil if nobody reads them: then the handler of processing decides.
	Failed func(r *Rec, f *Failure) error
	// Final says of an error that trying again will not help.
	Final func(error) bool
}

// Async is an operator of slow work in one task. Calls of one lane, which stands for a key, run one after the other; those of
// different lanes run beside each other. It belongs to the task's goroutine.
type Async struct {
	o       AsyncOptions
	task    *Task
	node    *plan.Node
	ready   []*Call         // may run, in the order they were begun
	waiting []*Call         // have failed and are tried again when they are due
	lanes   map[any][]*Call // whose calls have to wait for each other; the first is at work
	running int
	open    int // begun and not gone on yet
}

// Call is one record in an operator of slow work. Between Task.Calls and Task.Resolve it is with whoever runs it, who may use
// Run, Timeout and Node from any goroutine; all else is the task's.
type Call struct {
	async    *Async
	work     Work // nil: there is nothing to run, the record only keeps its place
	lane     any  // nil: no order
	held     *held
	barrier  *barrier // in place of held, where no record of a queue is the cause
	source   *Input
	mark     Mark
	seed     uint64
	attempts int
	due      time.Time
	state    progress
	result   Result
}

// progress is how far a call is.
type progress uint8

const (
	queued   progress = iota // in its lane, ready, or waiting for its next attempt
	running                  // handed out
	resolved                 // its result is known and has not gone on
	gone                     // gone on, or given up with its task
)

// Result is what came out of a call.
type Result struct {
	forward Forward
	err     error
	stack   string // of a panic
}

// Run does the work once. It recovers panics.
func (c *Call) Run(ctx context.Context) (res Result) {
	defer func() {
		if p := recover(); p != nil {
			res = Result{err: panicked{p}, stack: string(debug.Stack())}
		}
	}()
	forward, err := c.work(ctx)
	return Result{forward: forward, err: err}
}

// Timeout bounds one run; 0 is no bound.
func (c *Call) Timeout() time.Duration { return c.async.o.Timeout }

// Node is the operator's name.
func (c *Call) Node() string { return c.async.node.Name }

// TimedOut is the result of a call that has not answered within its Timeout.
func (c *Call) TimedOut() Result {
	return Result{err: fmt.Errorf("no answer within %s: %w", c.Timeout(), context.DeadlineExceeded)}
}

// NewAsync adds an operator of slow work to the task. Its node's body calls it once.
func (t *Task) NewAsync(n *plan.Node, o AsyncOptions) *Async {
	a := &Async{o: o, task: t, node: n, lanes: map[any][]*Call{}}
	t.asyncs = append(t.asyncs, a)
	return a
}

// Begin starts a call for the record at work. Its lane is a comparable value; nil stands in no order. Without work the record
// only waits for its turn, and then passes through the given way.
func (a *Async) Begin(r *Rec, lane any, work Work, pass Forward) {
	t := a.task
	c := &Call{async: a, work: work, lane: lane, source: r.Source, mark: r.Mark(), result: Result{forward: pass}}
	c.mark.headers = slices.Clone(c.mark.headers)
	t.begun++
	c.seed = t.begun
	if c.held = t.hold(); c.held != nil {
		c.held.calls = append(c.held.calls, c)
	} else {
		c.barrier = t.barred()
		c.barrier.calls = append(c.barrier.calls, c)
	}
	a.open++
	if lane != nil {
		a.lanes[lane] = append(a.lanes[lane], c)
		if len(a.lanes[lane]) > 1 {
			return
		}
	}
	a.rise(c)
}

// rise lets a call run whose turn has come in its lane.
func (a *Async) rise(c *Call) {
	if c.work == nil {
		a.settle(c)
		return
	}
	a.ready = append(a.ready, c)
}

// settle notes that a call's result stands. Its lane is free, unless a handler may ask for the call again.
func (a *Async) settle(c *Call) {
	c.state = resolved
	if c.result.err == nil || a.o.Failed != nil {
		a.leave(c)
	}
	if t := a.task; !t.program.Ordered || c.held == nil {
		t.resolved = append(t.resolved, c)
	}
}

// leave lets the next call of a lane rise.
func (a *Async) leave(c *Call) {
	if c.lane == nil {
		return
	}
	rest := a.lanes[c.lane][1:]
	if len(rest) == 0 {
		delete(a.lanes, c.lane)
	} else {
		a.lanes[c.lane] = rest
	}
	c.lane = nil
	if len(rest) > 0 {
		a.rise(rest[0])
	}
}

// Calls hands out what may run now. Each call's result must come back by Resolve, once.
func (t *Task) Calls(now time.Time) []*Call {
	t.calls = t.calls[:0]
	for _, a := range t.asyncs {
		a.wake(now)
		kept := a.ready[:0]
		for _, c := range a.ready {
			if a.running >= a.o.Concurrency || !t.admits(c) {
				kept = append(kept, c)
				continue
			}
			a.running++
			c.attempts++
			c.state = running
			if c.held != nil {
				c.held.queue.handed = max(c.held.queue.handed, c.held.in.Offset)
			}
			t.counts.Calls++
			t.calls = append(t.calls, c)
		}
		clear(a.ready[len(kept):])
		a.ready = kept
	}
	return t.calls
}

// wake makes calls ready whose pause is over. They come first: they have waited longest.
func (a *Async) wake(now time.Time) {
	if len(a.waiting) == 0 {
		return
	}
	var due, rest []*Call
	for _, c := range a.waiting {
		if c.due.After(now) {
			rest = append(rest, c)
		} else {
			due = append(due, c)
		}
	}
	a.waiting, a.ready = rest, append(due, a.ready...)
}

// Late counts a result that came when another, TimedOut, had been given for the same run.
func (t *Task) Late() { t.counts.CallsLate++ }

// Resolve brings the result of a run, once for each. If the task has given the call up it is dropped and counted.
func (t *Task) Resolve(now time.Time, c *Call, r Result) {
	if c.state != running {
		t.Late()
		return
	}
	a := c.async
	a.running--
	if r.err != nil {
		t.counts.CallsFailed++
	}
	if a.again(c, r) {
		t.counts.CallsRepeated++
		c.state, c.due = queued, now.Add(c.pause())
		a.waiting = append(a.waiting, c)
		return
	}
	c.result = r
	a.settle(c)
}

// again says whether a failed call is tried again. A panic is not: it is a fault of the program.
func (a *Async) again(c *Call, r Result) bool {
	if r.err == nil || c.attempts >= a.o.Attempts || a.o.Final(r.err) {
		return false
	}
	_, panics := errors.AsType[panicked](r.err)
	return !panics
}

// longestPause bounds how far pauses grow.
const longestPause = time.Minute

// pause is how long a call waits for its next attempt: the operator's pause, doubled with each attempt, less up to a half of
// it. What is taken off follows from the call's number, so that calls that failed together do not come back together, and a
// run can be repeated.
func (c *Call) pause() time.Duration {
	full := max(c.async.o.Pause, 0)
	for n := 1; n < c.attempts && full < longestPause; n++ {
		full *= 2
	}
	full = min(full, max(longestPause, c.async.o.Pause))
	x := c.seed*0x9e3779b97f4a7c15 + uint64(c.attempts)*0xbf58476d1ce4e5b9
	x = (x ^ x>>29) * 0x94d049bb133111eb
	return full - time.Duration(float64(full)/2*float64(x>>11)/(1<<53))
}

// goOn passes on what is resolved, if anything is: under exactly-once a record's results together, in the order of offsets;
// otherwise the result that came first.
func (t *Task) goOn() (did bool, err error) {
	if len(t.resolved) > 0 {
		c := t.resolved[0]
		t.resolved[0] = nil
		t.resolved = t.resolved[1:]
		return true, t.deliver(c)
	}
	if !t.program.Ordered {
		return false, nil
	}
	for _, q := range t.queues {
		if len(q.held) == 0 || !q.held[0].resolved() {
			continue
		}
		for _, c := range slices.Clone(q.held[0].calls) {
			if err := t.deliver(c); err != nil {
				return true, err
			}
		}
		return true, nil
	}
	return false, nil
}

// deliver lets one call's record go on.
func (t *Task) deliver(c *Call) error {
	t.begin(c.source, Processing)
	t.rec.Restore(c.mark)
	t.held = c.held
	defer func() { t.held = nil }()
	if h := c.held; h != nil && t.exact != nil {
		t.exact.begin(h.in, true, h.traced)
		defer func() { h.traced = t.exact.index; t.exact.begin(nil, false, 0) }()
	}
	effects := t.effects()
	err := t.pass(c)
	if c.held != nil && t.effects() != effects {
		c.held.queue.effect = max(c.held.queue.effect, c.held.in.Offset)
	}
	return err
}

// pass forwards a result, or a failure to those who read it or decide about it.
func (t *Task) pass(c *Call) error {
	res, a := c.result, c.async
	switch {
	case res.err == nil:
		if err := t.settled(res.forward); err != nil {
			return err
		}
	case a.o.Failed != nil:
		f := &Failure{Stage: Processing, Task: t.id, Node: c.Node(), Source: c.source, Time: c.mark.time, Headers: c.mark.headers, Attempts: c.attempts, Err: res.err, Stack: res.stack}
		if err := t.settled(func(r *Rec) error { return a.o.Failed(r, f) }); err != nil {
			return err
		}
	default:
		retry, final := t.rec.Settle(&Fault{Stage: Processing, Node: c.Node(), Err: res.err, Stack: res.stack}, c.attempts)
		if final != nil {
			return t.stopped(final, string(Processing))
		}
		if retry {
			c.state, c.result = queued, Result{}
			a.ready = append(a.ready, c)
			return nil
		}
		a.leave(c)
	}
	t.release(c)
	return nil
}
