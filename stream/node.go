package stream

import (
	"errors"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// body is what plan.Node.Body holds here: it finds the serdes once, when the topology is built, and returns what makes the
// node in each task.
type body func(rs *resolver, n *plan.Node) (task.Body, error)

// resolver is what a body may ask for.
type resolver struct {
	registry *serde.Registry
	plan     *plan.Plan
	topics   map[string]task.Serdes // what each topic was found to be written or read with
}

// note remembers the serdes of a topic for the test driver. The first to say stands.
func (rs *resolver) note(n *plan.Node, ks, vs any) {
	for _, t := range n.Topics {
		if _, ok := rs.topics[t]; !ok {
			rs.topics[t] = task.Serdes{Key: ks, Value: vs}
		}
	}
}

// simple is a body that needs no serdes.
func simple(f task.Body) body {
	return func(*resolver, *plan.Node) (task.Body, error) { return f, nil }
}

// step is what a node does with a record: K and V are what it takes. A step never keeps r.
type step[K, V any] = func(r *task.Rec, k K, v V) error

// children is the step of all that hang below n. With several, each is a unit of failure: where a handler gives a record
// up, it gives it up for one child, and the others still get it, as in Java.
func children[K, V any](a *task.Assembly, n *plan.Node) step[K, V] { return among[K, V](a, n.Children) }

// among is children for some of them.
func among[K, V any](a *task.Assembly, nodes []*plan.Node) step[K, V] {
	switch len(nodes) {
	case 0:
		return func(*task.Rec, K, V) error { return nil }
	case 1:
		return child[K, V](a, nodes[0])
	}
	all := make([]step[K, V], len(nodes))
	for i, c := range nodes {
		all[i] = guard(child[K, V](a, c))
	}
	return func(r *task.Rec, k K, v V) error {
		for _, next := range all {
			if err := next(r, k, v); err != nil {
				return err
			}
		}
		return nil
	}
}

// child is the step of one node. The typed edge makes nothing else, so the type is right.
func child[K, V any](a *task.Assembly, n *plan.Node) step[K, V] {
	made := a.Made(n).(step[K, V])
	passed := a.Passes(n)
	if passed == nil {
		return made
	}
	return func(r *task.Rec, k K, v V) error {
		*passed++
		return made(r, k, v)
	}
}

// guard makes a step a unit of failure: its errors and panics are settled by the handlers, and the record is as it was
// for whoever comes next. Only a final error comes back.
func guard[K, V any](next step[K, V]) step[K, V] {
	return func(r *task.Rec, k K, v V) error {
		mark := r.Mark()
		err := protected(r, next, k, v)
		if err == nil {
			return nil
		}
		for attempt := 1; ; attempt++ {
			r.Restore(mark)
			retry, final := r.Settle(err, attempt)
			if !retry {
				return final
			}
			if err = protected(r, next, k, v); err == nil {
				return nil
			}
		}
	}
}

func protected[K, V any](r *task.Rec, next step[K, V], k K, v V) (err error) {
	defer r.Recover(&err)
	return next(r, k, v)
}

// faulty makes an error of a node one that knows where it happened. Final errors pass as they are.
func faulty(stage task.Stage, n *plan.Node, err error) error {
	if _, ok := errors.AsType[*task.Fault](err); ok {
		return err
	}
	return &task.Fault{Stage: stage, Node: n.Name, Err: err}
}
