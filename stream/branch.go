package stream

import (
	"strconv"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
)

// Split starts a switch over the records: each goes to the first branch that takes it.
func (s KStream[K, V]) Split(opts ...Option) BranchedKStream[K, V] {
	branches := &[]branch[K, V]{}
	n := s.s.then("Split", "KSTREAM-BRANCH-", opts, splitBody(branches))
	return BranchedKStream[K, V]{s: &flow{b: s.s.b, n: n, ks: s.s.ks, vs: s.s.vs, rekeyed: s.s.rekeyed}, branches: branches}
}

// BranchedKStream is a switch in the making. Branches are asked in the order they were made.
type BranchedKStream[K, V any] struct {
	s        *flow
	branches *[]branch[K, V]
}

// Branch takes the records that satisfy match and no earlier branch took. Its node is called as the switch, with its own
// name or number behind it.
func (b BranchedKStream[K, V]) Branch(match func(K, V) bool, opts ...Option) KStream[K, V] {
	n := b.add("Branch", b.ways()+1, opts)
	n.Body = passBody[K, V]()
	*b.branches = append(*b.branches, branch[K, V]{node: n, way: func(a *task.Assembly, n *plan.Node) taker[K, V] {
		next := child[K, V](a, n)
		return func(r *task.Rec, k K, v V) (bool, error) {
			if r.Tombstone || !match(k, v) {
				return false, nil
			}
			return true, next(r, k, v)
		}
	}})
	return same[K, V](b.s, n)
}

// BranchAs takes the records that match accepts and no earlier branch took, under a narrower type: a type switch.
func (b BranchedKStream[K, V]) BranchAs[V2 any](match func(K, V) (V2, bool), opts ...Option) KStream[K, V2] {
	n := b.add("BranchAs", b.ways()+1, opts)
	n.Body = passBody[K, V2]()
	*b.branches = append(*b.branches, branch[K, V]{node: n, way: func(a *task.Assembly, n *plan.Node) taker[K, V] {
		next := child[K, V2](a, n)
		return func(r *task.Rec, k K, v V) (bool, error) {
			if r.Tombstone {
				return false, nil
			}
			v2, ok := match(k, v)
			if !ok {
				return false, nil
			}
			return true, next(r, k, v2)
		}
	}})
	return valued[K, V2](b.s, n)
}

// Default takes the rest, tombstones too; without it the rest is dropped.
func (b BranchedKStream[K, V]) Default(opts ...Option) KStream[K, V] {
	for _, w := range *b.branches {
		if w.way == nil {
			b.s.b.at("Default").faultf(w.node.Name, "the switch has a Default already")
		}
	}
	n := b.add("Default", 0, opts)
	n.Body = passBody[K, V]()
	*b.branches = append(*b.branches, branch[K, V]{node: n})
	return same[K, V](b.s, n)
}

// ways is the number of branches but for the default one, which Java does not count.
func (b BranchedKStream[K, V]) ways() (n int) {
	for _, w := range *b.branches {
		if w.way != nil {
			n++
		}
	}
	return n
}

// add makes a branch's node. Its name is the switch's and its own behind it, or its number; either way a number of the
// counter is burned, as in Java.
func (b BranchedKStream[K, V]) add(op string, number int, opts []Option) *plan.Node {
	var set opt.Settings
	for _, o := range opts {
		o.PlainOption(opt.Seal{}, &set)
	}
	b.s.b.graph.Name("KSTREAM-BRANCH-")
	name := b.s.n.Name + set.Name
	if set.Name == "" {
		name = b.s.n.Name + strconv.Itoa(number)
	}
	return b.s.b.at(op).node(plan.Processor, name, b.s.n)
}

// taker is a branch in one task: it says whether it took the record.
type taker[K, V any] = func(r *task.Rec, k K, v V) (bool, error)

// branch is one way out of a switch; one without a way takes the rest.
type branch[K, V any] struct {
	node *plan.Node
	way  func(a *task.Assembly, n *plan.Node) taker[K, V]
}

func splitBody[K, V any](branches *[]branch[K, V]) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		at := n.Index
		var ways []taker[K, V]
		var rest step[K, V]
		for _, c := range n.Children { // the plan's nodes are copies of the builder's: found by name
			for _, b := range *branches {
				switch {
				case b.node.Name != c.Name:
				case b.way == nil:
					rest = child[K, V](a, c)
				default:
					ways = append(ways, b.way(a, c))
				}
			}
		}
		return func(r *task.Rec, k K, v V) error {
			r.At = at
			for _, way := range ways {
				if took, err := way(r, k, v); took || err != nil {
					return err
				}
			}
			if rest != nil {
				return rest(r, k, v)
			}
			if r.Tombstone {
				r.Drop("tombstone")
			}
			return nil
		}
	})
}
