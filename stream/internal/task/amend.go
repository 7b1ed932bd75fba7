package task

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// leftOut are the places of a changelog whose last record was left out when it was restored, by key and, of a versioned store,
// time: the store does not say what the changelog says. Amend puts that right, before anything is processed: otherwise, once
// the commits have passed what was left out, the next to restore the changelog would take it for good.
type leftOut map[string]int64

// admit says whether a record of the changelog is to be restored, which it is unless it was never committed.
func (s *Store) admit(in *Input) bool {
	if s.spec.Source != "" {
		return true // a topic of others
	}
	sent := in.Time
	stamp, ok := unstamp(in)
	x := s.task.exact
	if x == nil || in.Key == nil {
		return true
	}
	if ok && !x.covers(stamp) {
		if x.orphaned(stamp) {
			s.task.orphan(s.spec.Name, string(stamp.Topic))
		}
		if s.missing == nil {
			s.missing = leftOut{}
		}
		s.missing[s.place(in)] = sent
		return false
	}
	if len(s.missing) > 0 {
		delete(s.missing, s.place(in))
	}
	return true
}

// Decided is how many of the records of a store's changelog, from the first on, are known to count or not to: what is not
// committed may yet be.
func (t *Task) Decided(name string, in []Input) int {
	s := t.stores[name]
	for i := range in {
		copied := in[i]
		stamp, ok := unstamp(&copied)
		if ok && s.spec.Source == "" && !t.exact.covers(stamp) {
			return i
		}
	}
	return len(in)
}

// place is what a later record of the changelog replaces.
func (s *Store) place(in *Input) string {
	if s.versions == nil {
		return string(in.Key)
	}
	return string(binary.BigEndian.AppendUint64(slices.Clone(in.Key), uint64(in.Time)))
}

// Missing says how many keys of a store's changelog are to be put right, and when the oldest of the records was sent that were
// left out, in milliseconds.
func (t *Task) Missing(name string) (n int, oldest int64) {
	for _, sent := range t.stores[name].missing {
		if n++; n == 1 || sent < oldest {
			oldest = sent
		}
	}
	return n, oldest
}

// amend puts the changelogs right.
func (t *Task) amend() error {
	x := t.exact
	if x == nil {
		return nil
	}
	x.amending = true
	defer func() { x.amending = false }()
	for _, s := range t.ordered {
		for _, place := range slices.Sorted(maps.Keys(s.missing)) {
			t.touched = true
			if err := s.amend([]byte(place)); err != nil {
				return t.stopped(s.unread(err), "restore")
			}
		}
		s.missing = nil
	}
	return nil
}

// amend logs what the store holds in a place.
func (s *Store) amend(place []byte) error {
	if s.spec.Kind == store.Kept {
		s.keeper().Amend(place)
		return nil
	}
	if s.versions != nil {
		return s.amendVersion(place[:len(place)-8], int64(binary.BigEndian.Uint64(place[len(place)-8:])))
	}
	key := place
	if s.windows != nil {
		if !s.spec.Shape.Valid(place) {
			return nil
		}
		key = s.spec.Shape.Local(nil, place)
	}
	local, ok, err := s.rows.Get(key)
	if err != nil {
		return err
	}
	w := store.Write{Key: key, Time: store.NoTime}
	if ok {
		w.Local = local
		if w.Plain, w.Time, w.Headers, err = s.logged(local); err != nil {
			return err
		}
	}
	s.Log(w)
	return nil
}

// logged takes apart what restore has put together.
func (s *Store) logged(local []byte) (plain []byte, at int64, h serde.Headers, err error) {
	switch {
	case s.spec.Kind == store.Headed:
		plain, at, h, err = layout.ReadHeadersValue[serde.Header](local)
		return plain, at, h, err
	case s.spec.Kind.HasTime():
		return local[8:], int64(binary.BigEndian.Uint64(local)), nil, nil
	}
	return local, store.NoTime, nil, nil
}

// amendVersion says again what held at a time. A version that began before it has from now on two parts.
func (s *Store) amendVersion(key []byte, at int64) error {
	v, ok, err := s.versions.AsOf(key, at)
	if err != nil {
		return err
	}
	w := store.Write{Key: key, Time: at}
	if ok {
		w.Plain = v.Value
	}
	s.Log(w)
	_, _, err = s.versions.Put(key, w.Plain, at)
	return err
}
