package real

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/millrun/millrun/internal/child"
)

// Options says what Start starts.
type Options struct {
	// Dir is the folder for data, logs, real.json and config.yaml. Required.
	Dir string
	// Leased makes the stack one of tests: it ends, and its data go, when no process holds a lease.
	Leased bool
	// Parts are the parts to start. Default: all.
	Parts []Part
	// Log gets what the start has to say. Default: nothing.
	Log *slog.Logger
	// Supervisor is the program to run as supervisor: one that understands the command line of internal/real/cmd/real.
	// Default: the running program.
	Supervisor string
}

// Start starts the parts in the background, owned by a supervisor process of their own, and returns when all are ready.
// They start without data. A stack that already runs in the folder is returned as it is.
func Start(ctx context.Context, o Options) (s *Stack, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, err
	}
	start, err := child.Lock(ctx, filepath.Join(o.Dir, startFile), false)
	if err != nil {
		return nil, fmt.Errorf("real: start in %s: %w", o.Dir, err)
	}
	defer func() { err = errors.Join(err, start.Unlock()) }()
	if err := awaitVerdict(ctx, o.Dir); err != nil {
		return nil, err
	}
	if s, err := Status(o.Dir); err == nil {
		o.Log.Info("real components run already", "dir", o.Dir, "pid", s.PID)
		return s, nil
	}
	if err := spawn(o); err != nil {
		return nil, err
	}
	return awaitStack(ctx, o.Dir)
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("real: no folder to start in: give Options.Dir (--dir)")
	}
	abs, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, fmt.Errorf("real: %w", err)
	}
	o.Dir = abs
	if len(o.Parts) == 0 {
		o.Parts = Parts()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Supervisor == "" {
		if o.Supervisor, err = os.Executable(); err != nil {
			return o, fmt.Errorf("real: %w", err)
		}
	}
	return o, os.MkdirAll(o.Dir, 0o755)
}

// spawn starts the supervisor in a session of its own, without any descriptor of ours: `go test` waits for whoever
// holds a test's output.
func spawn(o Options) error {
	if err := removeFiles(o.Dir, stackFile, logFile); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(o.Dir, logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("real: %w", err)
	}
	args := []string{"supervise", "--dir", o.Dir, "--parts", joinParts(o.Parts)}
	if o.Leased {
		args = append(args, "--leased")
	}
	cmd := exec.Command(o.Supervisor, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = o.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return fmt.Errorf("real: start the supervisor: %w", err)
	}
	// The supervisor speaks by its lock and its files; nobody here waits for it. Its first act is to take the lock.
	return cmd.Process.Release()
}

// awaitStack waits until the supervisor shows its stack, or has ended without.
func awaitStack(ctx context.Context, dir string) (*Stack, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	seen, absent := false, 0
	for {
		s, err := readStack(dir)
		if err == nil {
			return s, nil
		}
		if supervised(dir) {
			seen, absent = true, 0
		} else {
			absent++
		}
		// A supervisor that was never seen gets ten seconds to take its lock.
		if (seen && absent > 1) || absent > 200 {
			return nil, fmt.Errorf("real: the components did not start; the supervisor said:\n%s", tail(filepath.Join(dir, logFile)))
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("real: the components did not start in time: %w; the supervisor said:\n%s",
				context.Cause(ctx), tail(filepath.Join(dir, logFile)))
		case <-tick.C:
		}
	}
}

// awaitVerdict waits while a supervisor is there that has not yet shown, or has just withdrawn, its stack.
func awaitVerdict(ctx context.Context, dir string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for supervised(dir) {
		if _, err := readStack(dir); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("real: the supervisor of %s neither starts nor ends: %w", dir, context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}

// supervised says whether a supervisor lives in dir.
func supervised(dir string) bool {
	l, err := child.TryLock(filepath.Join(dir, aliveFile), true)
	if err != nil {
		return errors.Is(err, child.ErrLocked)
	}
	return l.Unlock() != nil
}

// ErrNotRunning says that no stack runs in a folder.
var ErrNotRunning = errors.New("real: no components run here")

// Status is the stack that runs in dir, or ErrNotRunning.
func Status(dir string) (*Stack, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotRunning, dir)
	}
	if !supervised(dir) {
		return nil, fmt.Errorf("%w: %s", ErrNotRunning, dir)
	}
	return readStack(dir)
}

// Stop stops the stack of dir by the supervisor's process id and waits until it is gone. Data stay until the next
// Start. A folder where
// nothing runs is no error.
func Stop(ctx context.Context, dir string) error {
	s, err := Status(dir)
	if errors.Is(err, ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("real: stop process %d: %w", s.PID, err)
	}
	return awaitGone(ctx, dir)
}

// awaitGone waits until no supervisor lives in dir.
func awaitGone(ctx context.Context, dir string) error {
	alive, err := child.Lock(ctx, filepath.Join(dir, aliveFile), true)
	if err != nil {
		return fmt.Errorf("real: the components of %s do not stop: %w", dir, err)
	}
	return alive.Unlock()
}

func joinParts(parts []Part) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = string(p)
	}
	return strings.Join(names, ",")
}

// ParseParts is the inverse of the command line's list; an unknown name is an error that names the known ones.
func ParseParts(list string) ([]Part, error) {
	if list == "" {
		return Parts(), nil
	}
	var parts []Part
	for name := range strings.SplitSeq(list, ",") {
		p := Part(name)
		if p != PartKafka && p != PartAzurite && p != PartPostgres {
			return nil, fmt.Errorf("real: no part %q; there are %v", name, Parts())
		}
		parts = append(parts, p)
	}
	return parts, nil
}
