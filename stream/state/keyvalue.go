package state

import (
	"encoding/binary"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// ReadOnlyKeyValueStore reads single keys and ranges. Sequences yield in key-byte order; a fault ends one and stands in
// Err.
type ReadOnlyKeyValueStore[K, V any] interface {
	// Get finds the value of k.
	Get(k K) (v V, ok bool, err error)
	// Range is the rows from one key to another, both included.
	Range(from, to K) *Rows[K, V]
	// ReverseRange is Range backwards, from to down to from.
	ReverseRange(from, to K) *Rows[K, V]
	// All is every row.
	All() *Rows[K, V]
	// ReverseAll is every row backwards.
	ReverseAll() *Rows[K, V]
	// Prefix is the rows whose key bytes begin with p.
	Prefix(p []byte) *Rows[K, V]
	// ApproximateLen is the number of rows; a store in memory knows it exactly.
	ApproximateLen() (int64, error)
}

// KeyValueStore reads and writes. Owned by one task: not for concurrent use.
type KeyValueStore[K, V any] interface {
	ReadOnlyKeyValueStore[K, V]
	// Put sets the value of k.
	Put(k K, v V) error
	// PutIfAbsent sets the value of k if there is none, and returns the one there was.
	PutIfAbsent(k K, v V) (old V, ok bool, err error)
	// Delete removes k and returns the value there was.
	Delete(k K) (old V, ok bool, err error)
}

// Timestamped is a value with the timestamp of its last change.
type Timestamped[V any] struct {
	Value V
	Time  time.Time
}

// ReadOnlyTimestampedKeyValueStore reads values with their timestamps.
type ReadOnlyTimestampedKeyValueStore[K, V any] interface {
	ReadOnlyKeyValueStore[K, V]
	// GetTimestamped finds the value of k and its time.
	GetTimestamped(k K) (v Timestamped[V], ok bool, err error)
}

// TimestampedKeyValueStore is a KTable's store. Owned by one task: not for concurrent use.
type TimestampedKeyValueStore[K, V any] interface {
	ReadOnlyTimestampedKeyValueStore[K, V]
	// Put sets the value of k and its time.
	Put(k K, v V, t time.Time) error
	// Delete removes k as of a time, which is that of the changelog's tombstone.
	Delete(k K, t time.Time) error
}

// KeyValue declares a plain key-value store.
func KeyValue[K, V any](name string, opts ...Option) Handle[KeyValueStore[K, V], ReadOnlyKeyValueStore[K, V]] {
	return Handle[KeyValueStore[K, V], ReadOnlyKeyValueStore[K, V]]{declare[K, V](name, store.KeyValue, resolve[K, V], opts)}
}

// TimestampedKeyValue declares what a KTable keeps: a value and its timestamp.
func TimestampedKeyValue[K, V any](name string, opts ...Option) Handle[TimestampedKeyValueStore[K, V], ReadOnlyTimestampedKeyValueStore[K, V]] {
	return Handle[TimestampedKeyValueStore[K, V], ReadOnlyTimestampedKeyValueStore[K, V]]{
		declare[K, V](name, store.Timestamped, resolve[K, V], opts),
	}
}

// timeLen is how many bytes of time stand before the value in a timestamped store.
const timeLen = 8

type opener[K, V any] struct {
	kind  store.Kind
	ks    serde.Serde[K]
	vs    serde.Serde[V]
	topic string
}

func resolve[K, V any](d *store.Decl, r *serde.Registry, topic string) (store.Opener, error) {
	ks, vs, err := serdes[K, V](d, r)
	if err != nil {
		return nil, err
	}
	return &opener[K, V]{d.Kind, ks, vs, topic}, nil
}

func (o *opener[K, V]) reader(r store.Reader, shared bool) reader[K, V] {
	out := reader[K, V]{r: r, ks: o.ks, vs: o.vs, topic: o.topic, shared: shared}
	if o.kind == store.Timestamped {
		out.skip = timeLen
	}
	return out
}

// Open is the store of a processor.
func (o *opener[K, V]) Open(b store.Bytes) any {
	if o.kind == store.Timestamped {
		return &timestamped[K, V]{timestampedReader[K, V]{o.reader(b, false)}, b, nil}
	}
	return &keyValue[K, V]{o.reader(b, false), b, nil}
}

// Read is the store of a query.
func (o *opener[K, V]) Read(r store.Reader) any {
	if o.kind == store.Timestamped {
		return &timestampedReader[K, V]{o.reader(r, true)}
	}
	out := o.reader(r, true)
	return &out
}

// keyValue is a plain store in a task's hands.
type keyValue[K, V any] struct {
	reader[K, V]
	b     store.Bytes
	value []byte
}

func (s *keyValue[K, V]) Put(k K, v V) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	b, err := s.vs.Append(append(s.value[:0], emptyMark)[:0], v, s.meta(false))
	if err != nil {
		return err
	}
	s.value = b
	return s.b.Set(store.Write{Key: key, Local: b, Plain: b, Time: s.b.Now()})
}

// emptyMark makes the scratch space non-nil, so that a value of no bytes is told from none.
const emptyMark = 0

func (s *keyValue[K, V]) PutIfAbsent(k K, v V) (old V, ok bool, err error) {
	if old, ok, err = s.Get(k); err != nil || ok {
		return old, ok, err
	}
	return old, false, s.Put(k, v)
}

func (s *keyValue[K, V]) Delete(k K) (old V, ok bool, err error) {
	if old, ok, err = s.Get(k); err != nil {
		return old, false, err
	}
	key, err := s.keyBytes(k)
	if err != nil {
		return old, ok, err
	}
	return old, ok, s.b.Set(store.Write{Key: key, Time: s.b.Now()})
}

type timestampedReader[K, V any] struct{ reader[K, V] }

func (s *timestampedReader[K, V]) GetTimestamped(k K) (v Timestamped[V], ok bool, err error) {
	key, err := s.keyBytes(k)
	if err != nil {
		return v, false, err
	}
	local, ok, err := s.r.Get(key)
	if err != nil || !ok {
		return v, false, err
	}
	v, err = s.stamped(local)
	return v, err == nil, err
}

// stamped reads what the store keeps; nil is the zero value.
func (s *timestampedReader[K, V]) stamped(local []byte) (v Timestamped[V], err error) {
	if local == nil {
		return v, nil
	}
	if v.Value, err = s.value(local); err != nil {
		return v, err
	}
	v.Time = time.UnixMilli(int64(binary.BigEndian.Uint64(local))).UTC()
	return v, nil
}

// timestamped is a table's store in a task's hands.
type timestamped[K, V any] struct {
	timestampedReader[K, V]
	b     store.Bytes
	local []byte
}

func (s *timestamped[K, V]) Put(k K, v V, t time.Time) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	at := t.UnixMilli()
	b, err := s.vs.Append(binary.BigEndian.AppendUint64(s.local[:0], uint64(at)), v, s.meta(false))
	if err != nil {
		return err
	}
	s.local = b
	return s.b.Set(store.Write{Key: key, Local: b, Plain: b[timeLen:], Time: at})
}

func (s *timestamped[K, V]) Delete(k K, t time.Time) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	return s.b.Set(store.Write{Key: key, Time: t.UnixMilli()})
}

// Expire tells f of rows that are deleted for their age. It returns what the least time of a row is, in milliseconds, or
// nil if rows live for ever: then nobody is told. Only this module can call it.
func (s *timestamped[K, V]) Expire(_ opt.Seal, f func(k K, old V) error) (oldest func() int64) {
	e, ok := s.b.(store.Expiring)
	if !ok || !e.OnExpire(func(key, old []byte) error {
		k, err := s.ks.Decode(key, s.meta(true))
		if err != nil {
			return err
		}
		v, err := s.value(old)
		if err != nil {
			return err
		}
		return f(k, v)
	}) {
		return nil
	}
	return e.Oldest
}

// Flush tells f of rows that leave the store's cache: what they are now, and what they were. Where one is not there, ok is
// false. It returns false if the store has no cache: then whoever puts a row forwards it himself. Only this module can
// call it.
func (s *timestamped[K, V]) Flush(_ opt.Seal, f func(k K, now, old Timestamped[V], ok, was bool) error) bool {
	c, ok := s.b.(store.Cached)
	if !ok {
		return false
	}
	return c.OnFlush(func(key, local, before []byte) error {
		k, err := s.ks.Decode(key, s.meta(true))
		if err != nil {
			return err
		}
		now, err := s.stamped(local)
		if err != nil {
			return err
		}
		old, err := s.stamped(before)
		if err != nil {
			return err
		}
		return f(k, now, old, local != nil, before != nil)
	})
}
