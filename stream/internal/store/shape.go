package store

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/opt"
)

// The parts of a windowed store's keys, in bytes.
const (
	segmentLen = 8      // the segment, before all local keys
	timeLen    = 8      // a start or an end
	seqLen     = 4      // tells duplicates apart
	windowTail = 8 + 4  // start and sequence
	sessionEnd = 8 + 8  // end and start
	minSegment = 60_000 // milliseconds; Kafka Streams' least segment
)

// Shape is what the keys of a windowed store look like and how long its rows live. It is made with the program and never
// changed.
//
// A row is logged under Kafka Streams' key, key·start·sequence for windows and key·end·start for sessions. The local key is
// the same behind the segment its time belongs to, so that rows die by segments and range reads have the order of Kafka
// Streams' persistent stores: segment, key, time. Times are milliseconds.
type Shape struct {
	Kind      Kind  // Window, JoinWindow or Session
	Retention int64 // rows are hidden once their time is this far behind the newest
	Size      int64 // of a window; a session says its own
	Headers   bool  // records of a join are kept with their headers and times
	Memory    bool  // the semantics of Kafka Streams' stores in memory: several keys are read by time, then key
	ByTime    bool  // a second order, by time, for results that leave when windows close
	Lasting   bool  // rows can be read as long as they are in memory, as in Kafka Streams while they are in a cache
}

// Shaped is an Opener that has to know the shape of its store.
type Shaped interface{ SetShape(s *Shape) }

// Shape is the shape of a declared store, nil if its rows do not go by time. Memory is the application's default, byTime says
// that results leave the store when windows close.
func (d *Decl) Shape(memory, byTime bool) *Shape {
	if !d.Kind.Windowed() {
		return nil
	}
	if d.Engine != opt.DefaultEngine {
		memory = d.Engine == opt.Memory
	}
	return &Shape{
		Kind: d.Kind, Retention: millis(d.Retention), Size: millis(d.Size), Memory: memory, ByTime: byTime,
	}
}

// millis is a duration in milliseconds. The longest there is stands for one without end.
func millis(d time.Duration) int64 {
	if d == math.MaxInt64 {
		return math.MaxInt64
	}
	return d.Milliseconds()
}

// interval is how much time a segment holds.
func (s *Shape) interval() int64 { return max(s.Retention/2, minSegment) }

// segment is the segment of a time. As in Java, division is towards zero, so what lies before 1970 is in the first one.
func (s *Shape) segment(time int64) int64 { return max(0, time/s.interval()) }

// tail is how many bytes of a key stand behind the user's.
func (s *Shape) tail() int {
	if s.Kind == Session {
		return sessionEnd
	}
	return windowTail
}

// Valid says whether a changelog's key can be one of the store.
func (s *Shape) Valid(logged []byte) bool { return len(logged) >= s.tail() }

// Window appends the local key of a window.
func (s *Shape) Window(dst, key []byte, start int64, seq int32) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.segment(start)))
	return layout.AppendWindowKey(dst, key, start, seq)
}

// Session appends the local key of a session.
func (s *Shape) Session(dst, key []byte, start, end int64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.segment(end)))
	return layout.AppendSessionKey(dst, key, start, end)
}

// Local appends the local key of a changelog's key.
func (s *Shape) Local(dst, logged []byte) []byte {
	time := int64(binary.BigEndian.Uint64(logged[len(logged)-s.tail():]))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.segment(time)))
	return append(dst, logged...)
}

// Logged is the changelog's key of a local one.
func (*Shape) Logged(local []byte) []byte { return local[segmentLen:] }

// Key is the user's key in a local one.
func (s *Shape) Key(local []byte) []byte { return local[segmentLen : len(local)-s.tail()] }

// Time is what a row lives by: a window's start, a session's end.
func (s *Shape) Time(local []byte) int64 {
	return int64(binary.BigEndian.Uint64(local[len(local)-s.tail():]))
}

// Start is the start of a row's window.
func (s *Shape) Start(local []byte) int64 {
	if s.Kind == Session {
		return int64(binary.BigEndian.Uint64(local[len(local)-timeLen:]))
	}
	return s.Time(local)
}

// End is the end of a row's window. A window without end, or one beyond the calendar, ends with time itself.
func (s *Shape) End(local []byte) int64 {
	if s.Kind == Session {
		return s.Time(local)
	}
	return s.EndOf(s.Time(local))
}

// EndOf is the end of the window that begins at start.
func (s *Shape) EndOf(start int64) int64 {
	if s.Size > math.MaxInt64-start {
		return math.MaxInt64
	}
	return start + s.Size
}

// Seq is the sequence number of a row that keeps duplicates.
func (*Shape) Seq(local []byte) int32 {
	return int32(binary.BigEndian.Uint32(local[len(local)-seqLen:]))
}

// live is the first time that can be read when newest is the newest one in the store. The stores that emit on close keep
// windows a millisecond longer, because a result is read in the very moment its window ends.
func (s *Shape) live(newest int64) int64 {
	if s.Lasting {
		return math.MinInt64
	}
	first := newest - s.Retention
	if s.ByTime && s.Kind != Session && !s.Memory {
		return first
	}
	return first + 1
}

// keeps says whether a row of the given time is still stored. Kafka Streams' persistent stores let rows go by segments,
// those in memory one by one.
func (s *Shape) keeps(time, newest int64) bool {
	if s.Memory {
		return time > newest-s.Retention
	}
	return s.segment(time) >= s.segment(newest-s.Retention)
}

// InTime appends a row's key in the second order: by time, then as Kafka Streams orders what leaves together.
func (s *Shape) InTime(dst, local []byte) []byte {
	key, tail := s.Key(local), local[len(local)-s.tail():]
	dst = append(dst, tail[:timeLen]...)
	if s.Kind != Session {
		return append(append(dst, key...), tail[timeLen:]...)
	}
	if !s.Memory {
		return append(append(dst, tail[timeLen:]...), key...)
	}
	// In memory the latest start comes first. The key's end must show, lest the start be compared with a longer key.
	for _, b := range key {
		if dst = append(dst, b); b == 0 {
			dst = append(dst, escaped)
		}
	}
	dst = append(dst, 0, ended)
	for _, b := range tail[timeLen:] {
		dst = append(dst, ^b)
	}
	return dst
}

// What stands behind a zero byte within such a key, and behind the one at its end.
const (
	escaped = 0xff
	ended   = 0x01
)

// fromTime appends the local key of one in the second order.
func (s *Shape) fromTime(dst, timed []byte) []byte {
	time, rest := int64(binary.BigEndian.Uint64(timed)), timed[timeLen:]
	switch {
	case s.Kind != Session:
		return s.Window(dst, rest[:len(rest)-seqLen], time, int32(binary.BigEndian.Uint32(rest[len(rest)-seqLen:])))
	case !s.Memory:
		return s.Session(dst, rest[timeLen:], int64(binary.BigEndian.Uint64(rest)), time)
	default:
		start := int64(^binary.BigEndian.Uint64(rest[len(rest)-timeLen:]))
		key := bytes.ReplaceAll(rest[:len(rest)-timeLen-2], []byte{0, escaped}, []byte{0})
		return s.Session(dst, key, start, time)
	}
}
