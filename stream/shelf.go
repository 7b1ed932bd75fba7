package stream

import (
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/state"
)

// row is a table's value of a key, as of when it is read, and the time it is of in milliseconds.
type row[V any] struct {
	value V
	time  int64
}

// shelf is the store of a table in one task, whatever kind of store that is.
type shelf[K, V any] interface {
	// get finds the current row.
	get(k K) (row[V], bool, error)
	// put keeps a value, or deletes the key if ok is false, as of a time; made is the time of the record that makes the
	// change, which may lie before.
	put(k K, v V, ok bool, at, made int64) (placed, error)
	// onFlush names who is told of changes that leave the store's cache: then nothing is to be forwarded at the time of
	// the put. It returns false, and nobody is told, if there is no cache.
	onFlush(f func(k K, c change[V], at int64) error) bool
}

// placed says what became of a put. Only a versioned store gives another answer than latest.
type placed uint8

const (
	latest  placed = iota // it is the current row now
	past                  // it lies behind a later row
	refused               // it is older than the store's history: nothing was kept
)

// viewer reads a table's rows from a node that is connected to the table's stores, in one task.
type viewer[K, V any] struct {
	get func(k K) (row[V], bool, error)
	// asOf finds the row that held at a time, in milliseconds; nil unless the table is versioned.
	asOf func(k K, at int64) (row[V], bool, error)
}

// viewing makes a viewer in each task.
type viewing[K, V any] = func(a *task.Assembly) viewer[K, V]

// viewOf is how a node below reads the table t, and the stores it has to be connected to. The table keeps a store from then
// on, unless it can be computed from those above it.
func viewOf[K, V any](t *tableFlow) (viewing[K, V], []string) {
	open, stores := t.view()
	return open.(viewing[K, V]), stores
}

// shelfView reads the table's own store.
func shelfView[K, V any](t *tableFlow) (any, []string) {
	return func(a *task.Assembly) viewer[K, V] {
		own := shelved[K, V](a, t)
		v := viewer[K, V]{get: own.get}
		if s, ok := own.(versionedShelf[K, V]); ok {
			v.asOf = s.asOf
		}
		return v
	}, []string{t.decl.Name}
}

// mappedView computes rows from those of the table above: f returns false for a row that is not there.
func mappedView[K, V, V2 any](from *tableFlow, f func(K, V) (V2, bool)) (any, []string) {
	open, stores := viewOf[K, V](from)
	return func(a *task.Assembly) viewer[K, V2] {
		above := open(a)
		one := func(k K, r row[V], ok bool, err error) (out row[V2], _ bool, _ error) {
			if !ok || err != nil {
				return out, false, err
			}
			v, ok := f(k, r.value)
			if !ok {
				return out, false, nil // a filter's f has returned the value all the same
			}
			return row[V2]{v, r.time}, true, nil
		}
		v := viewer[K, V2]{get: func(k K) (row[V2], bool, error) {
			r, ok, err := above.get(k)
			return one(k, r, ok, err)
		}}
		if above.asOf != nil {
			v.asOf = func(k K, at int64) (row[V2], bool, error) {
				r, ok, err := above.asOf(k, at)
				return one(k, r, ok, err)
			}
		}
		return v
	}, stores
}

// shelved opens a table's store.
func shelved[K, V any](a *task.Assembly, t *tableFlow) shelf[K, V] {
	if t.shelf != nil {
		return t.shelf(a).(shelf[K, V])
	}
	s, _ := a.Task.Store(t.decl.Name)
	if v, ok := s.Face().(state.VersionedStore[K, V]); ok {
		return versionedShelf[K, V]{v, v.(dater[K, V])}
	}
	return timestampedShelf[K, V]{s.Face().(state.TimestampedKeyValueStore[K, V])}
}

// timestampedShelf is a plain table's store.
type timestampedShelf[K, V any] struct {
	s state.TimestampedKeyValueStore[K, V]
}

func (s timestampedShelf[K, V]) get(k K) (row[V], bool, error) {
	v, ok, err := s.s.GetTimestamped(k)
	return row[V]{v.Value, v.Time.UnixMilli()}, ok, err
}

// put keeps a row at its time; a deletion is as old as the record that makes it.
func (s timestampedShelf[K, V]) put(k K, v V, ok bool, at, made int64) (placed, error) {
	if !ok {
		return latest, s.s.Delete(k, time.UnixMilli(made))
	}
	return latest, s.s.Put(k, v, time.UnixMilli(at))
}

// flushes is a store whose cache tells what leaves it.
type flushes[K, V any] interface {
	Flush(seal opt.Seal, f func(k K, now, old state.Timestamped[V], ok, was bool) error) bool
}

func (s timestampedShelf[K, V]) onFlush(f func(k K, c change[V], at int64) error) bool {
	return s.s.(flushes[K, V]).Flush(opt.Seal{}, func(k K, now, old state.Timestamped[V], ok, was bool) error {
		c := change[V]{new: now.Value, old: old.Value, hasNew: ok, hasOld: was}
		if !ok {
			return f(k, c, unknownTime)
		}
		return f(k, c, now.Time.UnixMilli())
	})
}

// unknownTime is the time of a deletion that leaves a cache: that of the record that made it.
const unknownTime = -1

// rows keeps changes in a table's store, if it has one, and passes them on: at once, or when they leave the store's cache.
type rows[K, V any] struct {
	node    *plan.Node
	shelf   shelf[K, V] // nil: none
	cached  bool
	oldest  func() int64 // the least time of a row; nil: rows live for ever
	next    step[K, change[V]]
	sendOld bool
	bare    bool // what is passed on at once carries no headers
}

// newRows is the end of a table node in one task.
func newRows[K, V any](a *task.Assembly, n *plan.Node, t *tableFlow) *rows[K, V] {
	s := &rows[K, V]{node: n, next: children[K, change[V]](a, n), sendOld: t.sendOld}
	if t.decl != nil {
		s.keep(a, shelved[K, V](a, t))
		s.age(a, t.decl.Name)
	}
	return s
}

// keep gives the rows a store and hears of what leaves its cache.
func (s *rows[K, V]) keep(a *task.Assembly, own shelf[K, V]) {
	s.shelf = own
	next := guard(s.next)
	s.cached = own.onFlush(func(k K, c change[V], at int64) error {
		r := a.Task.Rec()
		r.At = s.node.Index
		if at != unknownTime {
			r.Time = at
		}
		if !s.sendOld {
			c.hasOld = false
			blank(&c)
		}
		return next(r, k, c)
	})
}

// pass keeps a change at the time of the record and passes it on.
func (s *rows[K, V]) pass(r *task.Rec, k K, c change[V]) error {
	if s.shelf == nil {
		return s.next(r, k, c)
	}
	if s.sendOld && !s.cached && s.oldest == nil {
		old, ok, err := s.shelf.get(k)
		if err != nil {
			return faulty(task.Processing, s.node, err)
		}
		c.old, c.hasOld = old.value, ok
	}
	return s.put(r, k, c, r.Time)
}

// put keeps a change whose old value is known, and passes it on at the time at.
func (s *rows[K, V]) put(r *task.Rec, k K, c change[V], at int64) error {
	if s.oldest != nil {
		if at < s.oldest() && c.hasNew {
			r.Drop("expired")
			return nil
		}
		if err := s.recall(k, &c); err != nil {
			return err
		}
	}
	where, err := s.shelf.put(k, c.new, c.hasNew, at, r.Time)
	if err != nil {
		return faulty(task.Processing, s.node, err)
	}
	if where == refused || s.cached {
		return nil
	}
	c.stale = where == past
	was, headers := r.Time, r.Headers
	r.Time = at
	if s.bare {
		r.Headers = nil
	}
	err = s.next(r, k, c)
	r.Time, r.Headers = was, headers
	return err
}
