package serde

import "slices"

// Serde translates values of T. It never sees null: that is nil where T has one, and a tombstone otherwise.
// It is safe for concurrent use.
type Serde[T any] interface {
	// Append writes v to dst and returns the longer slice.
	Append(dst []byte, v T, m Meta) ([]byte, error)
	// Decode reads b, which it must not keep.
	Decode(b []byte, m Meta) (T, error)
}

// Meta says where the bytes go to or come from; a Serde may read and set headers.
type Meta struct {
	Topic   string   // the topic as the broker knows it; for a store, its changelog
	IsKey   bool     // the bytes are a record's key
	Headers *Headers // never nil within the library; what Append sets travels with the record
}

// Header is one record header.
type Header struct {
	Key   string
	Value []byte
}

// Headers are a record's headers in order; a key may occur more than once. They are shared by all who see the record:
// Set and Del make a new slice and leave what others hold as it is.
type Headers []Header

// Get returns the last value of key.
func (h Headers) Get(key string) ([]byte, bool) {
	for _, v := range slices.Backward(h) {
		if v.Key == key {
			return v.Value, true
		}
	}
	return nil, false
}

// Add appends a header.
func (h *Headers) Add(key string, value []byte) {
	// The capacity is cut so that two records which share a slice never write into each other's tail.
	*h = append((*h)[:len(*h):len(*h)], Header{key, value})
}

// Set replaces all headers of that key by one.
func (h *Headers) Set(key string, value []byte) {
	h.Del(key)
	h.Add(key, value)
}

// Del removes all headers of that key.
func (h *Headers) Del(key string) {
	if _, ok := h.Get(key); !ok {
		return
	}
	kept := make(Headers, 0, len(*h))
	for _, x := range *h {
		if x.Key != key {
			kept = append(kept, x)
		}
	}
	*h = kept
}
