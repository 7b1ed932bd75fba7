package stream

import (
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/state"
)

// Versioned tables. A change that does not make its key's current row is stale (change.stale): it is passed on, so that a
// stream of the table sees it, and whatever holds one row per key leaves it out: joins of tables, groupings. A table has
// versions if it is kept in a state.Versioned, or if it is computed, without a store of its own, from one that has.

// history is how far back the table knows its rows: 0 if it has no versions.
func (t *tableFlow) history() time.Duration {
	switch {
	case t.decl != nil && t.decl.Kind == store.Versioned:
		return t.decl.History
	case t.decl == nil && t.above != nil:
		return t.above.history()
	default:
		return 0
	}
}

// versionedShelf is the store of a table with versions.
type versionedShelf[K, V any] struct {
	s state.VersionedStore[K, V]
	p dater[K, V]
}

// dater is how such a store is written.
type dater[K, V any] interface {
	PlaceVersion(seal opt.Seal, k K, v V, ok bool, at int64) (current, stored bool, err error)
}

func (s versionedShelf[K, V]) get(k K) (row[V], bool, error) { return rowOf(s.s.Get(k)) }

func (s versionedShelf[K, V]) asOf(k K, at int64) (row[V], bool, error) {
	return rowOf(s.s.GetAsOf(k, time.UnixMilli(at)))
}

func rowOf[V any](v state.Version[V], ok bool, err error) (row[V], bool, error) {
	return row[V]{v.Value, v.From.UnixMilli()}, ok, err
}

// put keeps a version; a deletion is one, too, and has its place in time.
func (s versionedShelf[K, V]) put(k K, v V, ok bool, at, _ int64) (placed, error) {
	current, stored, err := s.p.PlaceVersion(opt.Seal{}, k, v, ok, at)
	switch {
	case err != nil || !stored:
		return refused, err
	case current:
		return latest, nil
	default:
		return past, nil
	}
}

// onFlush says that versions are never cached.
func (versionedShelf[K, V]) onFlush(func(K, change[V], int64) error) bool { return false }
