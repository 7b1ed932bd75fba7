package state

import (
	"time"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// Headed is a value with the timestamp and the headers of its last change.
type Headed[V any] struct {
	Value   V
	Time    time.Time
	Headers serde.Headers
}

// ReadOnlyHeadersKeyValueStore reads values with their timestamps and headers.
type ReadOnlyHeadersKeyValueStore[K, V any] interface {
	ReadOnlyTimestampedKeyValueStore[K, V]
	// GetHeaded finds the value of k, its time and its headers.
	GetHeaded(k K) (v Headed[V], ok bool, err error)
}

// HeadersKeyValueStore keeps headers beside values (KIP-1271). Owned by one task: not for concurrent use.
type HeadersKeyValueStore[K, V any] interface {
	ReadOnlyHeadersKeyValueStore[K, V]
	// Put sets the value of k, its time and its headers, which are copied.
	Put(k K, v V, t time.Time, h serde.Headers) error
	// Delete removes k as of a time, which is that of the changelog's tombstone; the tombstone has the headers of the record
	// at work.
	Delete(k K, t time.Time) error
}

// HeadersKeyValue declares a key-value store for processors that keeps a value's time and headers; its changelog's records
// carry both.
func HeadersKeyValue[K, V any](name string, opts ...Option) Handle[HeadersKeyValueStore[K, V], ReadOnlyHeadersKeyValueStore[K, V]] {
	return Handle[HeadersKeyValueStore[K, V], ReadOnlyHeadersKeyValueStore[K, V]]{
		declare[K, V](name, store.Headed, resolveHeaded[K, V], opts),
	}
}

type headedOpener[K, V any] struct{ opener[K, V] }

func resolveHeaded[K, V any](d *store.Decl, r *serde.Registry, topic string) (store.Opener, error) {
	ks, vs, err := serdes[K, V](d, r)
	if err != nil {
		return nil, err
	}
	return &headedOpener[K, V]{opener[K, V]{d.Kind, ks, vs, topic}}, nil
}

func (o *headedOpener[K, V]) reader(r store.Reader, shared bool) headedReader[K, V] {
	out := o.opener.reader(r, shared)
	out.headed = true
	return headedReader[K, V]{out}
}

// Open is the store of a processor.
func (o *headedOpener[K, V]) Open(b store.Bytes) any {
	return &headed[K, V]{headedReader: o.reader(b, false), b: b}
}

// Read is the store of a query.
func (o *headedOpener[K, V]) Read(r store.Reader) any {
	out := o.reader(r, true)
	return &out
}

type headedReader[K, V any] struct{ reader[K, V] }

// GetTimestamped finds the value of k and its time.
func (s *headedReader[K, V]) GetTimestamped(k K) (v Timestamped[V], ok bool, err error) {
	h, ok, err := s.GetHeaded(k)
	return Timestamped[V]{h.Value, h.Time}, ok, err
}

// GetHeaded finds the value of k, its time and its headers.
func (s *headedReader[K, V]) GetHeaded(k K) (v Headed[V], ok bool, err error) {
	key, err := s.keyBytes(k)
	if err != nil {
		return v, false, err
	}
	local, ok, err := s.r.Get(key)
	if err != nil || !ok {
		return v, false, err
	}
	if v.Value, err = s.value(local); err != nil {
		return v, false, err
	}
	_, at, hs, err := layout.ReadHeadersValue[serde.Header](local)
	v.Time, v.Headers = time.UnixMilli(at).UTC(), owned(hs)
	return v, err == nil, err
}

// owned copies headers out of a store, whose bytes change with its next write.
func owned(hs serde.Headers) serde.Headers {
	for i, h := range hs {
		if h.Value != nil {
			hs[i].Value = append(make([]byte, 0, len(h.Value)), h.Value...)
		}
	}
	return hs
}

// headed is such a store in a task's hands.
type headed[K, V any] struct {
	headedReader[K, V]
	b            store.Bytes
	plain, local []byte
}

func (s *headed[K, V]) Put(k K, v V, t time.Time, h serde.Headers) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	at, m := t.UnixMilli(), s.meta(false)
	*m.Headers = append(serde.Headers{}, h...)
	if s.plain, err = s.vs.Append(append(s.plain[:0], emptyMark)[:0], v, m); err != nil {
		return err
	}
	s.local = layout.AppendHeadersValue(s.local[:0], s.plain, at, *m.Headers)
	return s.b.Set(store.Write{Key: key, Local: s.local, Plain: s.plain, Time: at, Headers: *m.Headers})
}

func (s *headed[K, V]) Delete(k K, t time.Time) error {
	key, err := s.keyBytes(k)
	if err != nil {
		return err
	}
	return s.b.Set(store.Write{Key: key, Time: t.UnixMilli()})
}
