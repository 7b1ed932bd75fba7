package stream

import "time"

// JoinWindows says how far apart two records of a stream-stream join may be, seen from the left one: the right one's time is
// at most before earlier and at most after later, both included. Made by Within.
type JoinWindows struct{ before, after, grace, idle time.Duration }

// Within is d to either side.
func Within(d time.Duration) JoinWindows { return JoinWindows{before: d, after: d} }

// Before is how much earlier the other record may be; less than nothing says that it must be later.
func (w JoinWindows) Before(d time.Duration) JoinWindows {
	w.before = d
	return w
}

// After is how much later the other record may be; less than nothing says that it must be earlier.
func (w JoinWindows) After(d time.Duration) JoinWindows {
	w.after = d
	return w
}

// Grace is how much out of order records may come. Default: 0.
func (w JoinWindows) Grace(d time.Duration) JoinWindows {
	w.grace = d
	return w
}

// Idle lets the windows of a left or outer join close when both inputs go quiet: once no record has come for d of the wall
// clock, stream time goes on with it. Without it a record that found no partner waits for the next one that brings a new
// time. What is emitted then depends on when records came, and is not repeated alike. Default: 0, never.
func (w JoinWindows) Idle(d time.Duration) JoinWindows {
	w.idle = d
	return w
}

// size is how far apart the farthest two are.
func (w JoinWindows) size() time.Duration { return w.before + w.after }

// retention is how long records must be kept to be found, which is the windows and the grace. A row of that very age cannot be
// read any more; where nothing else is added to the wider side of the window, a millisecond is, so that its end belongs to it.
func (w JoinWindows) retention() time.Duration {
	return max(w.size()+w.grace, max(w.before, w.after)+time.Millisecond)
}

// withItself says whether a record is within these windows of itself.
func (w JoinWindows) withItself() bool { return w.before >= 0 && w.after >= 0 }

// check tells of windows that nothing can be in.
func (w JoinWindows) check(m maker) {
	if w.before+w.after < 0 {
		m.faultf("", "nothing is within these windows: Before(%s) and After(%s) leave no time between them", w.before, w.after)
	}
	if w.grace < 0 {
		m.faultf("", "Grace(%s) is negative: 0 is the least", w.grace)
	}
	for _, d := range []time.Duration{w.before, w.after, w.grace} {
		if d%time.Millisecond != 0 {
			m.faultf("", "%s is no window of a join: it must be whole milliseconds", d)
		}
	}
	checkIdle(m, w.idle)
}

// span is a JoinWindows in milliseconds, as one side sees it.
type span struct{ before, after, grace int64 }

// left is how the left side looks at the right one.
func (w JoinWindows) left() span {
	return span{w.before.Milliseconds(), w.after.Milliseconds(), w.grace.Milliseconds()}
}

// right is how the right side looks at the left one.
func (w JoinWindows) right() span {
	s := w.left()
	s.before, s.after = s.after, s.before
	return s
}

// around is the time from and to which partners of a record of time t may lie.
func (s span) around(t int64) (from, to int64) { return max(0, t-s.before), max(0, t+s.after) }

// checkIdle tells of a silence that cannot be waited for.
func checkIdle(m maker, d time.Duration) {
	if d < 0 {
		m.faultf("", "Idle(%s) is negative: 0 waits for the next record", d)
	}
}
