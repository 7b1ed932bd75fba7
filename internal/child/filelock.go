package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often a lock that another process holds is asked for again.
const lockPoll = 50 * time.Millisecond

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("child: locked by another process")

// FileLock is a lock among processes (flock), which the kernel gives back when its holder dies. It is never inherited by
// children. One owner; not safe for concurrent use. The file itself stays: removing it would let two hold "the" lock.
type FileLock struct{ file *os.File }

// TryLock takes the lock at path, or says ErrLocked at once. Shared locks exclude only exclusive ones.
func TryLock(path string, shared bool) (*FileLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("child: lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("child: lock: %w", err)
	}
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	for {
		err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return &FileLock{file: f}, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, errors.Join(fmt.Errorf("child: lock %s: %w", path, err), f.Close())
}

// Lock takes the lock at path, waiting for it until ctx ends.
func Lock(ctx context.Context, path string, shared bool) (*FileLock, error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		l, err := TryLock(path, shared)
		if err == nil || !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Unlock gives the lock back. It says so to the kernel before it closes the file: a program that another goroutine is
// just starting holds a copy of the open file until it has begun, and closing ours would not take the lock from it.
func (l *FileLock) Unlock() error {
	err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	if err := errors.Join(err, l.file.Close()); err != nil {
		return fmt.Errorf("child: unlock: %w", err)
	}
	return nil
}
