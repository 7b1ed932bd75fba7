package stream

import (
	"fmt"
	"sync"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// changes is the serde of changes in the repartition topic of a grouped table.
type changes[V any] struct {
	vs    serde.Serde[V]
	space *sync.Pool // of *[]byte: where values become bytes before they are put together
}

func newChanges[V any](vs serde.Serde[V]) changes[V] {
	return changes[V]{vs, &sync.Pool{New: func() any { return new([]byte) }}}
}

// Append writes the values that are there.
func (s changes[V]) Append(dst []byte, c change[V], m serde.Meta) (_ []byte, err error) {
	space := s.space.Get().(*[]byte)
	defer s.space.Put(space)
	b := append((*space)[:0], 0)[:0] // not nil, whatever the values are
	if c.hasNew {
		if b, err = s.vs.Append(b, c.new, m); err != nil {
			return dst, err
		}
	}
	end := len(b)
	if c.hasOld {
		if b, err = s.vs.Append(b, c.old, m); err != nil {
			return dst, err
		}
	}
	*space = b
	now, old := b[:end], b[end:]
	if !c.hasNew {
		now = nil
	}
	if !c.hasOld {
		old = nil
	}
	return layout.AppendChange(dst, now, old)
}

// Decode reads the values that are there.
func (s changes[V]) Decode(b []byte, m serde.Meta) (c change[V], err error) {
	now, old, latest, err := layout.ReadChange(b)
	if err != nil {
		return c, err
	}
	c.stale = !latest
	if c.hasNew = now != nil; c.hasNew {
		if c.new, err = s.vs.Decode(now, m); err != nil {
			return c, fmt.Errorf("new value: %w", err)
		}
	}
	if c.hasOld = old != nil; c.hasOld {
		if c.old, err = s.vs.Decode(old, m); err != nil {
			return c, fmt.Errorf("old value: %w", err)
		}
	}
	return c, nil
}

// changeSinkBody writes changes into a repartition topic.
func changeSinkBody[K, V any](k, v any) body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		ks, vs, err := findBoth[K, V](rs, k, v)
		if err != nil {
			return nil, err
		}
		to := fixed[K, change[V]](rs.plan.Topic(n.Topics[0], true))
		return sinkBody(ks, newChanges(vs), to, placing[K, change[V]]{})(rs, n)
	}
}

// changeSourceBody reads them.
func changeSourceBody[K, V any](k, v any) body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		ks, vs, err := findBoth[K, V](rs, k, v)
		if err != nil {
			return nil, err
		}
		return sourceBody[K, change[V]](ks, newChanges(vs), nil)(rs, n)
	}
}
