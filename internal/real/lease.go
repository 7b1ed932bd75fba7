package real

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/millrun/millrun/internal/cache"
	"github.com/millrun/millrun/internal/child"
)

// lease is this process' hold on one shared part. It is taken once and given back by the end of the process alone: a
// test that has ended may be followed by another that wants the part.
type lease struct {
	once     sync.Once
	endpoint Endpoint
	err      error
	held     *child.FileLock
}

// leases holds one lease for each part. The map is never written after the start of the process.
var leases = map[Part]*lease{PartKafka: {}, PartAzurite: {}, PartPostgres: {}}

// shared is the endpoint of the part that all test processes of this work tree share, started when it does not run.
func shared(ctx context.Context, p Part) (Endpoint, error) {
	l := leases[p]
	l.once.Do(func() { l.endpoint, l.err = l.take(ctx, p) })
	return l.endpoint, l.err
}

func (l *lease) take(ctx context.Context, p Part) (Endpoint, error) {
	dir, err := sharedDir(p)
	if err != nil {
		return Endpoint{}, err
	}
	// The lease comes first: from here on the supervisor, if there is one, does not leave.
	if l.held, err = child.Lock(ctx, filepath.Join(dir, leaseFile), true); err != nil {
		return Endpoint{}, fmt.Errorf("real: %w", err)
	}
	if s, err := settled(ctx, dir); err == nil {
		return s.Parts[p], nil
	}
	supervisor, err := buildSupervisor(ctx, dir)
	if err != nil {
		return Endpoint{}, err
	}
	s, err := Start(ctx, Options{Dir: dir, Leased: true, Parts: []Part{p}, Supervisor: supervisor})
	if err != nil {
		return Endpoint{}, err
	}
	return s.Parts[p], nil
}

// settled is the running stack of dir, asked for when no start or end is under way.
func settled(ctx context.Context, dir string) (_ *Stack, err error) {
	start, err := child.Lock(ctx, filepath.Join(dir, startFile), false)
	if err != nil {
		return nil, fmt.Errorf("real: %w", err)
	}
	defer func() { err = errors.Join(err, start.Unlock()) }()
	return Status(dir)
}

// sharedDir is where a shared part of this work tree lives: in the cache, so that nothing is written anywhere else.
func sharedDir(p Part) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	c, err := cache.Dir()
	if err != nil {
		return "", fmt.Errorf("real: %w", err)
	}
	sum := sha256.Sum256([]byte(root))
	return filepath.Join(c, "tests-"+hex.EncodeToString(sum[:4]), string(p)), nil
}

// moduleRoot is the folder of go.mod above the working folder, which `go test` sets to the package's.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("real: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("real: no go.mod above the working folder: run the tests by `go test`")
		}
		dir = parent
	}
}

// buildSupervisor builds the command that supervises: a test binary is not one, and is gone when its tests are.
func buildSupervisor(ctx context.Context, dir string) (_ string, err error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	lock, err := child.Lock(ctx, filepath.Join(filepath.Dir(dir), "build.lock"), false)
	if err != nil {
		return "", fmt.Errorf("real: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	exe := filepath.Join(filepath.Dir(dir), "supervisor")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", exe+".new", "./internal/real/cmd/real")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if err := runTool(cmd); err != nil {
		return "", fmt.Errorf("real: build the supervisor: %w", err)
	}
	// One that runs keeps its file; a rename only takes the name.
	if err := os.Rename(exe+".new", exe); err != nil {
		return "", fmt.Errorf("real: %w", err)
	}
	return exe, nil
}
