package stream

import (
	"maps"
	"math"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// Suppressed says how long Suppress holds changes back, and what happens when its buffer is full: unless EmitEarlyWhenFull
// says otherwise the task stops with ErrBufferFull. The buffer is in memory and has a changelog, which is written at
// commits. Made by UntilWindowCloses and UntilTimeLimit.
type Suppressed struct {
	final     bool
	limit     time.Duration
	idle      time.Duration
	records   int64 // the most; -1 is no bound
	bytes     int64
	early     bool
	noLogging bool
	logConfig map[string]string
}

// UntilWindowCloses emits one result per window, when it is over; only on a windowed table. Rows that are deleted before
// their window closes leave nothing.
func UntilWindowCloses() Suppressed { return Suppressed{final: true, records: -1, bytes: -1} }

// UntilTimeLimit emits at most one change per key in d: the last, once a record has come whose time is d or more after that
// of the first.
func UntilTimeLimit(d time.Duration) Suppressed { return Suppressed{limit: d, records: -1, bytes: -1} }

// MaxRecords bounds the buffer. Default: unbounded.
func (s Suppressed) MaxRecords(n int64) Suppressed {
	s.records = max(n, 0)
	return s
}

// MaxBytes bounds the buffer; a row counts for its key, its values, its headers and about 40 bytes. Default: unbounded.
func (s Suppressed) MaxBytes(n int64) Suppressed {
	s.bytes = max(n, 0)
	return s
}

// EmitEarlyWhenFull emits the oldest rather than fail; not with UntilWindowCloses.
func (s Suppressed) EmitEarlyWhenFull() Suppressed {
	s.early = true
	return s
}

// Idle lets the time limit pass when the input goes quiet: once no change has come for d of the wall clock, stream time goes
// on with it. Default: 0, never. For windows it is said at the windows, by TimeWindows.Idle and SessionWindows.Idle.
func (s Suppressed) Idle(d time.Duration) Suppressed {
	s.idle = d
	return s
}

// Logging sets topic configurations of the buffer's changelog, beside those Kafka Streams gives it; nil turns it off: what is
// held back is then lost when its task moves or its process ends.
func (s Suppressed) Logging(config map[string]string) Suppressed {
	s.noLogging, s.logConfig = config == nil, maps.Clone(config)
	return s
}

// bound is a limit as a number that is never reached if there is none.
func bound(n int64) int64 {
	if n < 0 {
		return math.MaxInt64
	}
	return n
}

// graceOf finds how long after their end the windows are open whose results a node passes on: the most of all windowed
// aggregations above it. All ways up must come to one.
func graceOf(n *plan.Node) (int64, bool) {
	if n.Grace != nil {
		return *n.Grace, true
	}
	var most int64
	for _, p := range n.Parents {
		g, ok := graceOf(p)
		if !ok {
			return 0, false
		}
		most = max(most, g)
	}
	return most, len(n.Parents) > 0
}

// quietOf is the clock of the windowed aggregation whose results a node passes on, if it closes windows when the input is
// quiet; nil otherwise.
func quietOf(t *task.Task, n *plan.Node) *task.Quiet {
	for n.Grace == nil && len(n.Parents) > 0 {
		n = n.Parents[0]
	}
	if n.Idle == 0 {
		return nil
	}
	return t.Quiet(n.Stores[0], n.Idle)
}

// closing is what a windowed key has: a func(K) int64 that says when its window ends, in milliseconds.
type closing interface{ closing() any }

// endOf is when the window of a key ends; nil unless K is a windowed key.
func endOf[K any]() func(K) int64 {
	var none K
	c, ok := any(none).(closing)
	if !ok {
		return nil
	}
	f, _ := c.closing().(func(K) int64)
	return f
}
