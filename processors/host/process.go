package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/millrun/millrun/internal/child"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/host/step"
)

// The pauses before a program that died is started again: doubled each time, forgotten with the first answer.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

// exitGrace is how long a program that was asked to exit may take.
const exitGrace = 5 * time.Second

// inherited are the environment variables a step sees of the worker's: none that holds a secret.
var inherited = []string{"PATH", "HOME", "LANG", "TMPDIR", "TZ"}

// process is one place for a running program. It has one user at a time, who took it from Host.idle; the goroutine
// that copies its standard error ends with the program.
type process struct {
	step Step
	log  *slog.Logger

	run    *child.Process // nil: not running
	in     *os.File
	out    *os.File
	words  *os.File // its standard error
	reader *bufio.Reader
	logged chan struct{} // closed when standard error has ended
	nextID uint64
	pause  time.Duration // before the next start
}

// call hands over one image. After any error but a RefusalError the program is gone.
func (p *process) call(ctx context.Context, q step.Request, image []byte) ([]step.Output, error) {
	if err := p.ensure(ctx); err != nil {
		return nil, err
	}
	p.nextID++
	q.ID = p.nextID
	out, err := p.exchange(ctx, q, image)
	var no *step.RefusalError
	if err != nil && !errors.As(err, &no) {
		p.kill()
		p.pause = min(max(2*p.pause, firstPause), lastPause)
		return nil, err
	}
	p.pause = 0
	return out, err
}

// exchange writes the request and reads the response under the step's deadline.
func (p *process) exchange(ctx context.Context, q step.Request, image []byte) ([]step.Output, error) {
	limit := time.Now().Add(p.step.Timeout)
	if err := errors.Join(p.in.SetDeadline(limit), p.out.SetDeadline(limit)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCrashed, err)
	}
	// Once ctx has ended the deadlines are in the past; the caller looks at ctx first, so it is not told as a timeout.
	stop := context.AfterFunc(ctx, func() {
		_ = p.in.SetDeadline(time.Unix(1, 0))
		_ = p.out.SetDeadline(time.Unix(1, 0))
	})
	out, err := p.talk(q, image)
	if !stop() {
		return nil, fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx)) // the deadlines may still move: the program must go
	}
	return out, err
}

func (p *process) talk(q step.Request, image []byte) ([]step.Output, error) {
	if err := step.WriteFrame(p.in, q, image); err != nil {
		return nil, p.failure("take the image", err)
	}
	var a step.Response
	body, err := step.ReadFrame(p.reader, &a, p.step.MaxOutput)
	if err != nil {
		return nil, p.failure("answer", err)
	}
	return outputs(q, a, body)
}

// failure sorts an error of the pipes.
func (p *process) failure(doing string, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w after %s", ErrTimeout, p.step.Timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w before it could %s%s", ErrCrashed, doing, p.lastWords())
	default:
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
}

// lastWords is how the program ended, if it does so soon.
func (p *process) lastWords() string {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-p.run.Done():
		if err := p.run.Err(); err != nil {
			return ": " + err.Error()
		}
		return ": it exited by itself"
	case <-t.C:
		return ": it closed its output"
	}
}

// outputs checks an answer and cuts the body into the derivatives it announces.
func outputs(q step.Request, a step.Response, body []byte) ([]step.Output, error) {
	if a.ID != q.ID {
		return nil, fmt.Errorf("%w: it answered request %d, not %d", ErrProtocol, a.ID, q.ID)
	}
	if a.Error != nil {
		return nil, a.Error
	}
	if len(a.Derivatives) > maxDerivatives {
		return nil, fmt.Errorf("%w: %d derivatives, at most %d", ErrProtocol, len(a.Derivatives), maxDerivatives)
	}
	var out []step.Output
	var names []string
	for _, d := range a.Derivatives {
		switch {
		case !events.ValidName(d.Name) || slices.Contains(names, d.Name):
			return nil, fmt.Errorf("%w: derivative name %.80q", ErrProtocol, d.Name)
		case !validType(d.ContentType):
			return nil, fmt.Errorf("%w: content type %.80q", ErrProtocol, d.ContentType)
		case d.Bytes < 0 || d.Bytes > int64(len(body)) || d.Width < 0 || d.Height < 0 || d.Width > 1<<30 || d.Height > 1<<30:
			return nil, fmt.Errorf("%w: derivative %s has %d bytes of the %d that follow", ErrProtocol, d.Name, d.Bytes, len(body))
		}
		names = append(names, d.Name)
		out = append(out, step.Output{Name: d.Name, ContentType: d.ContentType, Width: d.Width, Height: d.Height, Bytes: body[:d.Bytes]})
		body = body[d.Bytes:]
	}
	if len(body) > 0 {
		return nil, fmt.Errorf("%w: %d bytes that belong to no derivative", ErrProtocol, len(body))
	}
	return out, nil
}

// validType says whether a media type may become an HTTP header: type/subtype without parameters.
func validType(s string) bool {
	slash := false
	for i, r := range s {
		switch {
		case r == '/' && !slash && i > 0 && i < len(s)-1:
			slash = true
		case (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '+' && r != '.':
			return false
		}
	}
	return slash && len(s) <= 100
}

// ensure starts the program if it is not running, after the pause that its deaths have earned.
func (p *process) ensure(ctx context.Context) error {
	if p.run != nil {
		select {
		case <-p.run.Done(): // it died between two calls
			p.kill()
		default:
			return nil
		}
	}
	if p.pause > 0 {
		t := time.NewTimer(p.pause)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return p.start()
}

// start starts the program with pipes whose reads and writes can be given up at a deadline.
func (p *process) start() error {
	var files []*os.File
	pipe := func() (r, w *os.File, err error) {
		r, w, err = os.Pipe()
		files = append(files, r, w)
		return r, w, err
	}
	stdin, in, err1 := pipe()
	out, stdout, err2 := pipe()
	words, stderr, err3 := pipe()
	err := errors.Join(err1, err2, err3)
	var run *child.Process
	if err == nil {
		cmd := exec.Command(p.step.Command[0], p.step.Command[1:]...)
		cmd.Dir, cmd.Env = p.step.Dir, p.environment()
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
		ownGroup(cmd)
		run, err = child.Start(cmd, syscall.SIGKILL)
	}
	if err != nil {
		for _, f := range files {
			_ = f.Close() // nothing was written
		}
		return fmt.Errorf("%w: %w", ErrCrashed, err)
	}
	for _, f := range []*os.File{stdin, stdout, stderr} {
		_ = f.Close() // the child has its own
	}
	if err := limitMemory(run.PID(), p.step.MaxMemory); err != nil {
		p.log.Warn("a step runs without a bound on its memory", "err", err)
	}
	p.run, p.in, p.out, p.words, p.logged = run, in, out, words, make(chan struct{})
	p.reader = bufio.NewReaderSize(out, 64<<10)
	go copyLog(p.log, words, p.logged)
	return nil
}

func (p *process) environment() []string {
	env := []string{}
	for _, k := range inherited {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return append(env, p.step.Env...)
}

// kill ends the program and whatever it started, and waits until it is gone.
func (p *process) kill() {
	if p.run == nil {
		return
	}
	killGroup(p.run.PID())
	<-p.run.Done()
	p.forget()
}

// stop asks the program to exit by closing its input.
func (p *process) stop(ctx context.Context) error {
	if p.run == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, exitGrace)
	defer cancel()
	_ = p.in.Close()
	select {
	case <-p.run.Done():
	case <-ctx.Done():
		p.log.Warn("a step did not exit when its input ended and is killed")
	}
	p.kill()
	return nil
}

// forget closes what a program that is gone has left. Standard error ends by itself unless a grandchild that left the
// group holds it open: it is not listened to for longer than a second.
func (p *process) forget() {
	_ = p.in.Close()
	_ = p.out.Close()
	_ = p.words.SetReadDeadline(time.Now().Add(time.Second))
	<-p.logged
	p.run, p.in, p.out, p.words, p.reader = nil, nil, nil, nil, nil
}
