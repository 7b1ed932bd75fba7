package stream

import (
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/serde"
)

// TimeWindowedSerde is Kafka's TimeWindowedSerde: the key's bytes and the window's start. The end is not written, so size has
// to be known to whoever reads. A nil key is the default Serde of K.
func TimeWindowedSerde[K any](key serde.Serde[K], size time.Duration) serde.Serde[Windowed[K]] {
	ms := size.Milliseconds()
	if size == math.MaxInt64 {
		ms = math.MaxInt64
	}
	return newWindowedSerde(key, false, ms)
}

// SessionWindowedSerde is Kafka's SessionWindowedSerde: the key's bytes, the session's end and its start. A nil key is the
// default Serde of K.
func SessionWindowedSerde[K any](key serde.Serde[K]) serde.Serde[Windowed[K]] {
	return newWindowedSerde(key, true, 0)
}

// windowedSerde writes and reads keys in windows.
type windowedSerde[K any] struct {
	key     serde.Serde[K] // nil until bound, if it goes by type
	err     error          // why there is none
	byType  bool
	session bool
	size    int64
}

func newWindowedSerde[K any](key serde.Serde[K], session bool, size int64) windowedSerde[K] {
	s := windowedSerde[K]{key: key, byType: key == nil, session: session, size: size}
	if s.byType {
		s.key, s.err = serde.For[K](nil)
	}
	return s
}

// windowedKeys is the serde of a windowed table's keys, where that of the keys themselves was named or not.
func windowedKeys[K any](key any, session bool, size int64) windowedSerde[K] {
	k, _ := key.(serde.Serde[K]) // another type has been reported where it was given
	return newWindowedSerde(k, session, size)
}

// Bind finds the serde of the key in the application's registry; see store.Binder.
func (s windowedSerde[K]) Bind(r *serde.Registry) (any, error) {
	if !s.byType {
		return s, nil
	}
	key, err := serde.For[K](r)
	if err != nil {
		return nil, fmt.Errorf("in windows: %w", err)
	}
	s.key, s.err = key, nil
	return s, nil
}

// Append writes a key.
func (s windowedSerde[K]) Append(dst []byte, v Windowed[K], m serde.Meta) ([]byte, error) {
	if s.key == nil {
		return nil, s.err
	}
	dst, err := s.key.Append(dst, v.Key, m)
	if err != nil {
		return nil, err
	}
	if s.session {
		return layout.AppendSessionKey(dst, nil, v.Window.StartMs, v.Window.EndMs), nil
	}
	return layout.AppendTimeWindow(dst, nil, v.Window.StartMs), nil
}

// Decode reads a key.
func (s windowedSerde[K]) Decode(b []byte, m serde.Meta) (v Windowed[K], err error) {
	if s.key == nil {
		return v, s.err
	}
	var key []byte
	if s.session {
		key, v.Window.StartMs, v.Window.EndMs, err = layout.ReadSessionKey(b)
	} else {
		key, v.Window.StartMs, err = layout.ReadTimeWindow(b)
		v.Window.EndMs = endAfter(v.Window.StartMs, s.size)
	}
	if err != nil {
		return v, err
	}
	v.Key, err = s.key.Decode(key, m)
	return v, err
}

// Inner is the key alone in what Append wrote: a sink chooses the partition by it, so that the windows of a key stay with the
// key.
func (s windowedSerde[K]) Inner(b []byte) []byte {
	if s.session {
		key, _, _, _ := layout.ReadSessionKey(b)
		return key
	}
	key, _, _ := layout.ReadTimeWindow(b)
	return key
}

// endAfter is a window's end, which may lie beyond all time.
func endAfter(start, size int64) int64 {
	if size > math.MaxInt64-start {
		return math.MaxInt64
	}
	return start + size
}

// unnamed says that the serde of a windowed key does not follow from its type.
func (Windowed[K]) unnamed() error {
	k := reflect.TypeFor[Windowed[K]]()
	return fmt.Errorf("whether %s is a key in a time window or a session is not known here: "+
		"give KeySerde(stream.TimeWindowedSerde(...)) or KeySerde(stream.SessionWindowedSerde(...))", k)
}
