package stream

import (
	"reflect"
	"slices"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// TransformValues is MapValues with stores and a context. The processor sees deletions too. What it forwards is the row's
// new value, the last one if it forwards several times; a tombstone, or nothing, deletes the row. Times and headers stay
// those of the change.
//
// Where rows are read that the table does not keep, or their old values are asked for, the processor is run for them as
// well: it should compute the same again, or the table should be kept by As or Into.
func (t KTable[K, V]) TransformValues[V2 any, P FixedKeyProcessor[K, V, V2]](supplier func() P, opts ...Materialized) KTable[K, V2] {
	set := materialized(opts)
	set.Kept = set.StoreName != "" // unlike those of Filter and MapValues, a Materialized without a name burns no number
	out, m := derived[K, V2](t.t, "TransformValues", "KTABLE-TRANSFORMVALUES-", set, nil)
	checkLife[*FixedKeyProcessorContext[K, V2]](m, out.n.Name, reflect.TypeFor[P]())
	out.n.Stores = nil
	m.uses(out.n, &set)
	used := out.n.Stores
	out.n.Stores = union(used, out.stores())
	none := noneOf[V2](m, set.Empty)
	out.n.Body = transformBody[K, V, V2](out, supplier, none)
	from := t.t
	out.old = func(force bool) bool {
		if out.decl != nil || from.old(force) {
			out.sendOld = true
		}
		return out.sendOld
	}
	out.view = func() (any, []string) {
		if out.decl != nil {
			return shelfView[K, V2](out)
		}
		return transformedView[K, V, V2](from, out.n.Name, supplier, none, used)
	}
	return KTable[K, V2]{t: out}
}

// transformer runs a processor as a function, in one task.
type transformer[K, V, V2 any] struct {
	ctx    *FixedKeyProcessorContext[K, V2]
	p      FixedKeyProcessor[K, V, V2]
	none   func(V2) bool
	result V2
	ok     bool
}

// newTransformer makes a processor whose way to its children ends in the transformer. Its stores are those of n.
func newTransformer[K, V, V2 any](a *task.Assembly, n *plan.Node, p FixedKeyProcessor[K, V, V2], none func(V2) bool) *transformer[K, V, V2] {
	t := &transformer[K, V, V2]{p: p, none: none}
	t.ctx = &FixedKeyProcessorContext[K, V2]{TaskContext: TaskContext{a.Task, n}, out: forwarder[K, V2]{
		t: a.Task, node: n, next: t.took, nilKey: hasNil[K](), nilValue: hasNil[V2](),
	}}
	alive(a, n, any(p), t.ctx)
	return t
}

// took is what the processor forwards to.
func (t *transformer[K, V, V2]) took(r *task.Rec, _ K, v V2) error {
	t.result, t.ok = v, !(r.Tombstone || t.none != nil && t.none(v))
	return nil
}

// run calls the processor for a value, or for none.
func (t *transformer[K, V, V2]) run(k K, v V, ok bool, at time.Time, h serde.Headers) (out V2, _ bool, err error) {
	t.result, t.ok = out, false
	err = t.p.Process(t.ctx, FixedKeyRecord[K, V]{key: k, Value: v, Timestamp: at, Headers: h, Tombstone: !ok})
	if err != nil || !t.ok {
		return out, false, err
	}
	return t.result, true, nil
}

func transformBody[K, V, V2 any, P FixedKeyProcessor[K, V, V2]](t *tableFlow, supplier func() P, none func(V2) bool) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s := newRows[K, V2](a, n, t)
		f := newTransformer(a, n, FixedKeyProcessor[K, V, V2](supplier()), none)
		compute := t.sendOld && t.decl == nil
		return func(r *task.Rec, k K, c change[V]) (err error) {
			r.At = n.Index
			out := change[V2]{stale: c.stale}
			if out.new, out.hasNew, err = f.run(k, c.new, c.hasNew, instant(r.Time), r.Headers); err != nil {
				return faulty(task.Processing, n, err)
			}
			if compute {
				if out.old, out.hasOld, err = f.run(k, c.old, c.hasOld, instant(r.Time), r.Headers); err != nil {
					return faulty(task.Processing, n, err)
				}
			}
			return s.pass(r, k, out)
		}
	})
}

// transformedView computes rows by a processor of its own, which works in the name of the operator's node. As in Java it is
// asked about rows that are not there, too.
func transformedView[K, V, V2 any, P FixedKeyProcessor[K, V, V2]](from *tableFlow, name string, supplier func() P, none func(V2) bool, used []string) (any, []string) {
	open, stores := viewOf[K, V](from)
	return func(a *task.Assembly) viewer[K, V2] {
		above := open(a)
		f := newTransformer(a, nodeNamed(a, name), FixedKeyProcessor[K, V, V2](supplier()), none)
		one := func(k K, r row[V], ok bool, err error) (row[V2], bool, error) {
			if err != nil {
				return row[V2]{}, false, err
			}
			if !ok {
				r.time = unknownTime
			}
			v, ok, err := f.run(k, r.value, ok, before(r.time), nil)
			return row[V2]{v, r.time}, ok, err
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
	}, union(stores, used)
}

// nodeNamed finds a node that is in the plan.
func nodeNamed(a *task.Assembly, name string) *plan.Node {
	all := a.Task.Program().Plan.Nodes
	return all[slices.IndexFunc(all, func(n *plan.Node) bool { return n.Name == name })]
}
