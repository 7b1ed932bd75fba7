package stream

import (
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/state"
)

// Lookup replaces the value by what f makes of it with a store at hand: any store of the topology, a table's (Into) or a
// processor's, read only. f may read it as often as it likes, under any key, each answer deciding the next question; an
// error is one of processing. The store is that of the record's partition, so its keys must be partitioned like the stream;
// for what every task needs whole there is GlobalKTable.Get. Lookup shares the task of whoever writes the store, and sees
// what was written before the record came.
func (s KStream[K, V]) Lookup[S, R, V2 any](h state.Handle[S, R], f func(store R, k K, v V) (V2, error), opts ...Option) KStream[K, V2] {
	n := s.s.then("Lookup", "KSTREAM-LOOKUP-", opts, lookupBody[K, V, R](h.Name(), f))
	s.s.b.keep(s.s.b.at("Lookup"), h.Declaration(opt.Seal{}))
	n.Stores = []string{h.Name()}
	return valued[K, V2](s.s, n)
}

func lookupBody[K, V, R, V2 any](name string, f func(R, K, V) (V2, error)) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		next, at := revalued[K, V2](children[K, V2](a, n)), n.Index
		s, _ := a.Task.Store(name)
		store := s.Face().(R) // what a task opens can also be read
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			var v2 V2
			if !r.Tombstone {
				var err error
				if v2, err = f(store, k, v); err != nil {
					return faulty(task.Processing, n, err)
				}
			}
			return next(r, k, v2)
		}
	})
}
