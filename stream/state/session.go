package state

import (
	"math"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// ReadOnlySessionStore reads sessions. One whose end lies the store's retention or more behind the newest end is no longer
// there. The sessions of a key come by their ends; of those with one end the earliest start comes first from a persistent
// store, the latest from one in memory, as in Kafka Streams.
type ReadOnlySessionStore[K, V any] interface {
	// Get finds a session by its key and both its ends.
	Get(s Slot[K]) (v V, ok bool, err error)
	// Fetch is all sessions of k.
	Fetch(k K) *Rows[Slot[K], V]
	// Find is the sessions of k that end at earliestEnd or later and start at latestStart or earlier.
	Find(k K, earliestEnd, latestStart time.Time) *Rows[Slot[K], V]
}

// SessionStore reads and writes sessions. Owned by one task: not for concurrent use.
type SessionStore[K, V any] interface {
	ReadOnlySessionStore[K, V]
	// Put sets a session's value; a nil v deletes it. A session that is too old for the store is counted as dropped; the
	// changelog gets it all the same.
	Put(s Slot[K], v V) error
	// Delete removes a session.
	Delete(s Slot[K]) error
}

// Session declares a session store. Retention is how long a session stays after its end, by the time the store itself has
// seen, in whole milliseconds.
func Session[K, V any](name string, retention time.Duration, opts ...Option) Handle[SessionStore[K, V], ReadOnlySessionStore[K, V]] {
	d := declare[K, V](name, store.Session, resolveSession[K, V], opts)
	d.Retention = retention
	return Handle[SessionStore[K, V], ReadOnlySessionStore[K, V]]{d}
}

func resolveSession[K, V any](d *store.Decl, r *serde.Registry, topic string) (store.Opener, error) {
	o, err := windowOpener[K, V](d, r, topic)
	return &sessionFaces[K, V]{o}, err
}

// sessionFaces opens session stores.
type sessionFaces[K, V any] struct{ windowed[K, V] }

// Open is the store of a processor.
func (o *sessionFaces[K, V]) Open(b store.Bytes) any {
	return &sessionStore[K, V]{sessions: sessions[K, V]{o.reader(b, false)}, b: b}
}

// Read is the store of a query.
func (o *sessionFaces[K, V]) Read(r store.Reader) any { return &sessions[K, V]{o.reader(r, true)} }

// sessions is a session store, read only.
type sessions[K, V any] struct{ windowReader[K, V] }

func (s *sessions[K, V]) Get(at Slot[K]) (v V, ok bool, err error) {
	return s.At(at.Key, at.Start.UnixMilli(), at.End.UnixMilli())
}

// At is Get in milliseconds.
func (s *sessions[K, V]) At(k K, start, end int64) (v V, ok bool, err error) {
	local, err := s.localKey(k, start, end)
	if err != nil {
		return v, false, err
	}
	b, ok, err := s.r.Get(local)
	if !ok || err != nil {
		return v, false, err
	}
	v, err = s.value(b)
	return v, err == nil, err
}

func (s *sessions[K, V]) localKey(k K, start, end int64) ([]byte, error) {
	key, err := s.keyBytes(k)
	if err != nil {
		return nil, err
	}
	local := s.shape.Session(s.local[:0], key, start, end)
	if !s.shared {
		s.local = local
	}
	return local, nil
}

func (s *sessions[K, V]) Fetch(k K) *Rows[Slot[K], V] { return s.find(k, 0, math.MaxInt64) }

func (s *sessions[K, V]) Find(k K, earliestEnd, latestStart time.Time) *Rows[Slot[K], V] {
	return s.find(k, millis(earliestEnd), millis(latestStart))
}

func (s *sessions[K, V]) find(k K, earliestEnd, latestStart int64) *Rows[Slot[K], V] {
	out := &Rows[Slot[K], V]{}
	key, err := s.ks.Append([]byte{}, k, s.meta(true))
	out.err = err
	out.walk = func(yield func(Slot[K], V) bool) error {
		var scan store.Scan
		scan.Begin(s.r, s.shape, key, key, true, earliestEnd, latestStart, false)
		if s.shape.Memory {
			return s.byTime(&scan, false, yield)
		}
		for {
			local, value, ok, err := scan.Next()
			if !ok || err != nil {
				return err
			}
			if more, err := s.yield(local, value, yield); !more || err != nil {
				return err
			}
		}
	}
	return out
}

// sessionStore is a session store in a task's hands.
type sessionStore[K, V any] struct {
	sessions[K, V]
	b     store.Bytes
	bytes []byte
	scan  store.Scan
}

func (s *sessionStore[K, V]) Put(at Slot[K], v V) error {
	return s.PutAt(at.Key, at.Start.UnixMilli(), at.End.UnixMilli(), v)
}

// PutAt is Put in milliseconds.
func (s *sessionStore[K, V]) PutAt(k K, start, end int64, v V) error {
	if s.nilValue && store.IsNil(v) {
		return s.DeleteAt(k, start, end)
	}
	local, err := s.localKey(k, start, end)
	if err != nil {
		return err
	}
	b, err := s.vs.Append(append(s.bytes[:0], emptyMark)[:0], v, s.meta(false))
	if err != nil {
		return err
	}
	s.bytes = b
	return s.b.Set(store.Write{Key: local, Local: b, Plain: b, Time: s.b.Now()})
}

func (s *sessionStore[K, V]) Delete(at Slot[K]) error {
	return s.DeleteAt(at.Key, at.Start.UnixMilli(), at.End.UnixMilli())
}

// DeleteAt is Delete in milliseconds.
func (s *sessionStore[K, V]) DeleteAt(k K, start, end int64) error {
	local, err := s.localKey(k, start, end)
	if err != nil {
		return err
	}
	return s.b.Set(store.Write{Key: local, Time: s.b.Now()})
}

// Each visits the sessions that Find finds, as they are when it begins.
func (s *sessionStore[K, V]) Each(k K, earliestEnd, latestStart int64, visit func(start, end int64, v V) error) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	s.scan.Begin(s.r, s.shape, key, key, true, earliestEnd, latestStart, false)
	if s.shape.Memory {
		found, err := s.scan.Sorted(false)
		if err != nil {
			return err
		}
		for _, r := range found {
			if err := s.tell(r.Local, r.Value, visit); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		local, value, ok, err := s.scan.Next()
		if !ok || err != nil {
			return err
		}
		if err := s.tell(local, value, visit); err != nil {
			return err
		}
	}
}

func (s *sessionStore[K, V]) tell(local, value []byte, visit func(start, end int64, v V) error) error {
	v, err := s.value(value)
	if err != nil {
		return err
	}
	return visit(s.shape.Start(local), s.shape.Time(local), v)
}

// Closed visits the sessions that end in a span, by their end; the store must have been made for it.
func (s *sessionStore[K, V]) Closed(from, to int64, visit func(k K, start, end int64, v V) error) error {
	return s.b.(timeline).Timeline(from, to, func(local, value []byte) error {
		k, err := s.ks.Decode(s.shape.Key(local), s.meta(true))
		if err != nil {
			return err
		}
		return s.tell(local, value, func(start, end int64, v V) error { return visit(k, start, end, v) })
	})
}

// Flush tells f of sessions that leave the store's cache: what they are now, and what they were. Where one is not there, ok
// is false. It returns false if the store has no cache. Only this module can call it.
func (s *sessionStore[K, V]) Flush(_ opt.Seal, f func(k K, start, end int64, now, old V, ok, was bool) error) bool {
	c, ok := s.b.(store.Cached)
	if !ok {
		return false
	}
	return c.OnFlush(func(local, now, before []byte) error {
		k, err := s.ks.Decode(s.shape.Key(local), s.meta(true))
		if err != nil {
			return err
		}
		var v, old V
		if now != nil {
			if v, err = s.value(now); err != nil {
				return err
			}
		}
		if before != nil {
			if old, err = s.value(before); err != nil {
				return err
			}
		}
		return f(k, s.shape.Start(local), s.shape.Time(local), v, old, now != nil, before != nil)
	})
}
