package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/millrun/millrun/stream/internal/task"
)

// Limits of slow work.
const (
	drainBudget  = 10 * time.Second       // how long a task that is given up may finish what it has begun
	strayMost    = 64                     // calls that nobody waits for any more, and that have not returned
	strayLimit   = 5 * time.Minute        // how long there may be so many before the thread gives up
	answerGrace  = 100 * time.Millisecond // beyond a call's timeout, to return when its context has ended
	goodbyeGrace = time.Second            // for the calls of a thread that ends
	retryStep    = 20 * time.Millisecond  // how often a draining task is asked for calls whose pause is over
)

// pool runs the slow work of a thread's tasks, one goroutine for each call; how many there are is up to the tasks. The thread
// calls all methods but run and expire.
type pool struct {
	log   *slog.Logger
	ready chan struct{} // has an element if there are answers

	mu      sync.Mutex // guards what follows; never held while anything is waited for
	answers []answer
	errands map[*errand]struct{} // that have not returned
	stray   int                  // of them, those that nobody waits for
	wake    context.CancelFunc   // ends the poll that is waiting, if one is
	empty   chan struct{}        // closed once nothing is left, if somebody asked
	since   time.Time            // since when there have been as many stray ones as may be
}

// answer is the result of a call.
type answer struct {
	of     *task.Task
	call   *task.Call
	result task.Result
	late   bool // nobody waits for it any more
}

// errand is a call on its way.
type errand struct {
	of     *task.Task
	call   *task.Call
	cancel context.CancelFunc
	timer  *time.Timer // nil: there is no timeout
	stray  bool
}

func newPool(log *slog.Logger) *pool {
	return &pool{log: log, ready: make(chan struct{}, 1), errands: map[*errand]struct{}{}}
}

// start runs a call of a task whose context is ctx.
func (p *pool) start(ctx context.Context, of *task.Task, c *task.Call) {
	e := &errand{of: of, call: c}
	limit := c.Timeout()
	if limit > 0 {
		ctx, e.cancel = context.WithTimeout(ctx, limit)
	} else {
		ctx, e.cancel = context.WithCancel(ctx)
	}
	p.mu.Lock()
	p.errands[e] = struct{}{}
	if limit > 0 {
		e.timer = time.AfterFunc(limit+answerGrace, func() { p.expire(e) })
	}
	p.mu.Unlock()
	go p.run(ctx, e)
}

// run is the life of a call's goroutine.
func (p *pool) run(ctx context.Context, e *errand) {
	result := e.call.Run(ctx)
	e.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.errands, e)
	if e.timer != nil {
		e.timer.Stop()
	}
	if e.stray {
		p.stray--
	}
	if p.empty != nil && len(p.errands) == 0 {
		close(p.empty)
		p.empty = nil
	}
	p.post(answer{e.of, e.call, result, e.stray})
}

// expire answers for a call that has not heeded its deadline.
func (p *pool) expire(e *errand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, still := p.errands[e]; !still || e.stray {
		return
	}
	p.leave(e)
	p.post(answer{e.of, e.call, e.call.TimedOut(), false})
}

// leave stops waiting for a call.
func (p *pool) leave(e *errand) {
	e.stray = true
	if p.stray++; p.stray == strayMost {
		p.since = time.Now()
	}
}

func (p *pool) post(a answer) {
	p.answers = append(p.answers, a)
	if p.wake != nil {
		p.wake()
	}
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// take returns the answers that have come.
func (p *pool) take() []answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.answers
	p.answers = nil
	return out
}

// waking lets an answer end a wait, at once if there is one already; nil is the end of that.
func (p *pool) waking(cancel context.CancelFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake = cancel; cancel != nil && len(p.answers) > 0 {
		cancel()
	}
}

// rouse ends a wait for another reason than an answer.
func (p *pool) rouse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake != nil {
		p.wake()
	}
}

// room says whether more calls may start. Functions that ignore the end of their context take it up; for too long is an
// error, since only a new process can be rid of them.
func (p *pool) room() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stray < strayMost {
		return true, nil
	}
	if time.Since(p.since) > strayLimit {
		return false, fmt.Errorf("stream: %d calls of MapAsync have not returned after the end of their contexts: let the function heed its context", p.stray)
	}
	return false, nil
}

// giveUp ends the contexts of a task's calls and waits for none of them.
func (p *pool) giveUp(of *task.Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := range p.errands {
		if e.of == of && !e.stray {
			p.leave(e)
			e.cancel()
		}
	}
}

// close waits a moment for the goroutines whose contexts have ended. Those of functions that ignore that stay behind.
func (p *pool) close() {
	p.mu.Lock()
	if len(p.errands) == 0 {
		p.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	p.empty = empty
	p.mu.Unlock()
	select {
	case <-empty:
	case <-time.After(goodbyeGrace):
		p.mu.Lock()
		defer p.mu.Unlock()
		p.log.Warn("calls of MapAsync ignore the end of their context", "calls", len(p.errands))
	}
}

// answered gives the tasks the results that have come, without letting them go on yet.
func (t *thread) answered() {
	for _, a := range t.pool.take() {
		if a.late {
			a.of.Late()
			continue
		}
		a.of.Resolve(time.Now(), a.call, a.result)
	}
}

// call starts what a task wants called.
func (t *thread) call(a *active) error {
	if !a.task.Asynchronous() {
		return nil
	}
	room, err := t.pool.room()
	if err != nil || !room {
		return err
	}
	for _, c := range a.task.Calls(time.Now()) {
		t.pool.start(a.task.Env().Context, a.task, c)
	}
	return nil
}

// whole says whether a commit would cover what the tasks have done. One that stands in its way takes no more records until it
// would: that is soon, since it only finishes what it has begun.
func (t *thread) whole() bool {
	all := true
	for _, a := range t.tasks {
		switch {
		case !a.running || !a.task.Asynchronous():
		case a.task.Whole():
			a.task.Hold(task.Flowing)
		default:
			a.task.Hold(task.Finishing)
			all = false
		}
	}
	return all
}

// finish lets tasks that are about to be given up finish the slow work that they have begun, within a budget. They take no
// more records afterwards.
func (t *thread) finish(ctx context.Context, tasks map[task.ID]*active) error {
	slow := false
	for _, a := range tasks {
		if !a.running || !a.task.Asynchronous() {
			continue
		}
		if err := t.emptyCaches(ctx, a); err != nil {
			return err
		}
		a.task.Hold(task.Leaving)
		slow = true
	}
	if !slow {
		return nil
	}
	budget := time.NewTimer(drainBudget)
	defer budget.Stop()
	for {
		done, err := t.finishing(ctx, tasks)
		if done || err != nil {
			return err
		}
		select {
		case <-t.pool.ready:
		case <-time.After(retryStep):
		case <-budget.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// finishing is one round of finish.
func (t *thread) finishing(ctx context.Context, tasks map[task.ID]*active) (done bool, err error) {
	t.answered()
	done = true
	for _, a := range tasks {
		if !a.running || !a.task.Asynchronous() {
			continue
		}
		_, failed := t.turn(ctx, a)
		err = errors.Join(err, failed)
		done = done && a.task.Finished()
	}
	return done, err
}

// countCalls passes on what a task counted of its slow work.
func (t *thread) countCalls(a *active, c task.Counts) {
	if !a.task.Asynchronous() {
		return
	}
	m, labels := t.e.o.Metrics, t.labels("task", a.id.String())
	m.Add("millrun_stream_async_calls_total", float64(c.Calls), labels...)
	m.Add("millrun_stream_async_failed_calls_total", float64(c.CallsFailed), labels...)
	m.Add("millrun_stream_async_repeated_calls_total", float64(c.CallsRepeated), labels...)
	m.Add("millrun_stream_async_late_calls_total", float64(c.CallsLate), labels...)
	m.Set("millrun_stream_async_pending_records", float64(a.task.Pending()), labels...)
}
