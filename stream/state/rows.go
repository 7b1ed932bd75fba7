package state

import (
	"bytes"
	"iter"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// Rows is a sequence that can fail. It holds nothing between two steps, so a loop may be left at any time, and the store
// may be changed within it: what is put behind the current row is seen, what is deleted is not.
type Rows[K, V any] struct {
	r       store.Reader
	from    []byte // nil: from the beginning (the end, when reverse)
	to      []byte // inclusive; nil: to the end
	prefix  []byte
	reverse bool
	decode  func(k, v []byte) (K, V, error)
	walk    func(yield func(K, V) bool) error // instead of all above
	err     error
}

// All yields the rows.
func (r *Rows[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if r.walk != nil && r.err == nil {
			r.err = r.walk(yield)
			return
		}
		at, past := r.from, false
		for r.err == nil {
			k, v, ok, err := r.r.Seek(at, r.reverse, past)
			if err != nil {
				r.err = err
				return
			}
			if !ok || r.beyond(k) {
				return
			}
			key, value, err := r.decode(k, v)
			if err != nil {
				r.err = err
				return
			}
			at, past = append(make([]byte, 0, len(k)), k...), true
			if !yield(key, value) {
				return
			}
		}
	}
}

// beyond says whether k lies behind the end of the sequence.
func (r *Rows[K, V]) beyond(k []byte) bool {
	if r.prefix != nil && !bytes.HasPrefix(k, r.prefix) {
		return true
	}
	if r.to == nil {
		return false
	}
	if r.reverse {
		return bytes.Compare(k, r.to) < 0
	}
	return bytes.Compare(k, r.to) > 0
}

// Err is what ended the sequence early, or nil.
func (r *Rows[K, V]) Err() error { return r.err }

// reader is what the read-only faces of all key-value stores share. Its scratch space is used by one goroutine at a time:
// a query gets a reader of its own for every call.
type reader[K, V any] struct {
	r      store.Reader
	ks     serde.Serde[K]
	vs     serde.Serde[V]
	topic  string
	skip   int  // bytes before the value
	headed bool // headers, too, are before it
	shared bool

	key     []byte
	headers serde.Headers
}

func (r *reader[K, V]) meta(isKey bool) serde.Meta {
	h := &r.headers
	if r.shared {
		h = new(serde.Headers)
	}
	*h = nil
	return serde.Meta{Topic: r.topic, IsKey: isKey, Headers: h}
}

// keyBytes writes k into the scratch space; a shared reader has none.
func (r *reader[K, V]) keyBytes(k K) ([]byte, error) {
	if r.shared {
		return r.ks.Append(nil, k, r.meta(true))
	}
	b, err := r.ks.Append(r.key[:0], k, r.meta(true))
	if err == nil {
		r.key = b
	}
	return b, err
}

func (r *reader[K, V]) value(local []byte) (v V, err error) {
	if r.headed {
		plain, _, hs, err := layout.ReadHeadersValue[serde.Header](local)
		if err != nil {
			return v, err
		}
		m := r.meta(false)
		*m.Headers = hs
		return r.vs.Decode(plain, m)
	}
	if len(local) < r.skip {
		return v, serde.ErrSize
	}
	return r.vs.Decode(local[r.skip:], r.meta(false))
}

func (r *reader[K, V]) row(k, v []byte) (key K, value V, err error) {
	if key, err = r.ks.Decode(k, r.meta(true)); err != nil {
		return key, value, err
	}
	value, err = r.value(v)
	return key, value, err
}

// Get finds the value of k.
func (r *reader[K, V]) Get(k K) (v V, ok bool, err error) {
	key, err := r.keyBytes(k)
	if err != nil {
		return v, false, err
	}
	local, ok, err := r.r.Get(key)
	if err != nil || !ok {
		return v, false, err
	}
	v, err = r.value(local)
	return v, err == nil, err
}

// rows is a sequence between two keys; nil pointers are the ends.
func (r *reader[K, V]) rows(from, to *K, reverse bool) *Rows[K, V] {
	out := &Rows[K, V]{r: r.r, reverse: reverse, decode: r.row}
	bound := func(k *K) []byte {
		if k == nil || out.err != nil {
			return nil
		}
		// Not the scratch space: the sequence outlives the call.
		b, err := r.ks.Append([]byte{}, *k, r.meta(true))
		out.err = err
		return b
	}
	if reverse {
		from, to = to, from
	}
	out.from, out.to = bound(from), bound(to)
	return out
}

// Range is the rows from one key to another, both included.
func (r *reader[K, V]) Range(from, to K) *Rows[K, V] { return r.rows(&from, &to, false) }

// ReverseRange is Range backwards, from to down to from.
func (r *reader[K, V]) ReverseRange(from, to K) *Rows[K, V] { return r.rows(&from, &to, true) }

// All is every row.
func (r *reader[K, V]) All() *Rows[K, V] { return r.rows(nil, nil, false) }

// ReverseAll is every row backwards.
func (r *reader[K, V]) ReverseAll() *Rows[K, V] { return r.rows(nil, nil, true) }

// Prefix is the rows whose key bytes begin with p.
func (r *reader[K, V]) Prefix(p []byte) *Rows[K, V] {
	p = append([]byte{}, p...)
	return &Rows[K, V]{r: r.r, from: p, prefix: p, decode: r.row}
}

// ApproximateLen is the number of rows.
func (r *reader[K, V]) ApproximateLen() (int64, error) { return r.r.Len() }
