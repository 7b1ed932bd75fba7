package task

import "github.com/millrun/millrun/stream/internal/store"

// PutVersion makes a value what a key holds from a time on; see store.VersionStore. What is too old for the store is logged
// all the same, as in Java.
func (s *Store) PutVersion(key, value []byte, at int64) (to int64, kept bool, err error) {
	if to, kept, err = s.versions.Put(key, value, at); err != nil {
		return 0, false, s.unread(err)
	}
	if !kept {
		s.task.drop("expired")
	}
	s.task.changes++
	s.Log(store.Write{Key: key, Plain: value, Time: at})
	return to, kept, nil
}

// AsOf finds the version that held at a time.
func (s *Store) AsOf(key []byte, at int64) (store.Version, bool, error) {
	v, ok, err := s.versions.AsOf(key, at)
	return v, ok, s.unread(err)
}

// History is the versions between two times.
func (s *Store) History(key []byte, from, to int64) ([]store.Version, error) {
	list, err := s.versions.History(key, from, to)
	return list, s.unread(err)
}
