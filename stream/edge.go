package stream

import (
	"fmt"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// The edges of the typed graph: sources, where bytes become a key and a value, and sinks, where they become bytes again.

func sourceBody[K, V any](k, v any) body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		ks, vs, err := findBoth[K, V](rs, k, v)
		if err != nil {
			return nil, err
		}
		rs.note(n, ks, vs)
		return func(a *task.Assembly, n *plan.Node) any {
			return reader(a, n, ks, vs)
		}, nil
	}
}

// reader decodes a record and passes it on.
func reader[K, V any](a *task.Assembly, n *plan.Node, ks serde.Serde[K], vs serde.Serde[V]) func(*task.Rec, []byte, []byte) error {
	next, at, nils := children[K, V](a, n), n.Index, hasNil[V]()
	return func(r *task.Rec, key, value []byte) (err error) {
		r.At = at
		var k K
		var v V
		if key == nil {
			r.Keyless = true
		} else if k, err = ks.Decode(key, meta(r, true)); err != nil {
			return faulty(task.Deserialization, n, fmt.Errorf("key: %w", err))
		}
		if value == nil {
			r.Tombstone = !nils
		} else if v, err = vs.Decode(value, meta(r, false)); err != nil {
			return faulty(task.Deserialization, n, fmt.Errorf("value: %w", err))
		}
		return next(r, k, v)
	}
}

// meta is what a serde is told about the record at work.
func meta(r *task.Rec, key bool) serde.Meta {
	return serde.Meta{Topic: r.Source.Topic, IsKey: key, Headers: &r.Headers}
}

func sinkBody[K, V any](k, v any, choose func(string, K, V, int) int) body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		ks, vs, err := findBoth[K, V](rs, k, v)
		if err != nil {
			return nil, err
		}
		rs.note(n, ks, vs)
		return func(a *task.Assembly, n *plan.Node) any {
			w := &writer[K, V]{
				node: n, topic: rs.plan.Topic(n.Topics[0], n.Internal), ks: ks, vs: vs, choose: choose,
				nilKey: hasNil[K](), nilValue: hasNil[V](),
			}
			return w.write
		}, nil
	}
}

// writer is a sink in one task.
type writer[K, V any] struct {
	node             *plan.Node
	topic            string
	ks               serde.Serde[K]
	vs               serde.Serde[V]
	choose           func(string, K, V, int) int
	nilKey, nilValue bool
	headers          serde.Headers // what the serdes see and set: the record's own are shared with its siblings
}

func (w *writer[K, V]) write(r *task.Rec, k K, v V) (err error) {
	r.At = w.node.Index
	t := r.Task()
	w.headers = r.Headers
	var key, value []byte
	if !r.Keyless && !(w.nilKey && isNil(k)) {
		if key, err = w.ks.Append(t.Space(), k, serde.Meta{Topic: w.topic, IsKey: true, Headers: &w.headers}); err != nil {
			return faulty(task.Serialization, w.node, fmt.Errorf("key: %w", err))
		}
		key = t.Keep(key)
	}
	if !r.Tombstone && !(w.nilValue && isNil(v)) {
		if value, err = w.vs.Append(t.Space(), v, serde.Meta{Topic: w.topic, Headers: &w.headers}); err != nil {
			return faulty(task.Serialization, w.node, fmt.Errorf("value: %w", err))
		}
		value = t.Keep(value)
	}
	partition := task.ByKey
	if w.choose != nil {
		n := int(t.Partitions(w.topic))
		p := w.choose(w.topic, k, v, n)
		if p < 0 || p >= n {
			return faulty(task.Serialization, w.node, fmt.Errorf("the partitioner chose %d of %d", p, n))
		}
		partition = int32(p)
	}
	o := t.Send()
	o.Topic, o.Partition, o.Time = w.topic, partition, r.Time
	o.Key, o.Value, o.Headers = key, value, w.headers
	o.Node, o.Source = w.node.Name, r.Source
	return nil
}
