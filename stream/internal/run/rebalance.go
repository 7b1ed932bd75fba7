package run

import "time"

// rebalance is what happens between the news that the group shares its tasks out anew and the moment this thread has made
// what it got. The thread works on what it keeps meanwhile.
type rebalance struct {
	since               time.Time // zero: there is none
	cause               string
	gained, given, lost int // tasks
}

// Causes of a rebalance, as far as a member knows.
const (
	joined   = "this member joined"
	returned = "this member joined again"
	ousted   = "the group had given this member up"
	followed = "this member gave tasks up that others wait for"
	probed   = "lags are looked at again"
	others   = "the group changed" // its other members, its topics
)

// rebalancing notes that the group shares out its tasks. The first cause counts.
func (t *thread) rebalancing(cause string) {
	if t.moving.since.IsZero() {
		t.moving = rebalance{since: time.Now(), cause: cause}
	}
}

// rebalanced tells what has come of it.
func (t *thread) rebalanced() {
	m := t.moving
	t.moving = rebalance{}
	if m.since.IsZero() {
		return
	}
	took := time.Since(m.since)
	t.log.Info("rebalanced", "cause", m.cause, "took", took.Round(time.Millisecond),
		"gained", m.gained, "given", m.given, "lost", m.lost, "kept", len(t.tasks)-m.gained, "copies", len(t.wanted))
	metrics := t.e.o.Metrics
	metrics.Add("millrun_stream_rebalance_total", 1, t.labels("cause", m.cause)...)
	metrics.Observe("millrun_stream_rebalance_duration_seconds", took.Seconds(), t.labels()...)
	for way, n := range map[string]int{"gained": m.gained, "given": m.given, "lost": m.lost} {
		if n > 0 {
			metrics.Add("millrun_stream_tasks_moved_total", float64(n), t.labels("way", way)...)
		}
	}
}
