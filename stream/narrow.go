package stream

import (
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// FilterMapValues keeps and replaces in one step, as a type switch does.
func (s KStream[K, V]) FilterMapValues[V2 any](f func(K, V) (V2, bool), opts ...Option) KStream[K, V2] {
	return valued[K, V2](s.s, s.s.then("FilterMapValues", "KSTREAM-FILTERMAPVALUES-", opts, filterMapValuesBody(f)))
}

func filterMapValuesBody[K, V, V2 any](f func(K, V) (V2, bool)) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := revalued[K, V2](children[K, V2](a, n)), n.Index
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if r.Tombstone {
				var none V2
				return next(r, k, none)
			}
			v2, ok := f(k, v)
			if !ok {
				return nil
			}
			return next(r, k, v2)
		}
	})
}

// Pointers turns tombstones into nil pointers, which functions see. (A method would be an instantiation cycle.)
func Pointers[K, V any](s KStream[K, V]) KStream[K, *V] {
	n := s.s.then("Pointers", "KSTREAM-MAPVALUES-", nil, pointersBody[K, V]())
	out := valued[K, *V](s.s, n)
	if vs, ok := s.s.vs.(serde.Serde[V]); ok {
		out.s.vs = serde.Pointer(vs)
	}
	return out
}

func pointersBody[K, V any]() body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := children[K, *V](a, n), n.Index
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			if !r.Tombstone {
				return next(r, k, &v)
			}
			r.Tombstone = false
			err := next(r, k, nil)
			r.Tombstone = true
			return err
		}
	})
}

// Values turns nil pointers into tombstones.
func Values[K, V any](s KStream[K, *V]) KStream[K, V] {
	n := s.s.then("Values", "KSTREAM-MAPVALUES-", nil, valuesBody[K, V]())
	return valued[K, V](s.s, n)
}

func valuesBody[K, V any]() body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at, nils := children[K, V](a, n), n.Index, hasNil[V]()
		return func(r *task.Rec, k K, v *V) error {
			r.At = at
			if v != nil {
				return next(r, k, *v)
			}
			var none V
			r.Tombstone = !nils
			err := next(r, k, none)
			r.Tombstone = false
			return err
		}
	})
}
