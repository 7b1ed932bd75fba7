package blobd

import (
	"context"
	"errors"
	"maps"
	"path"
	"time"
)

// watch removes what has become due whenever the clock is seen to have moved on. Owned by Open, ended by Close.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(s.cfg.SweepEvery)
	defer tick.Stop()
	for {
		if err := s.Sweep(); err != nil {
			s.cfg.Log.Error("blob server could not remove what is due", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Sweep removes from disk what is due by the clock: soft-deleted blobs past their retention, and uncommitted blocks
// seven days after the last Put Block of their blob. The Server does so by itself every SweepEvery.
func (s *Server) Sweep() error {
	now := s.now()
	var faults []error
	s.store.each(func(c *container, b *blob) { faults = append(faults, s.sweepBlob(c, b, now)) })
	return errors.Join(faults...)
}

func (s *Server) sweepBlob(c *container, b *blob, now time.Time) error {
	if st := b.state.Load(); st.expire(now) == st && !b.hasPending() {
		return nil
	}
	c.life.RLock()
	defer c.life.RUnlock()
	b.mu.Lock()
	if b.dead || c.gone {
		b.mu.Unlock()
		return nil
	}
	defer c.release(b)
	stale := b.stalePending(now)
	st := b.state.Load()
	next := st.expire(now)
	if next == st && !stale {
		return nil
	}
	if stale {
		next = next.clone()
		next.Epoch++
	}
	return s.store.commit(b, next)
}

func (b *blob) hasPending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending) > 0
}

// stalePending says that the newest uncommitted block is older than Azure keeps one. The caller holds b.mu.
func (b *blob) stalePending(now time.Time) bool {
	var newest stamp
	for p := range maps.Values(b.pending) {
		newest = max(newest, p.at)
	}
	return len(b.pending) > 0 && !now.Before(newest.time().Add(blockLifetime))
}

// deleteContainer removes a container with everything in it.
func (s *Server) deleteContainer(c *container) error {
	c.life.Lock()
	defer c.life.Unlock()
	rec := c.rec.Load()
	if c.gone {
		return errContainerNotFound()
	}
	if rec.Immutable {
		return conflict(codeContainerImmutable,
			"The container has version-level immutability enabled and cannot be deleted by the data plane.")
	}
	if err := s.disk.removeHeadFirst(containerPath(rec.Name), containerFile); err != nil {
		return err
	}
	c.gone = true
	s.store.mu.Lock()
	delete(s.store.containers, rec.Name)
	s.store.mu.Unlock()
	return nil
}

// saveContainer replaces a container's record. The caller holds c.life for writing.
func (s *Server) saveContainer(c *container, rec *containerRecord) error {
	if err := s.disk.replace(path.Join(containerPath(rec.Name), containerFile), rec); err != nil {
		return err
	}
	c.rec.Store(rec)
	return nil
}
