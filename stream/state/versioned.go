package state

import (
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// Version is a value and the span it held in; To is zero while it still does.
type Version[V any] struct {
	Value    V
	From, To time.Time
}

// ReadOnlyVersionedStore answers as of a time. Its history reaches back from the newest time that was ever put; older
// times are answered only where the current version is that old.
type ReadOnlyVersionedStore[K, V any] interface {
	// Get finds the current version of k.
	Get(k K) (v Version[V], ok bool, err error)
	// GetAsOf finds the version of k that held at t.
	GetAsOf(k K, t time.Time) (v Version[V], ok bool, err error)
	// History is the versions of k that held at any time between from and to, both included, by the time they begin, the
	// oldest first.
	History(k K, from, to time.Time) *Rows[time.Time, Version[V]]
}

// VersionedStore accepts changes at any time within its history, in any order: a version ends where the next one begins.
// A nil V deletes. Owned by one task: not for concurrent use.
type VersionedStore[K, V any] interface {
	ReadOnlyVersionedStore[K, V]
	// Put makes v the value of k from t on. It keeps nothing, and says so, if t is older than the store's history; the
	// changelog gets the record all the same, as Kafka Streams does.
	Put(k K, v V, t time.Time) (stored bool, err error)
	// PutUntil is Put that also says where the version ends: at the beginning of the next one, or nowhere, which is zero.
	PutUntil(k K, v V, t time.Time) (to time.Time, stored bool, err error)
	// Delete makes k hold nothing from t on, and returns what it held then.
	Delete(k K, t time.Time) (old Version[V], ok bool, err error)
}

// Versioned declares a store that answers "as of" within its history (KIP-889). It is never cached. A table kept in it by
// stream.Into is a versioned table: a stream is joined with the row of its own time, and rows out of order change neither
// aggregates nor joins.
func Versioned[K, V any](name string, history time.Duration, opts ...Option) Handle[VersionedStore[K, V], ReadOnlyVersionedStore[K, V]] {
	d := declare[K, V](name, store.Versioned, resolveVersioned[K, V], opts)
	d.History, d.Caching = history, opt.Off
	return Handle[VersionedStore[K, V], ReadOnlyVersionedStore[K, V]]{d}
}

type versionedOpener[K, V any] struct {
	ks    serde.Serde[K]
	vs    serde.Serde[V]
	topic string
	nils  bool
}

func resolveVersioned[K, V any](d *store.Decl, r *serde.Registry, topic string) (store.Opener, error) {
	ks, vs, err := serdes[K, V](d, r)
	if err != nil {
		return nil, err
	}
	return &versionedOpener[K, V]{ks, vs, topic, store.HasNil[V]()}, nil
}

func (o *versionedOpener[K, V]) reader(r store.Reader, shared bool) versionedReader[K, V] {
	v, _ := r.(store.VersionReader)
	return versionedReader[K, V]{v, reader[K, V]{r: r, ks: o.ks, vs: o.vs, topic: o.topic, shared: shared}}
}

// Open is the store of a processor.
func (o *versionedOpener[K, V]) Open(b store.Bytes) any {
	s, _ := b.(store.VersionStore)
	return &versioned[K, V]{versionedReader: o.reader(b, false), s: s, nils: o.nils}
}

// Read is the store of a query.
func (o *versionedOpener[K, V]) Read(r store.Reader) any {
	out := o.reader(r, true)
	return &out
}

type versionedReader[K, V any] struct {
	v     store.VersionReader
	bytes reader[K, V]
}

// Get finds the current version.
func (s *versionedReader[K, V]) Get(k K) (Version[V], bool, error) { return s.find(k, store.Open) }

// GetAsOf finds the version that held at t.
func (s *versionedReader[K, V]) GetAsOf(k K, t time.Time) (Version[V], bool, error) {
	return s.find(k, t.UnixMilli())
}

func (s *versionedReader[K, V]) find(k K, at int64) (out Version[V], ok bool, err error) {
	key, err := s.bytes.keyBytes(k)
	if err != nil {
		return out, false, err
	}
	v, ok, err := s.v.AsOf(key, at)
	if err != nil || !ok {
		return out, false, err
	}
	out, err = s.typed(v)
	return out, err == nil, err
}

func (s *versionedReader[K, V]) typed(v store.Version) (out Version[V], err error) {
	if out.Value, err = s.bytes.value(v.Value); err != nil {
		return out, err
	}
	out.From, out.To = time.UnixMilli(v.From).UTC(), until(v.To)
	return out, nil
}

// until is the end of a version: zero if it has none.
func until(to int64) (t time.Time) {
	if to != store.Open {
		t = time.UnixMilli(to).UTC()
	}
	return t
}

// History is the versions between two times.
func (s *versionedReader[K, V]) History(k K, from, to time.Time) *Rows[time.Time, Version[V]] {
	key, err := s.bytes.keyBytes(k)
	if err != nil {
		return &Rows[time.Time, Version[V]]{err: err}
	}
	list, err := s.v.History(key, from.UnixMilli(), to.UnixMilli())
	if err != nil {
		return &Rows[time.Time, Version[V]]{err: err}
	}
	return &Rows[time.Time, Version[V]]{walk: func(yield func(time.Time, Version[V]) bool) error {
		for _, one := range list {
			v, err := s.typed(one)
			if err != nil || !yield(v.From, v) {
				return err
			}
		}
		return nil
	}}
}

// versioned is a versioned store in a task's hands.
type versioned[K, V any] struct {
	versionedReader[K, V]
	s     store.VersionStore
	nils  bool
	value []byte
}

func (s *versioned[K, V]) Put(k K, v V, t time.Time) (stored bool, err error) {
	_, stored, err = s.PutUntil(k, v, t)
	return stored, err
}

func (s *versioned[K, V]) PutUntil(k K, v V, t time.Time) (time.Time, bool, error) {
	if s.nils && store.IsNil(v) {
		return s.put(k, nil, t)
	}
	b, err := s.bytes.vs.Append(append(s.value[:0], emptyMark)[:0], v, s.bytes.meta(false))
	if err != nil {
		return time.Time{}, false, err
	}
	s.value = b
	return s.put(k, b, t)
}

func (s *versioned[K, V]) put(k K, value []byte, t time.Time) (time.Time, bool, error) {
	key, err := s.bytes.keyBytes(k)
	if err != nil {
		return time.Time{}, false, err
	}
	to, stored, err := s.s.PutVersion(key, value, t.UnixMilli())
	if err != nil || !stored {
		return time.Time{}, false, err
	}
	return until(to), true, nil
}

// Delete makes k hold nothing from t on. What history no longer reaches is not deleted, and nothing is returned.
func (s *versioned[K, V]) Delete(k K, t time.Time) (old Version[V], ok bool, err error) {
	if old, ok, err = s.GetAsOf(k, t); err != nil {
		return old, false, err
	}
	_, stored, err := s.put(k, nil, t)
	if !stored {
		return Version[V]{}, false, err
	}
	return old, ok, err
}

// PlaceVersion is PutUntil for the tables of the DSL: whether there is a value is said apart, and what is kept is said to
// be the current version or not. Only this module can call it.
func (s *versioned[K, V]) PlaceVersion(_ opt.Seal, k K, v V, ok bool, at int64) (current, stored bool, err error) {
	t := time.UnixMilli(at)
	var to time.Time
	if ok {
		to, stored, err = s.PutUntil(k, v, t)
	} else {
		to, stored, err = s.put(k, nil, t)
	}
	return to.IsZero(), stored, err
}
