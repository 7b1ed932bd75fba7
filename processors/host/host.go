// Package host runs the company's own code beside the pipeline: each step is a program of its own, kept alive, that is
// handed images on its standard input and answers with derivatives on its standard output (package step has the
// frames).
//
// A step cannot hurt the worker: a call ends at its deadline with the program killed, a program that dies is started
// again with growing pauses, what it writes is bounded, its memory too where the kernel can (Linux), and of the
// worker's environment it sees nothing but PATH and the like.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"time"

	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/host/step"
)

// Step is a program and how it may be used. The zero value of a field means its default.
type Step struct {
	Name    string   // part of blob names. Required.
	Version string   // part of blob names: a changed program needs a new one. Required.
	Command []string // program and arguments. Required.
	Dir     string   // working directory. Default: the worker's.
	Env     []string // KEY=value, added to PATH, HOME, LANG, TMPDIR and TZ, which alone are inherited.

	Timeout   time.Duration // of one image. Default: 30s.
	Processes int           // kept alive at a time. Default: 1.
	MaxOutput int64         // bytes of derivatives for one image. Default: 64 MiB.
	MaxMemory int64         // bytes of data a process may hold; Linux only. Default: 1 GiB; -1 for no bound.
}

// Why a call failed, for errors.Is; a step's own verdict is a *step.RefusalError.
var (
	ErrTimeout  = errors.New("took too long and was killed")
	ErrCrashed  = errors.New("died")
	ErrProtocol = errors.New("answered against the protocol and was killed")
	ErrClosed   = errors.New("is closed")
)

// Error is a failed call.
type Error struct {
	Step     string // name@version
	Attempts int    // how often the image was handed over
	Err      error  // a sentinel of this package or a *step.RefusalError
}

// Error names the step and the cause.
func (e *Error) Error() string { return "host: step " + e.Step + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// crashAttempts is how often an image is handed to a step that dies over it: a second time, since the first death may
// be an earlier image's fault.
const crashAttempts = 2

// maxDerivatives bounds how many derivatives a step may make of one image: the image's state names each.
const maxDerivatives = 16

// Host keeps a step's processes. Safe for concurrent use; at most Step.Processes calls run at a time, others wait.
type Host struct {
	step  Step
	log   *slog.Logger
	idle  chan *process // as many as Processes; one in use is absent
	close func()        // closes done, once
	done  chan struct{} // closed by Close
}

// New checks a step and returns its Host. A program is started when it is first needed.
func New(s Step, log *slog.Logger) (*Host, error) {
	switch {
	case !events.ValidName(s.Name) || !events.ValidName(s.Version):
		return nil, fmt.Errorf("host: step %q version %q: both become part of blob names: 1 to 64 of a-z, 0-9, '-', '_', '.'", s.Name, s.Version)
	case len(s.Command) == 0:
		return nil, fmt.Errorf("host: step %s has no command", s.Name)
	}
	if _, err := exec.LookPath(s.Command[0]); err != nil {
		return nil, fmt.Errorf("host: step %s: its command is not there: %w", s.Name, err)
	}
	if s.Timeout == 0 {
		s.Timeout = 30 * time.Second
	}
	if s.Processes == 0 {
		s.Processes = 1
	}
	if s.MaxOutput == 0 {
		s.MaxOutput = 64 << 20
	}
	if s.MaxMemory == 0 {
		s.MaxMemory = 1 << 30
	}
	if log == nil {
		log = slog.Default()
	}
	h := &Host{step: s, log: log.With("step", s.Name+"@"+s.Version), idle: make(chan *process, s.Processes), done: make(chan struct{})}
	h.close = sync.OnceFunc(func() { close(h.done) })
	for range s.Processes {
		h.idle <- &process{step: s, log: h.log}
	}
	return h, nil
}

// Name is the step's name.
func (h *Host) Name() string { return h.step.Name }

// Version is the step's version.
func (h *Host) Version() string { return h.step.Version }

// Call hands an image to the step and returns its derivatives. The request's ID, Step and Version are filled in here.
// Its error is an *Error where the step is at fault, and otherwise ctx's.
func (h *Host) Call(ctx context.Context, q step.Request, image []byte) ([]step.Output, error) {
	p, err := h.take(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { h.idle <- p }()
	q.Step, q.Version = h.step.Name, h.step.Version
	for attempt := 1; ; attempt++ {
		out, err := p.call(ctx, q, image)
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("host: step %s: %w", h.step.Name, context.Cause(ctx))
		case errors.Is(err, ErrCrashed) && attempt < crashAttempts:
			h.log.Warn("a step died and is tried again", "image_id", q.ImageID, "err", err)
		default:
			return nil, &Error{Step: h.step.Name + "@" + h.step.Version, Attempts: attempt, Err: err}
		}
	}
}

// take waits for a process that is not in use.
func (h *Host) take(ctx context.Context) (*process, error) {
	select {
	case <-h.done: // looked at first: a process may be idle too
		return nil, &Error{Step: h.step.Name, Err: ErrClosed}
	default:
	}
	select {
	case p := <-h.idle:
		return p, nil
	case <-h.done:
		return nil, &Error{Step: h.step.Name, Err: ErrClosed}
	case <-ctx.Done():
		return nil, fmt.Errorf("host: step %s: %w", h.step.Name, context.Cause(ctx))
	}
}

// Close waits for calls under way, then ends every process: its input is closed, which asks it to exit, and what is
// left when ctx ends is killed. Calls afterwards fail with ErrClosed.
func (h *Host) Close(ctx context.Context) error {
	h.close()
	var faults []error
	for range h.step.Processes {
		select {
		case p := <-h.idle:
			faults = append(faults, p.stop(ctx))
		case <-ctx.Done():
			return errors.Join(append(faults, fmt.Errorf("host: step %s is still at work: %w", h.step.Name, context.Cause(ctx)))...)
		}
	}
	return errors.Join(faults...)
}
