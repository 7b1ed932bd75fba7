package run

import "time"

// pace is how fast a store is restored.
type pace struct {
	begun   time.Time
	first   int64 // the offset where it began
	before  int64 // records until then
	counted int64 // records that the metrics know of
}

// unknownLeft is the time that is left where nobody can say.
const unknownLeft = -1

// at is the rate in records a second since the beginning, and the time that the rest will take if it goes on like that. The
// latter goes by offsets: of a compacted changelog they are more than the records. The first call is the beginning.
func (p *pace) at(records, next, left int64, now time.Time) (rate float64, rest time.Duration) {
	if p.begun.IsZero() {
		p.begun, p.first, p.before = now, next, records
	}
	took := now.Sub(p.begun)
	switch {
	case left == 0:
		rest = 0
	case took <= 0 || next <= p.first:
		return 0, unknownLeft
	default:
		rest = time.Duration(float64(took) / float64(next-p.first) * float64(left))
	}
	if took > 0 {
		rate = float64(records-p.before) / took.Seconds()
	}
	return rate, rest
}

// restores counts the time of a poll of changelogs.
func (t *thread) restores(start time.Time) {
	took := time.Since(start)
	t.meter.blocked += took
	t.meter.restoring += took
}

// countRestored says how the restoration of a store goes.
func (t *thread) countRestored(j *job, left int64, rate float64) {
	m, labels := t.e.o.Metrics, t.labels("task", j.a.id.String(), "store", j.store)
	fresh := float64(j.done - j.pace.counted)
	j.pace.counted = j.done
	if j.a.copy {
		m.Set("millrun_stream_update_remaining_records", float64(left), labels...)
		m.Add("millrun_stream_update_total", fresh, labels...)
		return
	}
	m.Set("millrun_stream_restore_remaining_records", float64(left), labels...)
	m.Set("millrun_stream_restore_rate", rate, labels...)
	m.Add("millrun_stream_restore_total", fresh, labels...)
}

// left is how many offsets there are to be restored before tasks can begin.
func (r *restorer) left() (n int64) {
	for _, j := range r.jobs {
		if !j.a.copy { // that one has no end
			n += max(0, j.end-j.next)
		}
	}
	return n
}
