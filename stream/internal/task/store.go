package task

import (
	"encoding/binary"

	"github.com/millrun/millrun/stream/internal/store"
)

// Store is a task's store: bytes in memory, and each change sent to the changelog.
type Store struct {
	spec *StoreSpec
	tree *store.Tree
	task *Task
	face any // the typed store, made once
}

// Get finds a value.
func (s *Store) Get(key []byte) ([]byte, bool, error) { return s.tree.Get(key) }

// Seek finds a neighbour.
func (s *Store) Seek(key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	return s.tree.Seek(key, reverse, past)
}

// Len is the number of entries.
func (s *Store) Len() (int64, error) { return s.tree.Len() }

// Now is the time of the record at work.
func (s *Store) Now() int64 { return s.task.rec.Time }

// Set changes the store and tells the changelog. A tombstone for what is not there is sent all the same, as in Java.
func (s *Store) Set(key, local, plain []byte, at int64) error {
	s.tree.Set(key, local)
	if s.spec.Changelog == "" {
		return nil
	}
	t := s.task
	o := t.Send()
	o.Topic, o.Partition, o.Time = s.spec.Changelog, t.id.Partition, at
	o.Node, o.Source, o.Changelog = s.spec.Name, t.rec.Source, true
	o.Key = t.Keep(append(t.Space(), key...))
	if plain != nil {
		o.Value = t.Keep(append(t.Space(), plain...))
	}
	return nil
}

// restore applies a record of the changelog.
func (s *Store) restore(in *Input) {
	switch {
	case in.Key == nil:
	case in.Value == nil:
		s.tree.Set(in.Key, nil)
	case s.spec.Kind == store.Timestamped:
		local := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(in.Value)), uint64(in.Time))
		s.tree.Set(in.Key, append(local, in.Value...))
	default:
		s.tree.Set(in.Key, in.Value)
	}
}

// Face is the typed store for a processor.
func (s *Store) Face() any {
	if s.face == nil {
		s.face = s.spec.Opener.Open(s)
	}
	return s.face
}

// Shared is the store for other goroutines.
func (s *Store) Shared() store.Reader { return s.tree.Shared() }
