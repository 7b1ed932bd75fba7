package stream

import (
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// The nodes of stateless operators. In all of them r.Tombstone is set only where V has no nil: then the function is not
// called, because there is nothing to call it with.

func filterBody[K, V any](keep func(K, V) bool, want bool) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := children[K, V](a, n), n.Index
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if !r.Tombstone && keep(k, v) != want {
				return nil
			}
			return next(r, k, v)
		}
	})
}

func mapValuesBody[K, V, V2 any](f func(K, V) V2) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := revalued[K, V2](children[K, V2](a, n)), n.Index
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if r.Tombstone {
				var none V2
				return next(r, k, none)
			}
			return next(r, k, f(k, v))
		}
	})
}

// revalued passes a tombstone on into a type that says null by nil.
func revalued[K, V any](next step[K, V]) step[K, V] {
	if !hasNil[V]() {
		return next
	}
	return func(r *task.Rec, k K, v V) error {
		if !r.Tombstone {
			return next(r, k, v)
		}
		r.Tombstone = false
		err := next(r, k, v)
		r.Tombstone = true
		return err
	}
}

// rekeyed gives a record a new key: it has one then, unless that is nil.
func rekeyed[K, V any](next step[K, V]) step[K, V] {
	nils := hasNil[K]()
	return func(r *task.Rec, k K, v V) error {
		was := r.Keyless
		r.Keyless = nils && isNil(k)
		err := next(r, k, v)
		r.Keyless = was
		return err
	}
}

func mapBody[K, V, K2, V2 any](f func(K, V) (K2, V2)) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := rekeyed(children[K2, V2](a, n)), n.Index
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if r.Tombstone {
				r.Drop("tombstone")
				return nil
			}
			k2, v2 := f(k, v)
			return next(r, k2, v2)
		}
	})
}

func selectKeyBody[K, V, K2 any](key func(K, V) K2) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := rekeyed(children[K2, V](a, n)), n.Index
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if r.Tombstone {
				r.Drop("tombstone")
				return nil
			}
			return next(r, key(k, v), v)
		}
	})
}

// emission is the state of an emit function: made once per task and node, so that emitting allocates nothing.
type emission struct {
	r   *task.Rec
	err error
}

func flatMapBody[K, V, K2, V2 any](f func(K, V, func(K2, V2))) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := guard(rekeyed(children[K2, V2](a, n))), n.Index
		e := &emission{}
		emit := func(k K2, v V2) {
			if e.err == nil {
				e.err = next(e.r, k, v)
				e.r.At = at
			}
		}
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if r.Tombstone {
				r.Drop("tombstone")
				return nil
			}
			*e = emission{r: r}
			f(k, v, emit)
			return e.err
		}
	})
}

func flatMapValuesBody[K, V, V2 any](f func(K, V, func(V2))) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := guard(children[K, V2](a, n)), n.Index
		e := &emission{}
		var key K
		emit := func(v V2) {
			if e.err == nil {
				e.err = next(e.r, key, v)
				e.r.At = at
			}
		}
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if r.Tombstone {
				r.Drop("tombstone")
				return nil
			}
			*e, key = emission{r: r}, k
			f(k, v, emit)
			return e.err
		}
	})
}

func peekBody[K, V any](f func(K, V)) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := children[K, V](a, n), n.Index
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if !r.Tombstone {
				f(k, v)
			}
			return next(r, k, v)
		}
	})
}

func forEachBody[K, V any](f func(K, V)) body {
	return simple(func(_ *task.Assembly, n *plan.Node) any {
		at := n.Index
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if r.Tombstone {
				r.Drop("tombstone")
				return nil
			}
			f(k, v)
			return nil
		}
	})
}

// passBody is a node that is there for its name: a merge, a branch.
func passBody[K, V any]() body {
	return simple(func(a *task.Assembly, n *plan.Node) any { return children[K, V](a, n) })
}
