package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Action is what follows when a stream thread has failed.
type Action int

// The actions.
const (
	ShutdownClient Action = iota // the instance ends
	ReplaceThread                // another thread takes its place
)

// replacePause is between a failure and the thread that replaces the failed one, so that a lasting fault does not make the
// group rebalance all the time.
const replacePause = time.Second

// ErrStopped says that the engine does not run, so that it can neither start nor stop threads.
var ErrStopped = errors.New("stream: the engine does not run")

// crew is the stream threads of an engine: threads come and go while it works.
type crew struct {
	e     *Engine
	ended chan ending // of threads that were not told to end

	mu   sync.Mutex
	ctx  context.Context // of all threads; nil while the engine does not run
	live map[int]*hand   // by number
}

// hand is a thread at work.
type hand struct {
	n      int
	thread *thread
	stop   context.CancelFunc
	done   chan struct{} // closed when it has ended
	err    error         // read after done
}

// ending is the news that a thread has ended by itself.
type ending struct {
	h   *hand
	err error
}

func newCrew(e *Engine) *crew {
	return &crew{e: e, ended: make(chan ending), live: map[int]*hand{}}
}

// run starts the threads and replaces those that fail, where the application says so. It returns when ctx has ended, or a
// failure ends the instance, and every thread has.
func (c *crew) run(ctx context.Context) error {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	c.begin(inner)
	for {
		select {
		case <-ctx.Done():
			return c.close(stop)
		case end := <-c.ended:
			if err := c.answer(inner, end); err != nil {
				return errors.Join(err, c.close(stop))
			}
		}
	}
}

// begin starts the threads the application is configured for. All are known before the first one works, so that the state
// Running means all of them.
func (c *crew) begin(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx = ctx
	first := make([]func(), c.e.o.Threads)
	for i := range first {
		_, first[i] = c.enlist()
	}
	for _, start := range first {
		start()
	}
}

// answer decides about a thread that has failed: nil if the instance goes on.
func (c *crew) answer(ctx context.Context, end ending) error {
	if c.e.o.Uncaught(end.err) != ReplaceThread {
		return end.err
	}
	c.e.o.Log.Error("a stream thread failed and is replaced", "thread", end.h.thread.name, "error", end.err)
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(replacePause):
	}
	_, err := c.add()
	return err
}

// add starts a thread with the lowest number that is free.
func (c *crew) add() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil || c.ctx.Err() != nil {
		return "", ErrStopped
	}
	name, start := c.enlist()
	start()
	return name, nil
}

// enlist makes a thread and returns what starts it. The caller holds mu.
func (c *crew) enlist() (name string, start func()) {
	n := 1
	for c.live[n] != nil {
		n++
	}
	ctx, stop := context.WithCancel(c.ctx)
	h := &hand{n: n, thread: newThread(c.e, n), stop: stop, done: make(chan struct{})}
	c.live[n] = h
	c.e.measureThreads(len(c.live))
	c.share()
	c.e.joins(h.thread.name)
	return h.thread.name, func() { go c.work(ctx, h) }
}

// work is the goroutine of a thread.
func (c *crew) work(ctx context.Context, h *hand) {
	h.err = guarded(func() error { return h.thread.run(ctx) })
	told := ctx.Err() != nil
	if h.err != nil {
		c.e.measureFailure()
	}
	c.mu.Lock()
	delete(c.live, h.n)
	c.e.measureThreads(len(c.live))
	c.share()
	parent := c.ctx
	c.mu.Unlock()
	if parent.Err() == nil { // otherwise all of them end
		c.e.leaves(h.thread.name)
	}
	close(h.done)
	h.stop()
	if told {
		return
	}
	select {
	case c.ended <- ending{h, h.err}:
	case <-parent.Done(): // the instance ends for another reason
		if h.err != nil {
			c.e.o.Log.Error("a stream thread failed", "thread", h.thread.name, "error", h.err)
		}
	}
}

// guarded makes an error of a panic: a fault of this library must not end the process that embeds it.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("stream: a stream thread panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// share divides the caches among the threads there are. The caller holds mu.
func (c *crew) share() {
	part := c.e.o.Program.CacheBytes / int64(max(len(c.live), 1))
	for _, h := range c.live {
		h.thread.cacheMax.Store(part)
	}
}

// remove ends the thread that was started last and waits for its end.
func (c *crew) remove(ctx context.Context) (string, error) {
	c.mu.Lock()
	if c.ctx == nil || c.ctx.Err() != nil || len(c.live) == 0 {
		c.mu.Unlock()
		return "", ErrStopped
	}
	var last *hand
	for _, h := range c.live {
		if last == nil || h.n > last.n {
			last = h
		}
	}
	c.mu.Unlock()
	last.stop()
	select {
	case <-last.done:
		return last.thread.name, errors.Join(last.err, last.thread.dismissed(ctx))
	case <-ctx.Done():
		return last.thread.name, fmt.Errorf("stream: thread %s has not ended yet: %w", last.thread.name, ctx.Err())
	}
}

// dismissed lets a static member leave the group after its end, since nobody will come back under its name.
func (t *thread) dismissed(ctx context.Context) error {
	if t.instance == nil {
		return nil
	}
	_, err := t.e.admin.LeaveGroup(ctx, kadm.LeaveGroup(t.e.app).InstanceIDs(*t.instance).Reason("the thread was removed"))
	if err != nil {
		return fmt.Errorf("stream: member %s did not leave the group; its tasks move after its session timeout: %w", *t.instance, err)
	}
	return nil
}

// close ends all threads and returns what they failed with.
func (c *crew) close(stop context.CancelFunc) error {
	c.mu.Lock()
	left := make([]*hand, 0, len(c.live))
	for _, h := range c.live {
		left = append(left, h)
	}
	c.mu.Unlock()
	stop()
	var errs []error
	for _, h := range left {
		<-h.done
		errs = append(errs, h.err)
	}
	return errors.Join(errs...)
}
