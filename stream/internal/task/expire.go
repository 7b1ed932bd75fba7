package task

import (
	"bytes"

	"github.com/millrun/millrun/stream/internal/store"
)

// OnExpire names the one who is told of each row that is deleted for its age, the deletion being the record at work; Source
// is nil. The last to be named stands: streams that are aggregated together share a store and all that is below.
// It returns false, and nobody is ever told, if rows of the store live for ever.
func (s *Store) OnExpire(f store.Expired) bool {
	if s.expiry == nil {
		return false
	}
	s.ended = f
	return true
}

// Oldest is the least time, in milliseconds, that a row may have without being deleted for its age.
func (s *Store) Oldest() int64 { return s.task.time - s.spec.TTL }

// put sets a row, or removes it where local is nil. It says whether the row is kept.
func (s *Store) put(key, local []byte) (bool, error) {
	if s.expiry != nil {
		old, _, err := s.rows.Get(key)
		if err != nil {
			return false, err
		}
		s.expiry.Put(key, local, old)
	}
	return s.rows.Put(key, local), nil
}

// expire deletes the rows that stream time has made too old, store by store, by their time and key. It runs before a record
// is processed at the stream time that includes it, so that no node finds such a row, and leaves the record at work as it is.
func (t *Task) expire() error {
	if len(t.expiring) == 0 {
		return nil
	}
	was := t.rec
	defer func() { t.rec = was }()
	for _, s := range t.expiring {
		for {
			key, at, ok, err := s.expiry.First(s.Oldest())
			if err != nil {
				return t.stopped(s.unread(err), "expire")
			}
			if !ok {
				break
			}
			if err := s.end(bytes.Clone(key), at+s.spec.TTL); err != nil {
				return err
			}
		}
	}
	return nil
}

// end deletes a row as of a time and tells of it. The row is gone whatever becomes of those that are told.
func (s *Store) end(key []byte, at int64) error {
	t := s.task
	old, _, err := s.rows.Get(key)
	if err != nil {
		return t.stopped(s.unread(err), "expire")
	}
	old = bytes.Clone(old)
	t.begin(nil, Punctuation)
	t.rec.Time, t.touched = at, true
	if err := s.apply(store.Write{Key: key, Time: at}); err != nil {
		return t.stopped(err, "expire")
	}
	if s.ended == nil {
		return nil
	}
	return t.settled(func(*Rec) error { return s.ended(key, old) })
}
