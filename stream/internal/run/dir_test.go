package run_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/run"
	"github.com/millrun/millrun/stream/internal/statedir"
	"github.com/millrun/millrun/stream/metrics"
)

// lonely is an engine that waits for its brokers, with a store that is said to be on disk.
func lonely(t *testing.T, dir string, onDisk bool, became func(run.State)) *run.Engine {
	t.Helper()
	b := stream.NewBuilder()
	b.Table[string, string]("in", stream.As("rows"))
	p, err := stream.Assemble(opt.Seal{}, b, stream.Config{ApplicationID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Stores {
		s.OnDisk = onDisk
	}
	return run.New(run.Options{
		Program: p, Brokers: []string{"127.0.0.1:1"}, ClientID: "app", Threads: 1, CommitInterval: time.Second, Reach: time.Hour,
		StateDir: dir, StateCleanupDelay: time.Minute, Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: metrics.New(),
		OnRestore: func(run.Restored) {}, OnState: func(_, now run.State) { became(now) },
	})
}

func TestTwoInstancesOnOneStateDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	first := lonely(t, dir, true, func(run.State) {})
	go func() { done <- first.Run(ctx) }()
	for {
		// The file appears with the lock held.
		if _, err := os.Lstat(filepath.Join(dir, "app", "process.json")); err == nil {
			break
		}
	}
	err := lonely(t, dir, true, func(run.State) {}).Run(context.Background())
	if !errors.Is(err, statedir.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("the second instance: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	// The end of the first has freed it.
	d, err := statedir.Open(dir, "app", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestStoresInMemoryNeedNoDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := lonely(t, dir, false, func(run.State) {}).Run(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("a directory was made for nothing")
	}
}
