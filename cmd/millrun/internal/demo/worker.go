package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
	"github.com/millrun/millrun/cmd/millrun/internal/roles"
)

// worker is a process of its own with the roles that the story kills: images and orders.
type worker struct {
	cmd  *exec.Cmd
	log  *os.File
	dir  string
	done chan error
}

// startWorker starts the process; its log is appended to worker.log in the demo's folder.
func startWorker(dir string) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "worker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	w := &worker{log: log, dir: dir, done: make(chan error, 1)}
	w.cmd = exec.Command(self, "run", roles.Worker, roles.Orders, "--config", filepath.Join(dir, install.ConfigFile)) //nolint:noctx // it outlives no one: stop and kill end it
	w.cmd.Stdout, w.cmd.Stderr = log, log
	if err := w.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("demo: %w", err), log.Close())
	}
	go w.wait()
	return w, nil
}

// wait reaps the process and keeps how it ended.
func (w *worker) wait() { w.done <- w.cmd.Wait() }

// kill ends the process without warning, as a power cut would.
func (w *worker) kill() error {
	if err := w.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("demo: the worker had ended by itself (see worker.log): %w", err)
	}
	if err := <-w.done; err == nil {
		return errors.Join(errors.New("demo: the worker had ended by itself, see worker.log"), w.log.Close())
	}
	return w.log.Close()
}

// stop asks the process to drain, and kills it when it does not.
func (w *worker) stop() error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return w.log.Close()
	}
	select {
	case err := <-w.done:
		if err != nil {
			err = fmt.Errorf("demo: the worker ended badly, see worker.log: %w", err)
		}
		return errors.Join(err, w.log.Close())
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("demo: the worker did not drain within 30 s"), w.kill())
	}
}
