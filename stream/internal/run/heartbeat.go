package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// farewellTimeout bounds leaving a group: if it is not told, it finds out by the session timeout.
const farewellTimeout = 5 * time.Second

// asker is a coordinator, or a test's.
type asker interface {
	ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
	forget()
}

// heartbeat keeps a member's place in a streams group: one goroutine, which its membership starts and ends. The thread that
// the place belongs to and the goroutine meet at the mutex, which is never held while either waits.
type heartbeat struct {
	to   asker
	log  *slog.Logger
	stop context.CancelFunc
	done chan struct{}
	kick chan struct{} // a heartbeat before its time

	mu      sync.Mutex // guards what follows
	place   *place
	turned  chan struct{} // closed and replaced after each answer
	begun   int           // counts heartbeats
	ended   int           // the last one that was answered
	lastRun time.Time     // of the thread's turn
	told    string        // what was said last of what stands in the group's way
	emptied bool          // the group was asked to forget the topology that it had
}

func newHeartbeat(to asker, p *place, log *slog.Logger) *heartbeat {
	return &heartbeat{to: to, place: p, log: log, done: make(chan struct{}), kick: make(chan struct{}, 1), turned: make(chan struct{})}
}

// start begins the goroutine.
func (h *heartbeat) start(ctx context.Context) {
	ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	h.lastRun = time.Now()
	go func() {
		defer close(h.done)
		if err := guarded(func() error { h.run(ctx); return nil }); err != nil {
			h.change(func(p *place) { p.fatal = err })
		}
	}()
}

// change changes the place, and sends a heartbeat if one is due.
func (h *heartbeat) change(f func(*place)) {
	h.mu.Lock()
	f(h.place)
	due := h.place.due()
	h.mu.Unlock()
	if due {
		h.soon()
	}
}

// look reads the place.
func (h *heartbeat) look(f func(*place)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h.place)
}

// soon sends a heartbeat before its time.
func (h *heartbeat) soon() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// alive notes that the thread has come to its turn.
func (h *heartbeat) alive() {
	h.mu.Lock()
	h.lastRun = time.Now()
	h.mu.Unlock()
}

func (h *heartbeat) run(ctx context.Context) {
	for failures := 0; ; {
		wait, err := h.beat(ctx)
		if err != nil && ctx.Err() == nil {
			h.log.Debug("a heartbeat failed", "error", err)
			failures++
			wait = min(pause<<min(failures-1, 10), wait)
		} else {
			failures = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-h.kick:
			if failures > 0 { // whoever is in a hurry is not helped by asking a broker that cannot answer
				select {
				case <-ctx.Done():
					return
				case <-time.After(pause):
				}
			}
		case <-time.After(wait):
		}
	}
}

// beat sends one heartbeat and takes the answer in. It returns when the next one is due.
func (h *heartbeat) beat(ctx context.Context) (wait time.Duration, err error) {
	h.mu.Lock()
	h.begun++
	n, wait := h.begun, h.place.interval
	stalled := h.place.phase == seated && time.Since(h.lastRun) > h.place.patience
	req, q := h.place.ask(time.Now())
	bye := h.place.farewell()
	over := req == nil || h.place.over()
	h.mu.Unlock()
	switch {
	case over:
		return wait, nil
	case stalled:
		_, err := h.send(ctx, bye)
		h.log.Warn("the thread has not come to its turn for too long; the group goes on without it", "longest", h.place.patience)
		h.change((*place).expel)
		return wait, err
	}
	resp, err := h.send(ctx, req)
	wait, err = h.hear(n, q, resp, err)
	if errors.Is(err, errTopology) {
		err = convert(ctx, h.to, h.place.group)
		h.log.Info("the group has another topology; it takes ours if it has no members", "refused", err)
		return 0, nil
	}
	return wait, err
}

// errTopology says that the group may be one without members that keeps the topology of the last one.
var errTopology = errors.New("stream: the group may have another topology")

// hear takes an answer in.
func (h *heartbeat) hear(n int, q question, resp *kmsg.StreamsGroupHeartbeatResponse, err error) (wait time.Duration, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() {
		close(h.turned)
		h.turned = make(chan struct{})
	}()
	if refusal, ok := errors.AsType[*kerr.Error](err); ok && !refusal.Retriable {
		return h.place.interval, h.place.refused(err, nil)
	}
	if err != nil {
		return h.place.interval, err
	}
	if err := h.place.answered(q, resp, time.Now()); err != nil {
		if elsewhere(err) {
			h.to.forget()
		}
		return h.place.interval, err
	}
	if errors.Is(h.place.fatal, kerr.InvalidRequest) && h.place.phase == seeking && !h.emptied {
		h.emptied, h.place.fatal = true, nil
		return 0, errTopology
	}
	h.ended = n
	if now := h.place.obstacles(); now != h.told {
		h.told = now
		h.log.Info("the group says", "status", now)
	}
	return h.place.interval, nil
}

func (h *heartbeat) send(ctx context.Context, req *kmsg.StreamsGroupHeartbeatRequest) (*kmsg.StreamsGroupHeartbeatResponse, error) {
	answer, err := h.to.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*kmsg.StreamsGroupHeartbeatResponse)
	if !ok {
		return nil, fmt.Errorf("stream: heartbeat: the answer is a %T", answer)
	}
	return resp, nil
}

// renewed waits for the answer to a heartbeat that begins after the call, and says whether the identity is another one then.
func (h *heartbeat) renewed(ctx context.Context, old identity) bool {
	h.mu.Lock()
	begun := h.begun
	h.mu.Unlock()
	for {
		h.mu.Lock()
		now, ended, turned := h.place.identity(), h.ended, h.turned
		h.mu.Unlock()
		switch {
		case now.member == "":
			return false
		case now.epoch != old.epoch:
			return true
		case ended > begun:
			return false
		}
		h.soon()
		select {
		case <-ctx.Done():
			return false
		case <-turned:
		}
	}
}

// end stops the goroutine and gives the place back.
func (h *heartbeat) end() {
	h.stop()
	<-h.done
	h.mu.Lock()
	p := h.place
	req := p.farewell()
	refused := p.phase == seeking && p.fatal != nil
	h.mu.Unlock()
	if refused {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewellTimeout)
	defer cancel()
	resp, err := h.send(ctx, req)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil && !errors.Is(err, kerr.UnknownMemberID) {
		h.log.Debug("the group was not told that this member leaves", "error", err)
	}
}
