package real

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrun/millrun/internal/child"
)

// RunTests runs a command that runs tests, such as `go test ./...`, holding the shared parts from its first to its last
// test, so that they start once. At the end it waits until they have stopped and writes one line to out that names what
// was missing, if anything was. The error is the command's.
func RunTests(ctx context.Context, command []string, out io.Writer) (err error) {
	if len(command) == 0 {
		return errors.New("real: no command to run: what follows `test --` is run")
	}
	tmp, err := os.MkdirTemp("", "millrun-missing-")
	if err != nil {
		return fmt.Errorf("real: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	missing := filepath.Join(tmp, "missing")

	held, err := holdAll(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Stdin = os.Stdout, os.Stderr, os.Stdin
	cmd.Env = append(os.Environ(), MissingEnv+"="+missing)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	ran := cmd.Run()
	for _, l := range held {
		err = errors.Join(err, l.Unlock())
	}
	return errors.Join(ran, err, awaitAllGone(ctx), report(missing, out))
}

// holdAll takes a lease on every part without starting any.
func holdAll(ctx context.Context) ([]*child.FileLock, error) {
	var held []*child.FileLock
	for _, p := range Parts() {
		dir, err := sharedDir(p)
		if err != nil {
			return nil, err
		}
		l, err := child.Lock(ctx, filepath.Join(dir, leaseFile), true)
		if err != nil {
			return nil, fmt.Errorf("real: %w", err)
		}
		held = append(held, l)
	}
	return held, nil
}

// awaitAllGone waits until the shared parts have stopped, unless somebody else goes on using them.
func awaitAllGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var errs []error
	for _, p := range Parts() {
		dir, err := sharedDir(p)
		if err != nil {
			return err
		}
		errs = append(errs, awaitUnused(ctx, dir))
	}
	return errors.Join(errs...)
}

func awaitUnused(ctx context.Context, dir string) error {
	tick := time.NewTicker(leasePoll)
	defer tick.Stop()
	for supervised(dir) && !inUse(dir) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("real: the components of %s do not stop: %w", dir, context.Cause(ctx))
		case <-tick.C:
		}
	}
	return nil
}

// report writes the one line about what was missing.
func report(missing string, out io.Writer) error {
	b, err := os.ReadFile(missing)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("real: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	slices.Sort(lines)
	if _, err := fmt.Fprintf(out, "not tested against, because missing: %s\n", strings.Join(slices.Compact(lines), "; ")); err != nil {
		return fmt.Errorf("real: %w", err)
	}
	return nil
}
