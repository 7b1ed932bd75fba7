package task

import (
	"errors"
	"fmt"

	"github.com/millrun/millrun/stream/internal/store"
)

// maps are where a store keeps its rows, and the second order that some need: in its home, or in memory.
func (s *Store) maps() (rows, second store.Map, err error) {
	if !s.spec.OnDisk || s.task.env.Home == nil {
		return store.NewTree(), store.NewTree(), nil
	}
	if s.home, err = s.task.env.Home(s.spec.Name); err != nil {
		return nil, nil, fmt.Errorf("store %s: %w", s.spec.Name, err)
	}
	return s.home.Map(store.Rows), s.home.Map(store.Second), nil
}

// unread makes an error of reading the store one that no handler can answer: it is not the record's fault.
func (s *Store) unread(err error) error {
	if err == nil {
		return nil
	}
	return &Fault{Stage: Processing, Node: s.spec.Name, Err: fmt.Errorf("store %s: %w", s.spec.Name, err), Final: true}
}

// spoil keeps the first error of a restoration, which ends the task.
func (s *Store) spoil(err error) {
	if err != nil && s.task.broken == nil {
		s.task.broken = s.unread(err)
	}
}

// noting is what has more to remember than rows.
type noting interface {
	Note() []byte
	Resume(note []byte)
}

// noted is what of the store has more to remember; nil if nothing has.
func (s *Store) noted() noting {
	switch {
	case s.windows != nil:
		return s.windows
	case s.versions != nil:
		return s.versions
	}
	return nil
}

// Mark says what the rows of a store are worth that outlived the last task; false if the store begins empty.
func (t *Task) Mark(name string) (store.Mark, bool) {
	if s := t.stores[name]; s.home != nil {
		m := s.home.Mark()
		return m, m.Position != store.NoPosition
	}
	return store.Mark{Position: store.NoPosition}, false
}

// Save makes a store's rows outlive the task as they are now. They are worth everything before position in the task's
// partition of the topic with this id. A store in memory has nothing to save.
func (t *Task) Save(name string, topic [16]byte, position int64) error {
	s := t.stores[name]
	if s.home == nil {
		return nil
	}
	m := store.Mark{Topic: topic, Position: position}
	if n := s.noted(); n != nil {
		m.Note = n.Note()
	}
	if err := s.home.Commit(m); err != nil {
		return fmt.Errorf("stream: store %s: %w", name, err)
	}
	return nil
}

// Unsaved is how much memory the changes take that were not saved, in bytes.
func (t *Task) Unsaved() (n int64) {
	for _, s := range t.ordered {
		if s.home != nil {
			n += s.home.Pending()
		}
	}
	return n
}

// closeHomes ends what stores keep on disk: it holds what was saved last.
func (t *Task) closeHomes() error {
	var errs []error
	for _, s := range t.ordered {
		if s.home != nil {
			errs = append(errs, s.home.Close())
		}
	}
	return errors.Join(errs...)
}
