package stream

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// A stream-table join with grace: the stream waits until the buffer's time, that of the newest record ever held back, has
// passed a record's own by the grace period. Then the table is read as of the record's time.

// withGrace makes the node of a stream-table join hold its records back. What the table cannot promise is a fault.
func withGrace[K, V, V2, R any](m maker, n *plan.Node, t *tableFlow, set *opt.Settings, open viewing[K, V2], l tableLookup[K, V, V2, R]) {
	switch {
	case t.history() == 0:
		m.faultf(n.Name, "GracePeriod needs a versioned table, and one that is read as it is: keep it Into a state.Versioned")
		return
	case set.Grace < 0:
		m.faultf(n.Name, "GracePeriod(%s) is negative", set.Grace)
	case t.history() < set.Grace:
		m.faultf(n.Name, "GracePeriod(%s) is longer than the table's history of %s, which would be gone by then: give the table's store a longer one", set.Grace, t.history())
	}
	d := heldDecl(n.Name+"-Buffer", set.KeySerde, set.ValueSerde, newGraceBuffer[K, V])
	m.b.keep(m, d)
	n.Stores = append(slices.Clip(n.Stores), d.Name)
	n.Body = graceBody(d.Name, set.Grace.Milliseconds(), open, l)
}

// newGraceBuffer makes the buffer of a task.
func newGraceBuffer[K, V any](o *heldOpener[K, V], log store.Log) any {
	return &graceBuffer[K, V]{rows: store.NewTree(), time: unknownTime, log: log, ks: o.ks, vs: o.vs, topic: o.topic}
}

// graceBuffer holds records back, in one task, by time and then by key. It is the store's Keeper. What comes and goes is
// told to the changelog at once.
type graceBuffer[K, V any] struct {
	rows  *store.Tree // by the changelog's keys, which begin with the time
	time  int64       // the newest that was ever held
	seq   int32       // tells records of one key and time apart
	log   store.Log
	ks    serde.Serde[K]
	vs    serde.Serde[V]
	topic string

	headers         serde.Headers // what serdes see and set
	key, row, value []byte
}

func (b *graceBuffer[K, V]) meta(isKey bool) serde.Meta {
	return serde.Meta{Topic: b.topic, IsKey: isKey, Headers: &b.headers}
}

// put holds the record at work back.
func (b *graceBuffer[K, V]) put(r *task.Rec, k K, v V) (err error) {
	b.headers = r.Headers
	if b.key, err = b.ks.Append(b.key[:0], k, b.meta(true)); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if b.value, err = b.vs.Append(append(b.value[:0], 0)[:0], v, b.meta(false)); err != nil {
		return fmt.Errorf("value: %w", err)
	}
	held := store.BufferValue{New: b.value}
	held.Context = layout.Context[serde.Header]{Time: r.Time, Offset: -1, Partition: -1, Headers: b.headers}
	if in := r.Source; in != nil {
		held.Context.Topic, held.Context.Partition, held.Context.Offset = in.Topic, in.Partition, in.Offset
	}
	b.seq = (b.seq + 1) & math.MaxInt32
	b.row = layout.AppendTimeFirstWindowKey(b.row[:0], b.key, r.Time, b.seq)
	row := layout.AppendBufferValue(nil, &held, 0)
	b.rows.Set(b.row, row)
	b.time = max(b.time, r.Time)
	b.log.Log(store.Write{Key: b.row, Plain: row, Time: store.NoTime})
	return nil
}

// Restore applies a record of the changelog. Deletions tell the time, too. The numbers go on behind those that were given,
// so that no record takes another's place; Kafka Streams begins anew.
func (b *graceBuffer[K, V]) Restore(r store.Logged) error {
	_, at, seq, err := layout.ReadTimeFirstWindowKey(r.Key)
	if err == nil && r.Value != nil {
		_, err = readHeld(r.Value)
	}
	if err != nil {
		return err
	}
	b.time, b.seq = max(b.time, at), max(b.seq, seq)
	b.rows.Set(r.Key, r.Value)
	return nil
}

// readHeld takes a row apart.
func readHeld(b []byte) (store.BufferValue, error) {
	v, _, err := layout.ReadBufferValue(layout.BufferV3, b, layout.Context[serde.Header]{}, nil)
	return v, err
}

// Amend tells the changelog again what is held in a row.
func (b *graceBuffer[K, V]) Amend(row []byte) {
	held, _, _ := b.rows.Get(row) // of a tree: it does not fail
	b.log.Log(store.Write{Key: row, Plain: held, Time: store.NoTime})
}

// Flush has nothing to do.
func (*graceBuffer[K, V]) Flush() error { return nil }

// settled is a record whose grace is over.
type settled[K, V any] struct {
	row     []byte
	key     K
	value   V
	context layout.Context[serde.Header]
}

// first is the record that goes next, if its time is not after until.
func (b *graceBuffer[K, V]) first(until int64) (s settled[K, V], ok bool, err error) {
	row, value, ok, err := b.rows.Seek(nil, false, false)
	if !ok || err != nil {
		return s, false, err
	}
	key, at, _, err := layout.ReadTimeFirstWindowKey(row)
	if err != nil || at > until {
		return s, false, err
	}
	held, err := readHeld(value)
	if err != nil {
		return s, false, err
	}
	b.headers = held.Context.Headers
	s.row, s.context = row, held.Context
	if s.key, err = b.ks.Decode(key, b.meta(true)); err != nil {
		return s, false, fmt.Errorf("key: %w", err)
	}
	if s.value, err = b.vs.Decode(held.New, b.meta(false)); err != nil {
		return s, false, fmt.Errorf("value: %w", err)
	}
	return s, true, nil
}

// remove lets go of a record.
func (b *graceBuffer[K, V]) remove(row []byte) {
	b.row = append(b.row[:0], row...) // row is the tree's own
	b.rows.Set(b.row, nil)
	b.log.Log(store.Write{Key: b.row, Time: store.NoTime})
}

// graceJoiner is a stream-table join with grace in one task.
type graceJoiner[K, V, V2, R any] struct {
	*tableLooker[K, V, V2, R]
	buffer *graceBuffer[K, V]
	grace  int64
	settle step[K, V] // each record that was held back is a unit of failure: the others still come
}

func graceBody[K, V, V2, R any](buffer string, grace int64, open viewing[K, V2], l tableLookup[K, V, V2, R]) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		kept, _ := a.Task.Store(buffer)
		j := &graceJoiner[K, V, V2, R]{
			tableLooker: newTableLooker(a, n, open, l), buffer: kept.Face().(*graceBuffer[K, V]), grace: grace,
		}
		j.settle = guard(j.lookUp)
		return j.take
	})
}

// take holds a record back and joins those whose grace is over. A record that comes too late to wait is joined at once, and
// so is one without key, which no table has a row for.
func (j *graceJoiner[K, V, V2, R]) take(r *task.Rec, k K, v V) error {
	r.At = j.node.Index
	if j.useless(r, k, v) {
		r.Drop("null")
		return nil
	}
	if j.keyless(r, k) || r.Time < j.buffer.time-j.grace {
		return j.lookUp(r, k, v)
	}
	if err := j.buffer.put(r, k, v); err != nil {
		return faulty(task.Serialization, j.node, err)
	}
	for {
		s, ok, err := j.buffer.first(j.buffer.time - j.grace)
		if err != nil {
			return faulty(task.Deserialization, j.node, err)
		}
		if !ok {
			return nil
		}
		if err := j.emit(r, &s); err != nil {
			return err
		}
		j.buffer.remove(s.row)
	}
}

// emit joins a record that was held back, as itself.
func (j *graceJoiner[K, V, V2, R]) emit(r *task.Rec, s *settled[K, V]) error {
	was := *r
	defer func() { *r = was }()
	x := &s.context
	r.Time, r.Headers, r.Source = x.Time, x.Headers, nil
	if x.Topic != "" { // otherwise it came from a punctuation
		r.Source = &task.Input{Topic: x.Topic, Partition: x.Partition, Offset: x.Offset, Epoch: -1, Time: x.Time, Headers: x.Headers}
	}
	return j.settle(r, s.key, s.value)
}
