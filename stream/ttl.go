package stream

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// Tables whose rows live for a time only (state.TTL). The task deletes them as its stream time moves; what is here passes the
// deletions on and keeps late updates out.

// mortal is a store whose rows may live for a time only.
type mortal[K, V any] interface {
	Expire(seal opt.Seal, f func(k K, old V) error) (oldest func() int64)
}

// age hears of rows that are deleted for their age, and passes the deletions on.
func (s *rows[K, V]) age(a *task.Assembly, name string) {
	kept, _ := a.Task.Store(name)
	m, ok := kept.Face().(mortal[K, V])
	if !ok {
		return
	}
	next := guard(s.next)
	s.oldest = m.Expire(opt.Seal{}, func(k K, old V) error {
		r := a.Task.Rec()
		r.At = s.node.Index
		c := change[V]{old: old, hasOld: s.sendOld}
		blank(&c)
		return next(r, k, c)
	})
}

// recall makes the old value of a change what the store holds, which may have been deleted for its age since the node above
// computed it: below, a row must not be taken out twice.
func (s *rows[K, V]) recall(k K, c *change[V]) error {
	if !s.sendOld {
		return nil
	}
	old, ok, err := s.shelf.get(k)
	if err != nil {
		return faulty(task.Processing, s.node, err)
	}
	c.old, c.hasOld = old.value, ok
	return nil
}

// living notes of a table's store that its rows live for a time only.
func (m maker) living(d *store.Decl) {
	s, ok := m.b.graph.Store(d.Name)
	if !ok || d.TTL == 0 {
		return
	}
	if s.Ending {
		m.faultf(d.Name, "the store %q has a state.TTL and two tables: give each its own", d.Name)
	}
	s.Ending = true
}

// windowsLive is why windows have no TTL.
const windowsLive = "windows are kept for state.Retention"

// livesLong makes an option TTL a fault where it would have no effect.
func (m maker) livesLong(node string, set *opt.Settings, why string) {
	if set.TTL != 0 {
		m.faultf(node, "state.TTL does not fit here: %s", why)
	}
}

// endless says why a store cannot have the TTL it was declared with.
func endless(d *store.Decl, s *plan.Store) error {
	switch {
	case d.TTL == 0:
		return nil
	case d.TTL < time.Millisecond:
		return errors.New("state.TTL needs a time of a millisecond or more")
	case d.LRU != 0:
		return errors.New("state.TTL and state.LRU exclude each other: a row that LRU drops is told to nobody")
	case d.Kind != store.Timestamped:
		return errors.New("state.TTL needs a table's store of one row a key: windows and sessions have a retention, versions a history")
	case s.Global || !s.Ending:
		return fmt.Errorf("state.TTL needs a table of the DSL: nobody would delete the rows of %q in time", d.Name)
	default:
		return nil
	}
}
