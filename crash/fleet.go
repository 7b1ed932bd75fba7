package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/millrun/millrun/internal/child"
)

// fleet is the workers' processes. It is not safe for concurrent use.
type fleet struct {
	program string
	dir     string
	args    []string
	addrs   []string // by worker: where it finds the broker
	slots   []slot
}

// slot is a worker over all its lives.
type slot struct {
	proc  *child.Process // nil: it does not run
	lives int
	log   string
}

// start starts worker i, which must not run. What it says goes into a file of its own.
func (f *fleet) start(i int) (err error) {
	s := &f.slots[i]
	s.lives++
	s.log = filepath.Join(f.dir, fmt.Sprintf("worker-%d-%03d.log", i, s.lives))
	log, err := os.Create(s.log)
	if err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	cmd := exec.Command(f.program, append(f.args, "--broker="+f.addrs[i], fmt.Sprintf("--state=%s", filepath.Join(f.dir, fmt.Sprintf("state-%d", i))))...)
	cmd.Stdout, cmd.Stderr = log, log
	s.proc, err = child.Start(cmd, syscall.SIGKILL)
	return err
}

// kill ends worker i as kill -9 does.
func (f *fleet) kill(i int) error {
	p := f.slots[i].proc
	f.slots[i].proc = nil
	if p == nil {
		return nil
	}
	return p.Kill()
}

// signal sends worker i a signal.
func (f *fleet) signal(i int, sig syscall.Signal) error { return f.slots[i].proc.Signal(sig) }

// stop ends worker i by SIGTERM. It must end well within the patience.
func (f *fleet) stop(ctx context.Context, i int, patience time.Duration) error {
	s := &f.slots[i]
	p := s.proc
	s.proc = nil
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.Stop(ctx, syscall.SIGTERM); err != nil {
		return fmt.Errorf("crash: worker %d: %w; see %s", i, err, s.log)
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("crash: worker %d ended with %w upon SIGTERM; see %s", i, err, s.log)
	}
	return nil
}

// deserters are the workers that have ended by themselves, which none may. They are started again.
func (f *fleet) deserters() ([]string, error) {
	var gone []string
	for i := range f.slots {
		s := &f.slots[i]
		if s.proc == nil {
			continue
		}
		select {
		case <-s.proc.Done():
			gone = append(gone, fmt.Sprintf("worker %d ended by itself (%v): %s", i, s.proc.Err(), lastLine(s.log)))
			if err := f.start(i); err != nil {
				return gone, err
			}
		default:
		}
	}
	return gone, nil
}

// dump lets every worker write down where its goroutines are, which ends it.
func (f *fleet) dump() (err error) {
	for i := range f.slots {
		p := f.slots[i].proc
		if p == nil {
			continue
		}
		err = errors.Join(err, p.Signal(syscall.SIGQUIT), p.Signal(syscall.SIGCONT))
		select {
		case <-p.Done():
		case <-time.After(5 * time.Second):
		}
	}
	return err
}

// close kills whoever is left.
func (f *fleet) close() error {
	var errs []error
	for i := range f.slots {
		errs = append(errs, f.kill(i))
	}
	return errors.Join(errs...)
}

func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1] + " (" + path + ")"
}
