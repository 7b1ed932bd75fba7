// Package patience lets a stream processor wait for what it needs and is away for the moment: a storage that restarts,
// a schema registry behind a network that is down. Waiting loses nothing, since a record's offset is committed when the
// record is done; giving up would make a dead letter of every record that comes in the meantime.
//
// A stream task's context outlives the role that runs it, so the role's own end is told here: from then on nothing is
// waited for, and calls under way have a grace period.
package patience

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ErrStopping ends a wait because the role ends. The record at work comes again when the role next runs.
var ErrStopping = errors.New("patience: the role is stopping")

// Pauses between attempts: doubled each time.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Patience is one role's. Make it by New; Run is called once, the rest is safe for concurrent use.
type Patience struct {
	log      *slog.Logger
	waited   func()
	stopping chan struct{} // closed when the role ends: nothing is waited for any more
	gone     chan struct{} // closed when its grace is over: calls are given up
	stop     func()        // closes stopping, once
	end      func()        // closes gone, once, and ends all scopes

	mu     sync.Mutex
	scopes map[*context.CancelCauseFunc]struct{}
}

// New returns a Patience that says on log what it waits for, and calls waited for every pause.
func New(log *slog.Logger, waited func()) *Patience {
	p := &Patience{log: log, waited: waited, stopping: make(chan struct{}), gone: make(chan struct{}), scopes: map[*context.CancelCauseFunc]struct{}{}}
	p.stop = sync.OnceFunc(func() { close(p.stopping) })
	p.end = sync.OnceFunc(p.endScopes)
	return p
}

func (p *Patience) endScopes() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.gone)
	for cancel := range p.scopes {
		(*cancel)(ErrStopping)
	}
}

// Run runs a role: when ctx ends, waits end at once and calls after grace. Once ctx has
// ended, an end by ErrStopping or by ctx's own end is a clean one: what was not committed comes again.
func (p *Patience) Run(ctx context.Context, grace time.Duration, role func(context.Context) error) error {
	defer p.end()
	defer p.stop()
	unhook := context.AfterFunc(ctx, func() {
		p.stop()
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			p.end()
		case <-p.gone:
		}
	})
	defer unhook()
	err := role(ctx)
	if ctx.Err() != nil && (errors.Is(err, ErrStopping) || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

// Scope is ctx for calls to the outside: it also ends with the role's grace. The caller must call the function.
func (p *Patience) Scope(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gone:
		cancel(ErrStopping)
	default:
		p.scopes[&cancel] = struct{}{}
	}
	return ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.scopes, &cancel)
		cancel(context.Canceled)
	}
}

// Persist does f until its error is not one that waiting mends, with growing pauses. It gives up only when ctx or the role
// ends; the error is then ctx's cause or ErrStopping.
func (p *Patience) Persist(ctx context.Context, what string, mends func(error) bool, f func() error) error {
	return p.repeat(ctx, what, func(try int, err error) bool { return mends(err) }, f)
}

// Attempt does f until it succeeds, at most n times.
func (p *Patience) Attempt(ctx context.Context, what string, n int, f func() error) error {
	return p.repeat(ctx, what, func(try int, _ error) bool { return try < n }, f)
}

func (p *Patience) repeat(ctx context.Context, what string, again func(try int, err error) bool, f func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
		if !again(try, err) {
			return err
		}
		p.waited()
		if try == 3 {
			p.log.Warn("waiting for what is away", "to", what, "err", err)
		}
		if cause := p.sleep(ctx, pause); cause != nil {
			return fmt.Errorf("%s: %w, after %w", what, cause, err)
		}
		pause = min(2*pause, lastPause)
	}
}

// sleep waits and returns nil, or why it did not.
func (p *Patience) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.stopping:
		return ErrStopping
	}
}
