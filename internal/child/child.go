// Package child runs other programs (PostgreSQL, a Java broker, a Node server) as children that do not outlive us.
//
// On Linux the kernel ends a child as soon as the process that started it is gone, also after kill -9. Elsewhere a child
// of a killed parent stays, and who starts it must find it again by its process id.
package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// Process is a started child. It always has exactly one goroutine, which ends with the child. Safe for concurrent use.
type Process struct {
	name string
	proc *os.Process
	done chan struct{}
	err  error // written before done is closed
}

// Start starts cmd and watches it. When this process dies first, the kernel sends the child death (Linux only; other
// systems have no such promise). Who starts it must call Stop, or wait for Done.
func Start(cmd *exec.Cmd, death syscall.Signal) (*Process, error) {
	setDeathSignal(cmd, death)
	p := &Process{name: filepath.Base(cmd.Path), done: make(chan struct{})}
	started := make(chan error)
	go p.own(cmd, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("child: start %s: %w", p.name, err)
	}
	return p, nil
}

// own starts the child and waits for it on one thread of its own: Linux ties the death signal to the thread that
// started the child, and a thread of Go's pool may end at any time.
func (p *Process) own(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := cmd.Start()
	p.proc = cmd.Process
	started <- err
	if err == nil {
		p.err = cmd.Wait()
	}
}

// PID is the child's process id.
func (p *Process) PID() int { return p.proc.Pid }

// Done is closed when the child has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the child ended: nil for exit code 0. It must only be asked after Done.
func (p *Process) Err() error { return p.err }

// Signal sends sig; a child that has already ended is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.proc.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("child: signal %s: %w", p.name, err)
	}
	return nil
}

// Stop sends sig and waits for the end; when ctx ends first the child is killed. A child that has already ended is no
// error, nor is an exit code other than 0: who stops a program does not ask for its opinion.
func (p *Process) Stop(ctx context.Context, sig syscall.Signal) error {
	if err := p.Signal(sig); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	return errors.Join(fmt.Errorf("child: %s did not stop in time and is killed: %w", p.name, context.Cause(ctx)), p.Kill())
}

// Kill ends the child without asking and waits for its end.
func (p *Process) Kill() error {
	if err := p.proc.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("child: kill %s: %w", p.name, err)
	}
	<-p.done
	return nil
}
