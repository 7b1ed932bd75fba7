package state

import (
	"math"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// JoinWindow declares what a stream-stream join keeps of one side: every record, by key and time. It is the library's own;
// only this module can call it.
func JoinWindow[K, V any](_ opt.Seal, name string, retention time.Duration, opts ...Option) *store.Decl {
	d := declare[K, V](name, store.JoinWindow, resolveJoinWindow[K, V], opts)
	d.Retention = retention
	return d
}

func resolveJoinWindow[K, V any](d *store.Decl, r *serde.Registry, topic string) (store.Opener, error) {
	o, err := windowOpener[K, V](d, r, topic)
	return &joinFaces[K, V]{o}, err
}

// joinFaces opens the stores of joins.
type joinFaces[K, V any] struct{ windowed[K, V] }

// Open is the store of a join.
func (o *joinFaces[K, V]) Open(b store.Bytes) any {
	return &joinWindow[K, V]{kept: kept[K, V]{o.reader(b, false)}, b: b, seq: -1}
}

// Read is the store of a query.
func (o *joinFaces[K, V]) Read(r store.Reader) any { return &kept[K, V]{o.reader(r, true)} }

// kept is a join's store, read only.
type kept[K, V any] struct{ windowReader[K, V] }

// FetchAll is the records of all keys in a span.
func (s *kept[K, V]) FetchAll(from, to time.Time) *Rows[Slot[K], V] {
	return s.span(nil, nil, false, from, to, false)
}

// joinWindow is a join's store in a task's hands.
type joinWindow[K, V any] struct {
	kept[K, V]
	b     store.Bytes
	bytes []byte
	seq   int32 // the last number given; -1 before the first
}

// Append keeps a record beside all others of its key and time. Numbers go on behind the highest that was restored, so that
// nothing is overwritten.
func (s *joinWindow[K, V]) Append(k K, v V, at int64, headers serde.Headers) error {
	if s.seq < 0 {
		s.seq = 0
		if l, ok := s.b.(interface{ LastSeq() int32 }); ok {
			s.seq = l.LastSeq()
		}
	}
	s.seq = (s.seq + 1) & math.MaxInt32
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	s.local = s.shape.Window(s.local[:0], key, at, s.seq)
	b, err := s.vs.Append(append(s.bytes[:0], emptyMark)[:0], v, s.meta(false))
	if err != nil {
		return err
	}
	s.bytes = b
	return s.b.Set(store.Write{Key: s.local, Local: b, Plain: b, Time: s.b.Now(), Headers: headers})
}

// Each visits the records of a key in a span of time, both ends included, in the order of their times and then of their
// coming. Visit may use the store.
func (s *joinWindow[K, V]) Each(k K, from, to int64, visit func(v V, at int64) error) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	var scan store.Scan
	scan.Begin(s.r, s.shape, key, key, true, from, to, false)
	for {
		local, value, ok, err := scan.Next()
		if !ok || err != nil {
			return err
		}
		at := s.shape.Time(local)
		v, err := s.value(value)
		if err != nil {
			return err
		}
		if err := visit(v, at); err != nil {
			return err
		}
	}
}
