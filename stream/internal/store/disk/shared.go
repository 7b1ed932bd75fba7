package disk

import (
	"errors"

	"github.com/millrun/millrun/stream/internal/store"
)

// shared is a map for other goroutines than the writing one. What it returns is the caller's.
type shared struct{ r *rows }

// Shared is the map for other goroutines.
func (r *rows) Shared() store.Reader { return shared{r} }

// Get finds a value.
func (s shared) Get(key []byte) ([]byte, bool, error) {
	h := s.r.h
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.db == nil {
		return nil, false, ErrClosed
	}
	for _, t := range [...]*store.Tree{s.r.pending, s.r.known.newest, s.r.known.older} {
		if v, ok, err := t.Shared().Get(key); ok || err != nil {
			if err != nil || v[0] == removed {
				return nil, false, err
			}
			return v[1:], true, nil
		}
	}
	if s.r.isCut(key) {
		return nil, false, nil
	}
	return h.get(s.r.disk(key))
}

// Seek finds a neighbour.
func (s shared) Seek(key []byte, reverse, past bool) (k, v []byte, ok bool, err error) {
	h := s.r.h
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.db == nil {
		return nil, nil, false, ErrClosed
	}
	it, err := s.r.iterate(nil)
	if err != nil {
		return nil, nil, false, err
	}
	k, v, ok, err = s.r.neighbour(it, key, reverse, past)
	return k, v, ok, errors.Join(err, it.Close())
}

// Len is the number of rows.
func (s shared) Len() (int64, error) {
	s.r.h.mu.RLock()
	defer s.r.h.mu.RUnlock()
	return s.r.Len()
}
