package stream

import (
	"fmt"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// Sources are where bytes become a key and a value.

func sourceBody[K, V any](k, v any, at extractor[K, V]) body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		ks, vs, err := findBoth[K, V](rs, k, v)
		if err != nil {
			return nil, err
		}
		rs.note(n, ks, vs)
		return func(a *task.Assembly, n *plan.Node) any {
			if at != nil {
				a.TimeBy(n, timeBy(at, ks, vs))
			}
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
