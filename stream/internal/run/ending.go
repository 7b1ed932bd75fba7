package run

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// shutdown gives everything back: with a last commit if the thread ended well.
func (t *thread) shutdown(clean bool, end context.CancelFunc) error {
	t.e.fail.At("shutdown-before")
	defer t.e.fail.At("shutdown-after")
	ctx, cancel := context.WithTimeout(t.life, drainLimit)
	defer cancel()
	t.mu.Lock()
	err := t.last(ctx, clean)
	err = errors.Join(err, t.drop(t.tasks), t.drop(t.suspended), t.drop(t.copies))
	t.restore.close()
	t.countLast()
	t.mu.Unlock()
	end()
	t.pool.close()
	t.purges.Wait()
	t.member.leave()
	return err
}

// last is the last commit. Under exactly-once what was done by half is taken back instead.
func (t *thread) last(ctx context.Context, clean bool) error {
	var err error
	if clean {
		err = t.finish(ctx, t.tasks)
	}
	if clean || !t.e.o.ExactlyOnce {
		err = errors.Join(err, t.lastCommitted(ctx))
	}
	err = errors.Join(err, t.abort(ctx)) // nothing after a commit
	if err == nil {
		return nil
	}
	var tr *trouble
	late := errors.Is(err, errUnfinished) || errors.Is(err, kerr.RebalanceInProgress)
	if !clean || late || errors.As(err, &tr) && passing(tr, t.e.o.ExactlyOnce) {
		t.log.Info("the last commit failed; its records will be processed again", "error", err)
		return nil
	}
	return t.explained(err)
}

// lastCommitted commits, and waits for a rebalance that is in the way.
func (t *thread) lastCommitted(ctx context.Context) error {
	for {
		err := t.commit(ctx)
		if !errors.Is(err, kerr.RebalanceInProgress) {
			return err
		}
		t.mu.Unlock() // the group's callbacks say as whom to commit
		t.member.allow()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		t.mu.Lock()
		if ctx.Err() != nil {
			return err
		}
	}
}
