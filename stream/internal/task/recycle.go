package task

import "github.com/millrun/millrun/stream/internal/store"

// Recyclable says whether the content of the task's stores can go on without the processors that wrote it.
func (t *Task) Recyclable() bool {
	for _, s := range t.ordered {
		if s.spec.Kind == store.Kept {
			return false // its content is in the hands of a processor
		}
	}
	return true
}

// Recycle ends a task after a commit and makes another of the same name, which begins with the content of its stores. What the
// processors had in mind is gone: others may have been at work on the task before the new one begins.
func (t *Task) Recycle(env Env) (*Task, error) {
	homes := make([]store.Home, len(t.ordered))
	for i, s := range t.ordered {
		homes[i], s.home = s.home, nil
	}
	closed := t.Close()
	for i, s := range t.ordered {
		s.home = homes[i]
	}
	made, err := assembled(t.program, t.id, t.subs, env, t.stores)
	if err != nil {
		return nil, err
	}
	return made, closed
}

// successor is a store of another task with the content of this one.
func (s *Store) successor(t *Task) *Store {
	return &Store{spec: s.spec, task: t, home: s.home, rows: s.rows, windows: s.windows, versions: s.versions, recent: s.recent, expiry: s.expiry, since: s.since, missing: s.missing}
}
