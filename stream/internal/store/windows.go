package store

import (
	"encoding/binary"
	"sync/atomic"
)

// Windows keeps the rows of a windowed store in a map, by their local keys, and forgets them by its own time: the newest
// start (of sessions: end) of any row ever put. One goroutine writes; any number may read what Shared returns.
//
// Rows past their retention are never read again; they leave the map with their segment, so that there is never more
// than retention and one segment of them.
type Windows struct {
	shape  *Shape
	rows   Map
	index  Map // the rows by time; nil unless shape.ByTime
	newest atomic.Int64
	lowest int64 // no row is in a segment before
	closed int64 // of rows by time: all before were asked for; -1 while that is not known
	missed int   // rows that were removed before they were asked for
	seq    int32 // the highest put
	space  []byte
	since  *Since // rows, where they can be seen from a time on; else nil
}

// NewWindows returns a store over its rows and, where the shape has a second order, their keys in that order.
func NewWindows(s *Shape, rows, second Map) *Windows {
	w := &Windows{shape: s, rows: rows}
	if s.ByTime {
		w.index = second
	}
	if t, ok := rows.(Timed); ok {
		w.since = &Since{Timed: t}
	}
	w.newest.Store(-1)
	w.closed = -1
	return w
}

// Note is what has to be remembered with the rows.
func (w *Windows) Note() []byte {
	note := binary.BigEndian.AppendUint64(nil, uint64(w.newest.Load()))
	return binary.BigEndian.AppendUint32(note, uint32(w.seq))
}

// Resume goes on with rows that were there before, and with their note.
func (w *Windows) Resume(note []byte) {
	if len(note) != timeLen+seqLen {
		return // they never had one: nothing was ever put
	}
	newest := int64(binary.BigEndian.Uint64(note))
	w.newest.Store(newest)
	w.seq = int32(binary.BigEndian.Uint32(note[timeLen:]))
	w.lowest = w.shape.segment(newest - w.shape.Retention)
}

// Put sets a row, or removes it where value is nil. It says false, and keeps nothing, if the row is too old.
func (w *Windows) Put(key, value []byte) bool {
	time := w.shape.Time(key)
	newest := max(w.newest.Load(), time)
	w.newest.Store(newest)
	if w.shape.Kind == JoinWindow {
		w.seq = max(w.seq, w.shape.Seq(key))
	}
	kept := w.shape.keeps(time, newest)
	if kept {
		w.rows.Put(key, value)
		w.note(key, value != nil)
	}
	w.forget(newest)
	return kept
}

func (w *Windows) note(key []byte, there bool) {
	if w.index == nil {
		return
	}
	w.space = w.shape.InTime(w.space[:0], key)
	if there {
		w.index.Put(w.space, []byte{})
	} else {
		w.index.Put(w.space, nil)
	}
}

// forget removes the segments that are dead.
func (w *Windows) forget(newest int64) {
	segment := w.shape.segment(newest - w.shape.Retention)
	if segment <= w.lowest {
		return
	}
	w.lowest = segment
	w.rows.RemoveBefore(binary.BigEndian.AppendUint64(nil, uint64(segment)))
	if w.index != nil {
		w.miss(segment * w.shape.interval())
		w.index.RemoveBefore(binary.BigEndian.AppendUint64(nil, uint64(segment*w.shape.interval())))
	}
}

// miss counts the rows before a time that were not asked for yet: a jump of stream time removes them.
func (w *Windows) miss(before int64) {
	if w.closed < 0 {
		return
	}
	at := binary.BigEndian.AppendUint64(nil, uint64(w.closed+1))
	for past := false; ; past = true {
		timed, _, ok, err := w.index.Seek(at, false, past)
		if !ok || err != nil || int64(binary.BigEndian.Uint64(timed)) >= before {
			return
		}
		at = append(at[:0], timed...)
		w.missed++
	}
}

// Restore puts a row of the changelog.
func (w *Windows) Restore(logged, value []byte) {
	w.Put(w.shape.Local(nil, logged), value)
}

// Newest is the store's own time: that of the newest row ever put, -1 before the first.
func (w *Windows) Newest() int64 { return w.newest.Load() }

// LastSeq is the highest sequence number that was put: those that follow must not overwrite what is there.
func (w *Windows) LastSeq() int32 { return w.seq }

// Get finds a row.
func (w *Windows) Get(key []byte) ([]byte, bool, error) { return w.get(w.rows, key) }

func (w *Windows) get(r Reader, key []byte) ([]byte, bool, error) {
	if w.shape.Time(key) < w.shape.live(w.newest.Load()) {
		return nil, false, nil
	}
	return r.Get(key)
}

// Seek finds a neighbour that can still be read.
func (w *Windows) Seek(key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	return w.seek(w.rows, key, reverse, past)
}

// SeekSince finds a neighbour that can still be read; see Timed.
func (w *Windows) SeekSince(since int64, key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	if w.since == nil {
		return w.seek(w.rows, key, reverse, past)
	}
	w.since.Time = max(since, w.shape.live(w.newest.Load()))
	return w.seek(w.since, key, reverse, past)
}

func (w *Windows) seek(r Reader, key []byte, reverse, past bool) (k, v []byte, ok bool, err error) {
	live := w.shape.live(w.newest.Load())
	for {
		k, v, ok, err = r.Seek(key, reverse, past)
		if !ok || err != nil || w.shape.Time(k) >= live {
			return k, v, ok, err
		}
		key, past = k, true
	}
}

// Len is the number of rows in the map, those past their retention among them.
func (w *Windows) Len() (int64, error) { return w.rows.Len() }

// Timeline visits the rows whose time lies between two, both included, in the second order. It says how many more there were
// that are past their retention: Kafka Streams loses them, and so do we. (Of sessions on disk it loses none: it reads
// them straight from their segments.) What lies before to is not asked for again.
func (w *Windows) Timeline(from, to int64, visit func(key, value []byte) error) (lost int, err error) {
	live := w.shape.live(w.newest.Load())
	if !w.shape.Memory && w.shape.Kind == Session {
		live = from
	}
	lost, w.missed = w.missed, 0
	at := binary.BigEndian.AppendUint64(nil, uint64(max(0, from)))
	var local []byte
	for past := false; ; past = true {
		timed, _, ok, err := w.index.Seek(at, false, past)
		if err != nil {
			return lost, err
		}
		if !ok || int64(binary.BigEndian.Uint64(timed)) > to {
			w.closed = max(w.closed, to)
			return lost, nil
		}
		at = append(at[:0], timed...)
		local = w.shape.fromTime(local[:0], timed)
		if w.shape.Time(local) < live {
			lost++
			continue
		}
		value, ok, err := w.rows.Get(local)
		if err != nil {
			return lost, err
		}
		if !ok {
			continue
		}
		if err := visit(local, value); err != nil {
			return lost, err
		}
	}
}

// Shared is the store for other goroutines than the writing one.
func (w *Windows) Shared() Reader { return sharedWindows{w} }

type sharedWindows struct{ w *Windows }

func (s sharedWindows) Len() (int64, error) { return s.w.Len() }

func (s sharedWindows) Get(key []byte) ([]byte, bool, error) { return s.w.get(s.w.rows.Shared(), key) }

func (s sharedWindows) Seek(key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	return s.w.seek(s.w.rows.Shared(), key, reverse, past)
}
