package state

import (
	"math"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// JoinWindow declares what a stream-stream join keeps of one side: every record, by key and time. It is the library's own;
// only this module can call it. Size is only told to readers.
func JoinWindow[K, V any](_ opt.Seal, name string, size, retention time.Duration, opts ...Option) *store.Decl {
	d := declare[K, V](name, store.JoinWindow, resolveJoinWindow[K, V], opts)
	d.Size, d.Retention = size, retention
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
	return &joinWindow[K, V]{kept: kept[K, V]{slots[K, V]{o.reader(b, false)}}, b: b, seq: -1}
}

// Read is the store of a query.
func (o *joinFaces[K, V]) Read(r store.Reader) any {
	return &kept[K, V]{slots[K, V]{o.reader(r, true)}}
}

// kept is a join's store, read only: a window store whose rows are records, each in the window that begins with it. Several
// may have one key and start.
type kept[K, V any] struct{ slots[K, V] }

// Get finds the record of k at a time that came first. The store does not keep a time beside the one it is ordered by: as
// with Kafka Streams that stands for it in memory and with headers, and otherwise it is unknown, the millisecond before 1970.
func (s *kept[K, V]) Get(k K, at time.Time) (v Timestamped[V], ok bool, err error) {
	rows := s.span(&k, &k, true, at, at, false)
	for _, first := range rows.All() {
		v = Timestamped[V]{first, time.UnixMilli(-1).UTC()}
		if s.shape.Memory || s.shape.Headers {
			v.Time = at
		}
		return v, true, nil
	}
	return v, false, rows.Err()
}

// joinWindow is a join's store in a task's hands.
type joinWindow[K, V any] struct {
	kept[K, V]
	b     store.Bytes
	bytes []byte
	seq   int32 // the last number given; -1 before the first
	scan  store.Scan
}

// next makes s.local the key of the next record. Numbers go on behind the highest that was restored, so that nothing is
// overwritten.
func (s *joinWindow[K, V]) next(k K, at int64) error {
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
	return nil
}

// Append keeps a record beside all others of its key and time.
func (s *joinWindow[K, V]) Append(k K, v V, at int64, headers serde.Headers) error {
	if err := s.next(k, at); err != nil {
		return err
	}
	b, err := s.vs.Append(append(s.bytes[:0], emptyMark)[:0], v, s.meta(false))
	if err != nil {
		return err
	}
	s.bytes = b
	return s.b.Set(store.Write{Key: s.local, Local: b, Plain: b, Time: s.b.Now(), Headers: headers})
}

// Skip tells the changelog of a record without value, as Kafka Streams does, whose stores keep nothing of it either. Only
// those in memory take its time for that of the store.
func (s *joinWindow[K, V]) Skip(k K, at int64, headers serde.Headers) error {
	if err := s.next(k, at); err != nil {
		return err
	}
	w := store.Write{Key: s.local, Time: s.b.Now(), Headers: headers}
	if l, ok := s.b.(store.Log); ok && !s.shape.Memory {
		l.Log(w)
		return nil
	}
	return s.b.Set(w)
}

// Each visits the records of a key in a span of time, both ends included, in the order of their times and then of their
// coming. Visit may use the store, but for Each.
func (s *joinWindow[K, V]) Each(k K, from, to int64, visit func(v V, at int64) error) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	s.scan.Begin(s.r, s.shape, key, key, true, from, to, false)
	for {
		local, value, ok, err := s.scan.Next()
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
