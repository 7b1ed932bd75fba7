package task

import "github.com/millrun/millrun/stream/internal/store"

// PutVersion makes a value what a key holds from a time on; see store.VersionStore. What is too old for the store is logged
// all the same, as in Java.
func (s *Store) PutVersion(key, value []byte, at int64) (to int64, kept bool, err error) {
	to, kept = s.versions.Put(key, value, at)
	if !kept {
		s.task.drop("expired")
	}
	s.task.changes++
	s.Log(store.Write{Key: key, Plain: value, Time: at})
	return to, kept, nil
}

// AsOf finds the version that held at a time.
func (s *Store) AsOf(key []byte, at int64) (store.Version, bool, error) {
	return s.versions.AsOf(key, at)
}

// History is the versions between two times.
func (s *Store) History(key []byte, from, to int64) ([]store.Version, error) {
	return s.versions.History(key, from, to)
}

// sharedVersions is a versioned store for other goroutines than the writing one. What it tells is never changed, so it
// copies nothing.
type sharedVersions struct {
	store.Reader // of the rows, which a versioned store does not have
	*store.Versions
}

// Len is the number of keys.
func (s sharedVersions) Len() (int64, error) { return s.Versions.Len(), nil }
