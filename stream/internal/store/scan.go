package store

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
)

// Scan reads the rows of one or several keys in a span of time from a windowed store, in the order of the local keys. The
// zero value is made ready by Begin, and may be used again.
type Scan struct {
	r        Reader
	timed    Timed // r, where it is one
	shape    *Shape
	one      bool
	low      []byte // the lowest and highest of the keys, nil where open
	high     []byte
	min, max int64 // of windows: the start; of sessions: the least end and the greatest start
	reverse  bool

	from, to []byte // where the rows lie within a segment; to is nil where that is not known
	segment  int64  // the one at work
	last     int64  // the one to end with
	at       []byte
	past     bool
	done     bool
}

// Begin starts a scan. For one key low and high are the same; nil is without limit. The slices are copied.
func (s *Scan) Begin(r Reader, shape *Shape, low, high []byte, one bool, least, most int64, reverse bool) {
	s.r, s.shape, s.one, s.reverse = r, shape, one, reverse
	s.timed, _ = r.(Timed)
	s.low, s.high = keep(s.low, low), keep(s.high, high)
	if least < 0 {
		least = 0
	}
	s.min, s.max = least, most
	first, last := shape.segment(least), shape.segment(most)
	if shape.Kind == Session {
		last = math.MaxInt64
	}
	s.done = most < 0 || shape.Kind != Session && most < least || !one && low != nil && high != nil && bytes.Compare(low, high) > 0
	s.bounds()
	if reverse {
		s.last = first
		s.enterFromAbove(last)
	} else {
		s.last = last
		s.enter(first)
	}
}

func keep(dst, src []byte) []byte {
	if src == nil {
		return nil
	}
	return append(append(dst[:0], 0)[:0], src...)
}

// bounds finds where the rows lie within each segment.
func (s *Scan) bounds() {
	s.from = append(s.from[:0], s.low...)
	if s.one {
		s.from = binary.BigEndian.AppendUint64(s.from, uint64(s.min))
	}
	if s.high == nil {
		s.to = nil
		return
	}
	limit := s.max
	if s.shape.Kind == Session {
		limit = math.MaxInt64
	}
	if s.one {
		s.to = ceiling(s.to[:0], s.high, limit)
		return
	}
	// The rows of a key that high begins with may lie behind those of high itself.
	s.to = s.to[:0]
	for n := range len(s.high) + 1 {
		if c := ceiling(nil, s.high[:n], limit); bytes.Compare(c, s.to) > 0 {
			s.to = append(s.to[:0], c...)
		}
	}
}

// ceiling is behind all rows of a key up to a time.
func ceiling(dst, key []byte, time int64) []byte {
	dst = append(dst, key...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(time))
	return binary.BigEndian.AppendUint64(dst, math.MaxUint64)
}

// enter goes to the beginning of a segment's rows.
func (s *Scan) enter(segment int64) {
	s.segment, s.past = segment, false
	s.at = append(binary.BigEndian.AppendUint64(s.at[:0], uint64(segment)), s.from...)
}

// enterFromAbove goes to the end of a segment's rows.
func (s *Scan) enterFromAbove(segment int64) {
	s.segment, s.past = segment, false
	if s.to == nil {
		s.leave(segment + 1)
		return
	}
	s.at = append(binary.BigEndian.AppendUint64(s.at[:0], uint64(segment)), s.to...)
}

// leave goes to before the first row of a segment, backwards.
func (s *Scan) leave(segment int64) {
	s.past = true
	s.at = binary.BigEndian.AppendUint64(s.at[:0], uint64(segment))
}

// Next is the next row; the slices are the store's.
func (s *Scan) Next() (key, value []byte, ok bool, err error) {
	for !s.done {
		if s.timed != nil {
			key, value, ok, err = s.timed.SeekSince(s.min, s.at, s.reverse, s.past)
		} else {
			key, value, ok, err = s.r.Seek(s.at, s.reverse, s.past)
		}
		if !ok || err != nil {
			return nil, nil, false, err
		}
		segment, body := int64(binary.BigEndian.Uint64(key)), key[segmentLen:]
		if s.reverse {
			ok = s.backward(segment, body)
		} else {
			ok = s.forward(segment, body)
		}
		if !ok {
			continue
		}
		s.at, s.past = append(s.at[:0], key...), true
		if s.matches(key) {
			return key, value, true, nil
		}
	}
	return nil, nil, false, nil
}

// forward says whether a row lies where rows of the scan may lie; otherwise it has gone to where they may.
func (s *Scan) forward(segment int64, body []byte) bool {
	switch {
	case segment > s.last:
		s.done = true
		return false
	case segment > s.segment && bytes.Compare(body, s.from) < 0:
		s.enter(segment)
		return false
	case s.to != nil && bytes.Compare(body, s.to) > 0:
		if segment == math.MaxInt64 {
			s.done = true
			return false
		}
		s.enter(segment + 1)
		return false
	}
	s.segment = segment
	return true
}

// backward is forward in the other direction.
func (s *Scan) backward(segment int64, body []byte) bool {
	switch {
	case segment < s.last:
		s.done = true
		return false
	case segment < s.segment && s.to != nil && bytes.Compare(body, s.to) > 0:
		s.enterFromAbove(segment)
		return false
	case bytes.Compare(body, s.from) < 0:
		s.leave(segment)
		return false
	}
	s.segment = segment
	return true
}

// matches says whether a row belongs to the scan.
func (s *Scan) matches(local []byte) bool {
	key := s.shape.Key(local)
	switch {
	case s.one:
		if !bytes.Equal(key, s.low) {
			return false
		}
	case s.low != nil && bytes.Compare(key, s.low) < 0, s.high != nil && bytes.Compare(key, s.high) > 0:
		return false
	}
	if s.shape.Kind == Session {
		return s.shape.Time(local) >= s.min && s.shape.Start(local) <= s.max
	}
	t := s.shape.Time(local)
	return t >= s.min && t <= s.max
}

// Row is a row that a scan has copied.
type Row struct{ Local, Value []byte }

// Sorted reads the rest of the scan and puts it in the second order: by time, then key.
func (s *Scan) Sorted(reverse bool) ([]Row, error) {
	type timed struct {
		Row
		at []byte
	}
	var found []timed
	for {
		key, value, ok, err := s.Next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		found = append(found, timed{Row{bytes.Clone(key), bytes.Clone(value)}, s.shape.InTime(nil, key)})
	}
	slices.SortFunc(found, func(a, b timed) int { return bytes.Compare(a.at, b.at) })
	if reverse {
		slices.Reverse(found)
	}
	out := make([]Row, len(found))
	for i, f := range found {
		out[i] = f.Row
	}
	return out, nil
}
