package stream

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Window is a span of time in milliseconds; time windows exclude the end, sliding and session windows include it. A window
// without end ends with the highest number there is.
type Window struct{ StartMs, EndMs int64 }

// Start is the first instant.
func (w Window) Start() time.Time { return time.UnixMilli(w.StartMs).UTC() }

// End is the end.
func (w Window) End() time.Time { return time.UnixMilli(w.EndMs).UTC() }

// Windowed is a key in a window. Its default serde is Kafka's time- or session-windowed one, whichever the table it comes from
// calls for. Where that is not known, as for a topic that is read, KeySerde names it: TimeWindowedSerde or
// SessionWindowedSerde.
type Windowed[K any] struct {
	Key    K
	Window Window
}

// closing tells Suppress when the window of a key ends.
func (Windowed[K]) closing() any { return func(k Windowed[K]) int64 { return k.Window.EndMs } }

// EmitStrategy says when a windowed aggregate forwards.
type EmitStrategy int

const (
	// OnUpdate forwards every update, as far as the cache lets it.
	OnUpdate EmitStrategy = iota
	// OnClose forwards once, when the window is over: when a record comes that is later than its end and the grace period, and
	// at most once a second. Nothing leaves by the wall clock alone.
	OnClose
)

// windowKind is a kind of TimeWindows.
type windowKind uint8

const (
	aligned windowKind = iota // tumbling and hopping
	sliding
	unlimited
)

// TimeWindows is a definition of tumbling, hopping, sliding or unlimited windows. It is a small immutable value. All its
// durations are whole milliseconds.
type TimeWindows struct {
	kind                       windowKind
	size, advance, grace, idle time.Duration // of sliding windows, size is the difference
	start                      time.Time     // of an unlimited one
}

// Tumbling windows follow each other without gap or overlap, the first one from 1970 on.
func Tumbling(size time.Duration) TimeWindows { return TimeWindows{size: size, advance: size} }

// Hopping windows start every advance and overlap.
func Hopping(size, advance time.Duration) TimeWindows {
	return TimeWindows{size: size, advance: advance}
}

// Sliding windows hold the records that are at most difference apart: one for each distinct set of them. Both ends belong to
// the window.
func Sliding(difference time.Duration) TimeWindows {
	return TimeWindows{kind: sliding, size: difference}
}

// Unlimited is one window from start on. Earlier records are in none.
func Unlimited(start time.Time) TimeWindows {
	return TimeWindows{kind: unlimited, size: math.MaxInt64, start: start}
}

// Grace is how long after its end a window accepts records. Default: 0.
func (w TimeWindows) Grace(d time.Duration) TimeWindows {
	w.grace = d
	return w
}

// Idle lets windows close when their input goes quiet: once no record has come for d of the wall clock, stream time goes on
// with it, for these windows, for Emit(OnClose) and for a Suppress behind. Without it the last windows wait for the next
// record. What they then take depends on when records came, and is not repeated alike. Default: 0, never.
func (w TimeWindows) Idle(d time.Duration) TimeWindows {
	w.idle = d
	return w
}

// Over windows a grouped stream. (The window is the subject because the other way round is an instantiation cycle.)
func (w TimeWindows) Over[K, V any](g KGroupedStream[K, V]) TimeWindowedKStream[K, V] {
	m := g.g.b.at("Over")
	w.check(m)
	return TimeWindowedKStream[K, V]{g: g.g, w: w}
}

// OverCogrouped windows a cogrouped stream.
func (w TimeWindows) OverCogrouped[K, A any](c CogroupedKStream[K, A]) TimeWindowedCogroupedKStream[K, A] {
	w.check(c.c.b.at("OverCogrouped"))
	return TimeWindowedCogroupedKStream[K, A]{c: c.c, w: w}
}

// check reports what makes no window.
func (w TimeWindows) check(m maker) {
	var errs []error
	switch w.kind {
	case unlimited:
		if w.start.UnixMilli() < 0 {
			errs = append(errs, fmt.Errorf("Unlimited(%s) begins before 1970", w.start))
		}
		if w.grace != 0 {
			errs = append(errs, errors.New("Unlimited has no end, and so no Grace: leave it out"))
		}
		if w.idle != 0 {
			errs = append(errs, errors.New("Unlimited has no end, and so no Idle: leave it out"))
		}
	case sliding:
		errs = append(errs, whole("Sliding", w.size, 0))
	default:
		errs = append(errs, whole("the window's size", w.size, time.Millisecond), whole("the window's advance", w.advance, time.Millisecond))
		if w.advance > w.size {
			errs = append(errs, fmt.Errorf("windows of %s that start every %s leave gaps: advance by the size at most", w.size, w.advance))
		}
	}
	errs = append(errs, whole("Grace", w.grace, 0))
	if err := errors.Join(errs...); err != nil {
		m.faultf("", "%w", err)
	}
	checkIdle(m, w.idle)
}

// whole checks a duration of windows.
func whole(what string, d, least time.Duration) error {
	if d < least || d%time.Millisecond != 0 && d != math.MaxInt64 {
		return fmt.Errorf("%s is %s: it must be whole milliseconds, %s or more", what, d, least)
	}
	return nil
}

// SessionWindows is a definition of sessions. It is a small immutable value. Its durations are whole milliseconds.
type SessionWindows struct{ gap, grace, idle time.Duration }

// Session is a run of records no further than gap from each other.
func Session(gap time.Duration) SessionWindows { return SessionWindows{gap: gap} }

// Grace is how long after its end a session accepts records, beyond the gap. Default: 0.
func (w SessionWindows) Grace(d time.Duration) SessionWindows {
	w.grace = d
	return w
}

// Idle lets sessions close when their input goes quiet, as TimeWindows.Idle does. Default: 0, never.
func (w SessionWindows) Idle(d time.Duration) SessionWindows {
	w.idle = d
	return w
}

// Over windows a grouped stream.
func (w SessionWindows) Over[K, V any](g KGroupedStream[K, V]) SessionWindowedKStream[K, V] {
	w.check(g.g.b.at("Over"))
	return SessionWindowedKStream[K, V]{g: g.g, w: w}
}

// OverCogrouped windows a cogrouped stream.
func (w SessionWindows) OverCogrouped[K, A any](c CogroupedKStream[K, A]) SessionWindowedCogroupedKStream[K, A] {
	w.check(c.c.b.at("OverCogrouped"))
	return SessionWindowedCogroupedKStream[K, A]{c: c.c, w: w}
}

func (w SessionWindows) check(m maker) {
	if err := errors.Join(whole("the session's gap", w.gap, time.Millisecond), whole("Grace", w.grace, 0)); err != nil {
		m.faultf("", "%w", err)
	}
	checkIdle(m, w.idle)
}
