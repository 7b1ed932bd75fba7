package run

import (
	"context"
	"time"

	"github.com/millrun/millrun/stream/internal/statedir"
)

// openDir takes the state directory if a store is on disk. The instance is then called what it was called before a restart.
func (e *Engine) openDir() (err error) {
	if !e.o.Program.OnDisk() {
		return nil
	}
	if e.dir, err = statedir.Open(e.o.StateDir, e.app, e.o.Log); err != nil {
		return err
	}
	e.process = e.dir.Process()
	return nil
}

func (e *Engine) closeDir() error {
	if e.dir == nil {
		return nil
	}
	return e.dir.Close()
}

// cleanLeast is the least time between two looks for directories to be deleted.
const cleanLeast = time.Second

// cleanDir deletes the directories of tasks that have left, until ctx ends.
func (e *Engine) cleanDir(ctx context.Context) {
	delay := e.o.StateCleanupDelay
	if delay < 0 {
		return
	}
	look := time.NewTicker(max(delay/4, cleanLeast))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		gone, err := e.dir.Clean(delay)
		if err != nil {
			e.o.Log.Warn("the directory of a task that has left was not deleted", "error", err)
		}
		if len(gone) > 0 {
			e.o.Log.Info("deleted what tasks that have left kept on disk", "tasks", gone)
		}
	}
}
