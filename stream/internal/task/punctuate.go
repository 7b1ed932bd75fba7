package task

import (
	"time"
)

// Clock is what a punctuation follows.
type Clock uint8

// The clocks.
const (
	StreamTime Clock = iota
	WallClock
)

// schedule is a punctuation to come, owned by its task.
type schedule struct {
	node     int
	next     int64 // milliseconds
	interval int64
	begun    bool // it does not wait for its start any more
	f        func(time.Time) error
	stopped  bool
}

// near draws the next call closer where it is further ahead than calls are apart, by whole intervals: then the clock has been
// set back, and the schedule must not wait until it is again what it was. The wait is a half to one and a half intervals, so
// that a clock that goes back a little costs no call too many.
func (s *schedule) near(now int64) {
	if ahead := s.next - now; s.begun && ahead > s.interval+s.interval/2 {
		s.next -= (ahead - s.interval/2) / s.interval * s.interval
	}
}

// Schedule calls f every interval by a clock: by the stream's when it is first known and then at multiples of the
// interval, by the wall's first after one interval. Intervals that were missed collapse into one call.
func (t *Task) Schedule(node int, interval time.Duration, c Clock, f func(time.Time) error) (stop func()) {
	s := &schedule{node: node, interval: max(interval.Milliseconds(), 1), begun: true, f: f}
	if c == WallClock {
		s.next = t.now.UnixMilli() + s.interval
	}
	return t.schedule(c, s)
}

// ScheduleAt is Schedule with the first call at start, or if that has passed at the next whole interval from it.
func (t *Task) ScheduleAt(node int, start time.Time, interval time.Duration, c Clock, f func(time.Time) error) (stop func()) {
	s := &schedule{node: node, next: start.UnixMilli(), interval: max(interval.Milliseconds(), 1), f: f}
	now := t.time
	if c == WallClock {
		now = t.now.UnixMilli()
	}
	if late := now - s.next; late > 0 {
		s.next += (late + s.interval - 1) / s.interval * s.interval
		s.begun = true
	}
	return t.schedule(c, s)
}

func (t *Task) schedule(c Clock, s *schedule) (stop func()) {
	t.schedules[c] = append(t.schedules[c], s)
	return func() { s.stopped = true }
}

// due takes the earliest schedule of a clock that now has reached.
func (t *Task) due(c Clock, now int64) *schedule {
	var first *schedule
	kept := t.schedules[c][:0]
	for _, s := range t.schedules[c] {
		if s.stopped {
			continue
		}
		kept = append(kept, s)
		s.near(now)
		if s.next <= now && (first == nil || s.next < first.next) {
			first = s
		}
	}
	clear(t.schedules[c][len(kept):])
	t.schedules[c] = kept
	return first
}

// punctuate runs what is due by a clock.
func (t *Task) punctuate(c Clock, now int64) (ran bool, err error) {
	for len(t.schedules[c]) > 0 {
		s := t.due(c, now)
		if s == nil {
			break
		}
		s.next += ((now-s.next)/s.interval + 1) * s.interval
		s.begun = true
		t.begin(nil, Punctuation)
		t.rec.Time, t.rec.At = now, s.node
		t.touched, ran = true, true
		t.counts.Punctuated++
		if err := t.settled(func(r *Rec) error { return s.f(time.UnixMilli(now).UTC()) }); err != nil {
			return ran, err
		}
	}
	return ran, nil
}

// Punctuate runs what is due by the wall clock.
func (t *Task) Punctuate(now time.Time) (bool, error) {
	if t.now = now; t.holding != Flowing {
		return false, nil // it could begin what the task waits for, again and again
	}
	return t.punctuate(WallClock, now.UnixMilli())
}

// Looks says whether an operator may look for results that have become due, which it may once in the program's EmitInterval:
// not before next, the wall clock in milliseconds, which it moves on. A next that is further away is of a clock that has been
// set back since.
func (t *Task) Looks(next *int64) bool {
	now, interval := t.now.UnixMilli(), t.program.EmitInterval.Milliseconds()
	if left := *next - now; left > 0 && left <= interval {
		return false
	}
	*next = now + interval
	return true
}
