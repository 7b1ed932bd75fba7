package task

import "time"

// Quiet is the stream time of an operator that goes on when its input goes quiet: once no record has come for a span of the
// wall clock, stream time moves as the wall clock does, from the last record on. Times are milliseconds. It belongs to one
// task. A clock that is set is no silence: moments are those of Task.Now, which know how much time has really passed.
type Quiet struct {
	after   int64     // of the wall clock
	arrived time.Time // when the last record came, by the wall clock
	base    int64     // stream time when it came
	time    int64
}

// NewQuiet begins without a record: an operator that has seen none has no time.
func NewQuiet(after time.Duration) *Quiet {
	return &Quiet{after: max(after.Milliseconds(), 1), base: unknown, time: unknown}
}

// See notes a record of time at, and returns the stream time with it: never less than before.
func (q *Quiet) See(at int64, now time.Time) int64 {
	q.time = max(q.time, at)
	q.base, q.arrived = q.time, now
	return q.time
}

// At is the stream time at a moment of the wall clock.
func (q *Quiet) At(now time.Time) int64 {
	silence := now.Sub(q.arrived).Milliseconds()
	if silence < 0 { // a Config.Clock that knows no other time was set back
		q.base, q.arrived, silence = q.time, now, 0
	}
	if q.base != unknown && silence >= q.after {
		q.time = max(q.time, q.base+silence)
	}
	return q.time
}

// Interval is how often it is worth asking.
func (q *Quiet) Interval() time.Duration {
	return min(max(time.Duration(q.after)*time.Millisecond/4, 50*time.Millisecond), time.Second)
}

// Quiet is the stream time that the operators around a node share; made at the first call.
func (t *Task) Quiet(node string, after time.Duration) *Quiet {
	q, ok := t.quiets[node]
	if !ok {
		q = NewQuiet(after)
		t.quiets[node] = q
	}
	return q
}
