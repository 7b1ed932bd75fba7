package real

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millrun/millrun/internal/child"
)

const (
	// linger is how long a leased stack waits for a next user: packages of one test run follow each other.
	linger = 3 * time.Second
	// leasePoll is how often the supervisor looks whether it is still needed.
	leasePoll = 250 * time.Millisecond
	// startTimeout bounds a start, downloads included.
	startTimeout = 5 * time.Minute
)

// Supervise is the life of a supervisor process: it starts parts with their data under dir, makes them known, and stops
// them when ctx ends, when one of them ends by itself, or, if leased, when no process holds a lease any more. They start
// without data; those of a leased stack are removed at its end.
func Supervise(ctx context.Context, dir string, parts []Part, leased bool, log *slog.Logger) (err error) {
	alive, err := child.TryLock(filepath.Join(dir, aliveFile), false)
	if err != nil {
		return fmt.Errorf("real: %s already has a supervisor: %w", dir, err)
	}
	defer func() { err = errors.Join(err, alive.Unlock()) }()
	if err := wipe(dir, parts); err != nil {
		return err
	}
	if leased {
		defer func() { err = errors.Join(err, wipe(dir, parts)) }()
	}
	running, err := startParts(ctx, dir, parts)
	defer func() { err = errors.Join(err, stopParts(ctx, running)) }()
	if err != nil {
		return err
	}
	if err := publish(dir, running); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeFiles(dir, stackFile, configFile)) }()
	log.Info("real components are ready", "parts", parts, "dir", dir)
	if leased {
		return superviseLeased(ctx, dir, running)
	}
	return awaitEnd(ctx, running)
}

// superviseLeased returns when nobody needs the stack. It then holds the start lock until the stack is no longer
// visible, so that no process can begin to use what is about to stop.
func superviseLeased(ctx context.Context, dir string, running map[Part]*instance) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- awaitEnd(ctx, running) }()
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	var idle time.Time
	for {
		select {
		case err := <-ended:
			return err
		case now := <-tick.C:
			if inUse(dir) {
				idle = time.Time{}
				continue
			}
			if idle.IsZero() {
				idle = now
			}
			if now.Sub(idle) < linger {
				continue
			}
			if left, err := leave(dir); left || err != nil {
				cancel()
				return errors.Join(err, <-ended)
			}
		}
	}
}

// leave withdraws the stack if really nobody uses it.
func leave(dir string) (left bool, err error) {
	start, err := child.TryLock(filepath.Join(dir, startFile), false)
	if errors.Is(err, child.ErrLocked) {
		return false, nil // somebody is about to use it
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, start.Unlock()) }()
	if inUse(dir) {
		return false, nil
	}
	return true, removeFiles(dir, stackFile)
}

// inUse says whether a process holds a lease. When in doubt it does.
func inUse(dir string) bool {
	l, err := child.TryLock(filepath.Join(dir, leaseFile), false)
	if err != nil {
		return true
	}
	return l.Unlock() != nil
}

// awaitEnd waits for ctx, which is no error, or for the end of a part, which is one.
func awaitEnd(ctx context.Context, running map[Part]*instance) error {
	ended := make(chan Part, len(running))
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for p, in := range running {
		wg.Go(func() {
			select {
			case <-in.done:
				ended <- p
			case <-ctx.Done():
			}
		})
	}
	select {
	case p := <-ended:
		return fmt.Errorf("real: %s ended by itself", p.Title())
	case <-ctx.Done():
		return nil
	}
}

// startParts starts all parts at once. What was started is returned also with an error.
func startParts(ctx context.Context, dir string, parts []Part) (map[Part]*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		errs    []error
		running = make(map[Part]*instance)
	)
	for _, p := range parts {
		wg.Go(func() {
			in, err := startIn(ctx, p, filepath.Join(dir, string(p)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			running[p] = in
		})
	}
	wg.Wait()
	return running, errors.Join(errs...)
}

func startIn(ctx context.Context, p Part, dir string) (*instance, error) {
	if lacks := p.Missing(ctx); lacks != "" {
		return nil, fmt.Errorf("real: %s cannot start: %s", p.Title(), lacks)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("real: %w", err)
	}
	return startPart(ctx, p, dir)
}

// stopParts stops also when ctx has ended: that is when it is called.
func stopParts(ctx context.Context, running map[Part]*instance) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for _, in := range running {
		wg.Go(func() {
			err := in.stop(ctx)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// wipe removes the parts' data, of an earlier supervisor that was killed too.
func wipe(dir string, parts []Part) error {
	errs := []error{removeFiles(dir, stackFile)}
	for _, p := range parts {
		if err := os.RemoveAll(filepath.Join(dir, string(p))); err != nil {
			errs = append(errs, fmt.Errorf("real: %w", err))
		}
	}
	return errors.Join(errs...)
}

func publish(dir string, running map[Part]*instance) error {
	s := &Stack{PID: os.Getpid(), Parts: make(map[Part]Endpoint, len(running))}
	for p, in := range running {
		s.Parts[p] = in.endpoint
	}
	if err := writeConfig(dir, s); err != nil {
		return err
	}
	return writeStack(dir, s)
}
