package run

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// done is what was done since some moment.
type done struct {
	processed, polled, commits, dropped, deadLetters, errors, reads, hits int64
}

func (d *done) add(o done) {
	d.processed += o.processed
	d.polled += o.polled
	d.commits += o.commits
	d.dropped += o.dropped
	d.deadLetters += o.deadLetters
	d.errors += o.errors
	d.reads += o.reads
	d.hits += o.hits
}

// stand is how a thread stands.
type stand struct {
	active, restoring, copies int   // tasks
	left                      int64 // offsets to be restored
	lag                       int64 // offsets to be processed
	known                     bool  // the lag of some partition is
}

func (s *stand) add(a *active) {
	if !a.running {
		s.restoring++
		return
	}
	s.active++
	a.task.Lags(func(_ string, _ int32, lag int64) {
		s.lag += lag
		s.known = true
	})
}

// sums is what all threads of an engine have done since the last summary, and how they stand. Safe for concurrent use.
type sums struct {
	mu      sync.Mutex
	done    done
	threads map[string]stand
}

func (s *sums) add(d done) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.add(d)
}

func (s *sums) stands(thread string, now stand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.threads[thread] = now
}

func (s *sums) leaves(thread string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.threads, thread)
}

// take returns both and begins anew.
func (s *sums) take() (d done, all stand, threads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, s.done = s.done, done{}
	for _, t := range s.threads {
		all.active += t.active
		all.restoring += t.restoring
		all.copies += t.copies
		all.left += t.left
		all.lag += t.lag
		all.known = all.known || t.known
	}
	return d, all, len(s.threads)
}

// summarize says in one line, each interval, what was done, until ctx ends.
func (e *Engine) summarize(ctx context.Context) {
	tick := time.NewTicker(e.o.Summary)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.o.Log.LogAttrs(ctx, slog.LevelInfo, "summary", e.summary()...)
		}
	}
}

// summary is the line. What is not known, or has no meaning just now, is left out.
func (e *Engine) summary() []slog.Attr {
	d, now, threads := e.sums.take()
	out := []slog.Attr{
		slog.String("state", e.State().String()), slog.Duration("interval", e.o.Summary), slog.Int("threads", threads),
		slog.Int64("processed", d.processed), slog.Int64("polled", d.polled), slog.Int64("commits", d.commits),
		slog.Int("tasks_active", now.active), slog.Int("tasks_restoring", now.restoring), slog.Int("tasks_standby", now.copies),
	}
	if now.known {
		out = append(out, slog.Int64("lag", now.lag))
	}
	if now.restoring > 0 {
		out = append(out, slog.Int64("restore_remaining", now.left))
	}
	if d.reads > 0 {
		out = append(out, slog.Float64("cache_hit_ratio", ratio(float64(d.hits), float64(d.reads))))
	}
	return append(out, slog.Int64("dropped", d.dropped), slog.Int64("dead_letters", d.deadLetters), slog.Int64("errors", d.errors))
}
