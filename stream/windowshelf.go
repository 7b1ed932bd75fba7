package stream

import (
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// windowStore is a window store of package state as the operators use it: in milliseconds.
type windowStore[K, V any] interface {
	At(k K, start int64) (v V, at int64, ok bool, err error)
	PutAt(k K, v V, start, at int64) error
	DeleteAt(k K, start, at int64) error
	Each(k K, from, to int64, reverse bool, visit func(start int64, v V, at int64) (bool, error)) error
	Closed(from, to int64, visit func(k K, start int64, v V, at int64) error) error
	Flush(seal opt.Seal, f func(k K, start int64, now, old V, at int64, ok, was bool) error) bool
}

// sessionStore is a session store as the operators use it.
type sessionStore[K, V any] interface {
	At(k K, start, end int64) (v V, ok bool, err error)
	PutAt(k K, start, end int64, v V) error
	DeleteAt(k K, start, end int64) error
	Each(k K, earliestEnd, latestStart int64, visit func(start, end int64, v V) error) error
	Closed(from, to int64, visit func(k K, start, end int64, v V) error) error
	Flush(seal opt.Seal, f func(k K, start, end int64, now, old V, ok, was bool) error) bool
}

// windowShelved opens the store of a windowed table: a shelf[Windowed[K], V].
func windowShelved[K, V any](a *task.Assembly, d *store.Decl, size int64) any {
	s, _ := a.Task.Store(d.Name)
	if d.Kind == store.Session {
		return shelf[Windowed[K], V](sessionShelf[K, V]{s.Face().(sessionStore[K, V])})
	}
	return shelf[Windowed[K], V](windowShelf[K, V]{s.Face().(windowStore[K, V]), size})
}

// windowShelf is the store of a table of time windows.
type windowShelf[K, V any] struct {
	s    windowStore[K, V]
	size int64
}

// key is the windowed key of a window that begins at start.
func (s windowShelf[K, V]) key(k K, start int64) Windowed[K] {
	return Windowed[K]{k, Window{start, endAfter(start, s.size)}}
}

func (s windowShelf[K, V]) get(k Windowed[K]) (row[V], bool, error) {
	v, at, ok, err := s.s.At(k.Key, k.Window.StartMs)
	return row[V]{v, at}, ok, err
}

func (s windowShelf[K, V]) put(k Windowed[K], v V, ok bool, at, made int64) (placed, error) {
	if !ok {
		return latest, s.s.DeleteAt(k.Key, k.Window.StartMs, made)
	}
	return latest, s.s.PutAt(k.Key, v, k.Window.StartMs, at)
}

func (s windowShelf[K, V]) onFlush(f func(k Windowed[K], c change[V], at int64) error) bool {
	return s.s.Flush(opt.Seal{}, func(k K, start int64, now, old V, at int64, ok, was bool) error {
		if !ok {
			at = unknownTime
		}
		return f(s.key(k, start), change[V]{new: now, old: old, hasNew: ok, hasOld: was}, at)
	})
}

// sessionShelf is the store of a table of sessions. A session's time is its end; its changelog has the time of the record
// that changed it.
type sessionShelf[K, V any] struct{ s sessionStore[K, V] }

func (s sessionShelf[K, V]) get(k Windowed[K]) (row[V], bool, error) {
	v, ok, err := s.s.At(k.Key, k.Window.StartMs, k.Window.EndMs)
	return row[V]{v, k.Window.EndMs}, ok, err
}

func (s sessionShelf[K, V]) put(k Windowed[K], v V, ok bool, _, _ int64) (placed, error) {
	if !ok {
		return latest, s.s.DeleteAt(k.Key, k.Window.StartMs, k.Window.EndMs)
	}
	return latest, s.s.PutAt(k.Key, k.Window.StartMs, k.Window.EndMs, v)
}

func (s sessionShelf[K, V]) onFlush(f func(k Windowed[K], c change[V], at int64) error) bool {
	return s.s.Flush(opt.Seal{}, func(k K, start, end int64, now, old V, ok, was bool) error {
		return f(Windowed[K]{k, Window{start, end}}, change[V]{new: now, old: old, hasNew: ok, hasOld: was}, end)
	})
}
