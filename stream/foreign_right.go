package stream

import (
	"bytes"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
)

// The right side of a foreign-key join: the store of subscriptions, and who answers them.

// subscriptions declares the store: which left rows refer to a right row. Its keys begin with the right row's, so that all
// who refer to it are neighbours.
func subscriptions(name string) *store.Decl {
	return state.TimestampedKeyValue[[]byte, []byte](name, state.KeySerde(serde.Bytes()), state.ValueSerde(serde.Bytes())).Declaration(opt.Seal{})
}

// subscribed opens the store in one task. The join works on its bytes: the changelog gets the headers of the record that
// subscribed, which the typed store knows nothing of.
func subscribed(a *task.Assembly, name string) store.Bytes {
	s, _ := a.Task.Store(name)
	return s
}

// receiver keeps subscriptions and passes them on.
type receiver[FK any] struct {
	node  *plan.Node
	next  step[FK, layout.Subscription]
	store store.Bytes
	key   coder[FK]
	full  []byte
	local []byte
}

func receiveBody[FK any](s subscribing) body {
	return func(rs *resolver, _ *plan.Node) (task.Body, error) {
		fks, err := find[FK](rs, s.fks)
		if err != nil {
			return nil, err
		}
		return func(a *task.Assembly, n *plan.Node) any {
			w := &receiver[FK]{
				node: n, next: children[FK, layout.Subscription](a, n), store: subscribed(a, s.names.store),
				key: coder[FK]{serde: fks, topic: s.pseudo(rs, foreignKeys), key: true},
			}
			return w.take
		}, nil
	}
}

func (w *receiver[FK]) take(r *task.Rec, fk FK, s layout.Subscription) error {
	r.At = w.node.Index
	if r.Tombstone || r.Keyless && s.Instruction != layout.PropagateNullIfNoForeign {
		r.Drop("null")
		return nil
	}
	if !r.Keyless {
		if err := w.keep(r, fk, s); err != nil {
			return faulty(task.Processing, w.node, err)
		}
	}
	return w.next(r, fk, s)
}

// keep writes or deletes the subscription.
func (w *receiver[FK]) keep(r *task.Rec, fk FK, s layout.Subscription) error {
	b, err := w.key.bytes(r, fk)
	if err != nil {
		return err
	}
	w.full = layout.AppendForeignKey(w.full[:0], b, s.Primary)
	out := store.Write{Key: w.full, Time: r.Time, Headers: r.Headers}
	if s.Instruction != layout.DeleteKeyAndPropagate && s.Instruction != layout.DeleteKeyNoPropagate {
		w.local = layout.AppendTimestamped(w.local[:0], nil, r.Time)
		head := len(w.local)
		w.local = layout.AppendSubscription(w.local, s)
		out.Local, out.Plain = w.local, w.local[head:]
	}
	return w.store.Set(out)
}

// joiner answers subscriptions as they come.
type joiner[K, FK, FV any] struct {
	node *plan.Node
	next step[K, answer[FV]]
	rows viewer[FK, FV]
	key  coder[K]
}

func joinForeignBody[K, FK, FV any](s subscribing, rows viewing[FK, FV]) body {
	return func(rs *resolver, _ *plan.Node) (task.Body, error) {
		ks, err := find[K](rs, s.ks)
		if err != nil {
			return nil, err
		}
		return func(a *task.Assembly, n *plan.Node) any {
			w := &joiner[K, FK, FV]{
				node: n, next: children[K, answer[FV]](a, n), rows: rows(a),
				key: coder[K]{serde: ks, topic: s.pseudo(rs, primaryKeys), key: true},
			}
			return w.take
		}, nil
	}
}

func (w *joiner[K, FK, FV]) take(r *task.Rec, fk FK, s layout.Subscription) error {
	r.At = w.node.Index
	var found row[FV]
	var ok bool
	var err error
	at := r.Time
	if !r.Keyless {
		if found, ok, err = w.rows.get(fk); err != nil {
			return faulty(task.Processing, w.node, err)
		}
	}
	if ok {
		at = max(at, found.time)
	}
	a := answer[FV]{hash: s.Hash, partition: s.Partition}
	switch {
	case s.Instruction == layout.DeleteKeyNoPropagate, s.Instruction == layout.PropagateOnlyIfForeign && !ok:
		return nil
	case s.Instruction != layout.DeleteKeyAndPropagate:
		a.value, a.ok = found.value, ok
	}
	k, err := w.key.read(r, s.Primary)
	if err != nil {
		return faulty(task.Deserialization, w.node, err)
	}
	mark := r.Mark()
	r.Time, r.Keyless = at, false
	err = w.next(r, k, a)
	r.Restore(mark)
	return err
}

// scanner answers all subscriptions to a right row that has changed.
type scanner[K, FK, FV any] struct {
	node    *plan.Node
	next    step[K, answer[FV]]
	store   store.Bytes
	key     coder[K]
	foreign coder[FK]
	prefix  []byte
}

func foreignJoinBody[K, FK, FV any](s subscribing) body {
	return func(rs *resolver, _ *plan.Node) (task.Body, error) {
		ks, fks, err := findBoth[K, FK](rs, s.ks, s.fks)
		if err != nil {
			return nil, err
		}
		return func(a *task.Assembly, n *plan.Node) any {
			w := &scanner[K, FK, FV]{
				node: n, next: children[K, answer[FV]](a, n), store: subscribed(a, s.names.store),
				key:     coder[K]{serde: ks, topic: s.pseudo(rs, primaryKeys), key: true},
				foreign: coder[FK]{serde: fks, topic: s.pseudo(rs, foreignKeys), key: true},
			}
			return w.take
		}, nil
	}
}

func (w *scanner[K, FK, FV]) take(r *task.Rec, fk FK, c change[FV]) error {
	r.At = w.node.Index
	if c.stale {
		r.Drop("out of order")
		return nil
	}
	b, err := w.foreign.bytes(r, fk)
	if err != nil {
		return faulty(task.Serialization, w.node, err)
	}
	w.prefix = layout.AppendForeignPrefix(w.prefix[:0], b)
	key, past := w.prefix, false
	for {
		var local []byte
		var ok bool
		if key, local, ok, err = w.store.Seek(key, false, past); err != nil {
			return faulty(task.Processing, w.node, err)
		}
		if !ok || !bytes.HasPrefix(key, w.prefix) {
			return nil
		}
		if err := w.answer(r, key[len(w.prefix):], local, c); err != nil {
			return err
		}
		past = true
	}
}

func (w *scanner[K, FK, FV]) answer(r *task.Rec, primary, local []byte, c change[FV]) error {
	value, _, err := layout.ReadTimestamped(local)
	if err != nil {
		return faulty(task.Processing, w.node, err)
	}
	s, err := layout.ReadSubscription(value)
	if err != nil {
		return faulty(task.Processing, w.node, err)
	}
	k, err := w.key.read(r, primary)
	if err != nil {
		return faulty(task.Deserialization, w.node, err)
	}
	return w.next(r, k, answer[FV]{hash: s.Hash, value: c.new, ok: c.hasNew, partition: s.Partition})
}
