package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
)

// Deduplicate forwards the first of a key's records that have the same id, and drops those whose time is within that first
// one's, before or after; they are counted as dropped, for the reason "duplicate". It repartitions if the key was changed
// before: equal ids under different keys are not compared.
//
// The ids are in a window store with a changelog, so a restart forgets none, and a record that is processed again after a
// crash is known for itself and goes on again. They are kept for state.Retention, by default twice within, counted back
// from the newest record forwarded. A late record whose duplicates are older than that cannot be told from a first one: it
// goes on. So no record is lost, and duplicates are only those that come later than Retention less within.
//
// Options: Named, As, KeySerde for the id, and settings of stores. A tombstone has no value to take an id from and passes.
func (s KStream[K, V]) Deduplicate[ID any](id func(K, V) ID, within time.Duration, opts ...Materialized) KStream[K, V] {
	set := materialized(opts)
	f := s.s
	m := f.b.at("Deduplicate")
	name := f.b.graph.Named(set.Name, "KSTREAM-DEDUPLICATE-")
	if set.StoreName == "" {
		set.StoreName = f.b.graph.StoreName("KSTREAM-DEDUPLICATE-")
	}
	if set.Store != nil {
		m.faultf(name, "Deduplicate keeps a store of its own kind: name it by As instead of Into")
	}
	m.livesLong(name, &set, "ids are kept for state.Retention")
	if within < time.Millisecond {
		m.faultf(name, "Deduplicate within %s finds nothing: the least is a millisecond", within)
	}
	if set.Retention == 0 {
		set.Retention = 2 * within
	} else if set.Retention < within {
		m.faultf(name, "Retention(%s) forgets ids before %s have passed", set.Retention, within)
	}
	n := m.node(plan.Processor, name, rerouteForJoin[K, V](m, f, set.Name, nil, nil).n)
	h := sightings[K, ID](&set, within, f.ks)
	f.b.keep(m, h.Declaration(opt.Seal{}))
	n.Stores = []string{h.Name()}
	n.Body = deduplicateBody(h.Name(), id, within.Milliseconds(), set.Retention.Milliseconds())
	return KStream[K, V]{s: &flow{b: f.b, n: n, ks: f.ks, vs: f.vs}}
}

// sighting is a key and an id that it had.
type sighting[K, ID any] struct {
	key K
	id  ID
}

// sightings declares where they are kept: each at the time of the record that was forwarded, and where that came from.
func sightings[K, ID any](set *opt.Settings, within time.Duration, ks any) state.Handle[state.WindowStore[sighting[K, ID], []byte], state.ReadOnlyWindowStore[sighting[K, ID], []byte]] {
	opts := []state.Option{
		state.KeySerde[sighting[K, ID]](sightingSerde[K, ID]{keys: ks, ids: set.KeySerde}), state.ValueSerde(serde.Bytes()), state.Caching(false),
	}
	switch {
	case set.NoLogging:
		opts = append(opts, state.NoLogging())
	case set.LogConfig != nil:
		opts = append(opts, state.Logging(set.LogConfig))
	}
	if set.Engine == opt.Memory {
		opts = append(opts, state.InMemory())
	}
	// A window store hides what is exactly as old as its retention.
	return state.Window[sighting[K, ID], []byte](set.StoreName, within, set.Retention+time.Millisecond, opts...)
}

// sightingSerde writes the key behind its length, then the id.
type sightingSerde[K, ID any] struct {
	keys, ids any // named or nil: by type
	k         serde.Serde[K]
	id        serde.Serde[ID]
}

// Bind finds both serdes; see store.Binder.
func (s sightingSerde[K, ID]) Bind(r *serde.Registry) (_ any, err error) {
	s.k, s.id, err = findBoth[K, ID](&resolver{registry: r}, s.keys, s.ids)
	return s, err
}

// Append writes both.
func (s sightingSerde[K, ID]) Append(dst []byte, v sighting[K, ID], m serde.Meta) ([]byte, error) {
	at := len(dst)
	dst, err := s.k.Append(append(dst, 0, 0, 0, 0), v.key, m)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	if dst, err = s.id.Append(dst, v.id, m); err != nil {
		return nil, fmt.Errorf("id: %w", err)
	}
	return dst, nil
}

// Decode reads both.
func (s sightingSerde[K, ID]) Decode(b []byte, m serde.Meta) (v sighting[K, ID], err error) {
	key, id, err := layout.ReadForeignKey(b)
	if err != nil {
		return v, err
	}
	if v.key, err = s.k.Decode(key, m); err != nil {
		return v, fmt.Errorf("key: %w", err)
	}
	v.id, err = s.id.Decode(id, m)
	return v, err
}

// deduplicator is the node in one task.
type deduplicator[K, V, ID any] struct {
	node   *plan.Node
	next   step[K, V]
	id     func(K, V) ID
	within int64
	memory int64 // how long ids are known
	seen   state.WindowStore[sighting[K, ID], []byte]
	newest func() int64 // of those forwarded
	origin []byte
}

func deduplicateBody[K, V, ID any](name string, id func(K, V) ID, within, memory int64) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		s, _ := a.Task.Store(name)
		d := &deduplicator[K, V, ID]{
			node: n, next: children[K, V](a, n), id: id, within: within, memory: memory,
			seen: s.Face().(state.WindowStore[sighting[K, ID], []byte]), newest: s.Newest,
		}
		return d.take
	})
}

func (d *deduplicator[K, V, ID]) take(r *task.Rec, k K, v V) error {
	r.At = d.node.Index
	if r.Keyless {
		r.Drop("null")
		return nil
	}
	if r.Tombstone {
		return d.next(r, k, v)
	}
	s := sighting[K, ID]{k, d.id(k, v)}
	d.origin = appendOrigin(d.origin[:0], r.Source)
	seen, itself, err := d.before(s, r.Time)
	if err != nil {
		return faulty(task.Processing, d.node, err)
	}
	if seen && !itself {
		r.Drop("duplicate")
		return nil
	}
	if !seen && r.Time >= d.newest()-d.memory {
		at := time.UnixMilli(r.Time)
		if err := d.seen.Put(s, d.origin, at, at); err != nil {
			return faulty(task.Processing, d.node, err)
		}
	}
	return d.next(r, k, v)
}

// before looks for a record with the same id that was forwarded. It may be the very same one, which is processed again after
// a crash: that goes on, because what it caused may not have arrived.
func (d *deduplicator[K, V, ID]) before(s sighting[K, ID], at int64) (seen, itself bool, err error) {
	rows := d.seen.Fetch(s, time.UnixMilli(at-d.within), time.UnixMilli(at+d.within))
	for _, origin := range rows.All() {
		seen = true
		itself = itself || len(origin) > 0 && bytes.Equal(origin, d.origin)
	}
	return seen, itself, rows.Err()
}

// appendOrigin writes where a record came from; nothing for what a punctuation made.
func appendOrigin(dst []byte, in *task.Input) []byte {
	if in == nil {
		return append(dst, 0)[:0]
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(in.Offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(in.Partition))
	return append(dst, in.Topic...)
}
