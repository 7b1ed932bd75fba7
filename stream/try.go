package stream

import (
	"errors"
	"strconv"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// TryMapValues is MapValues that may fail. Records whose value f cannot make are in the second stream: their source's key
// and, in the Failure, its bytes. Failures that nobody reads go to Config.ProcessingErrors, as if f had panicked; so do
// panics.
func (s KStream[K, V]) TryMapValues[V2 any](f func(K, V) (V2, error), opts ...Option) (KStream[K, V2], KStream[[]byte, Failure]) {
	t := trying[K, V, K, V2]{f: func(k K, v V) (K, V2, error) {
		v2, err := f(k, v)
		return k, v2, err
	}}
	n, failed := try(s.s, "TryMapValues", "KSTREAM-TRYMAPVALUES-", t, opts)
	return valued[K, V2](s.s, n), failed
}

// TryMap is Map that may fail, as TryMapValues is MapValues. What follows repartitions before a keyed operator.
func (s KStream[K, V]) TryMap[K2, V2 any](f func(K, V) (K2, V2, error), opts ...Option) (KStream[K2, V2], KStream[[]byte, Failure]) {
	n, failed := try(s.s, "TryMap", "KSTREAM-TRYMAP-", trying[K, V, K2, V2]{f: f, rekeys: true}, opts)
	n.Rekeys = true
	return KStream[K2, V2]{s: &flow{b: s.s.b, n: n, rekeyed: true}}, failed
}

// trying is a step that may fail.
type trying[K, V, K2, V2 any] struct {
	f      func(K, V) (K2, V2, error)
	rekeys bool
}

// try adds the node of such a step, and one below it that the failures pass.
func try[K, V, K2, V2 any](f *flow, op, prefix string, t trying[K, V, K2, V2], opts []Option) (*plan.Node, KStream[[]byte, Failure]) {
	n := f.then(op, prefix, opts, nil)
	failed := f.b.at(op).node(plan.Processor, n.Name+"-failed", n)
	failed.Body = passBody[[]byte, Failure]()
	failed.Revalues = true
	n.Body = tryBody(t, failed.Name)
	return n, KStream[[]byte, Failure]{s: &flow{b: f.b, n: failed, ks: serde.Bytes()}}
}

// trier is such a step in one task.
type trier[K, V, K2, V2 any] struct {
	trying[K, V, K2, V2]
	node   *plan.Node
	next   step[K2, V2]
	failed step[[]byte, Failure] // nil: nobody reads it
}

func tryBody[K, V, K2, V2 any](how trying[K, V, K2, V2], failures string) body {
	return simple(func(a *task.Assembly, n *plan.Node) any {
		t := &trier[K, V, K2, V2]{trying: how, node: n}
		var good []*plan.Node
		for _, c := range n.Children { // the plan's nodes are copies of the builder's: found by name
			switch {
			case c.Name != failures:
				good = append(good, c)
			case len(c.Children) > 0:
				t.failed = child[[]byte, Failure](a, c)
			}
		}
		t.next = revalued(among[K2, V2](a, good))
		if how.rekeys {
			t.next = rekeyed(t.next)
		}
		return t.take
	})
}

func (t *trier[K, V, K2, V2]) take(r *task.Rec, k K, v V) error {
	r.At = t.node.Index
	if r.Tombstone && t.rekeys {
		r.Drop("tombstone")
		return nil
	}
	var k2 K2
	var v2 V2
	var err error
	if r.Tombstone {
		k2, _ = any(k).(K2) // the key stays what it is
		return t.next(r, k2, v2)
	}
	if k2, v2, err = t.f(k, v); err == nil {
		return t.next(r, k2, v2)
	}
	if t.failed == nil {
		return faulty(task.Processing, t.node, err)
	}
	return t.fail(r, err)
}

// fail passes a failure on, under the key of the record that caused it and with its headers.
func (t *trier[K, V, K2, V2]) fail(r *task.Rec, err error) error {
	return failing(r, t.failed, &task.Failure{
		Stage: task.Processing, Task: r.Task().ID(), Node: t.node.Name, Source: r.Source, Time: r.Time, Headers: r.Headers,
		Attempts: 1, Err: err,
	})
}

// failing passes a failure of the record at work to those who read failures.
func failing(r *task.Rec, failed step[[]byte, Failure], of *task.Failure) error {
	f := failureOf(of)
	mark := r.Mark()
	defer r.Restore(mark)
	if r.Source != nil {
		r.Headers = r.Source.Headers
	}
	r.Keyless = f.Key == nil
	return failed(r, f.Key, f)
}

// own is the Serde of failures by default.
func (Failure) own() any { return failureSerde{} }

// failureSerde writes the source's bytes unchanged and the cause into Kafka Streams' headers of a dead letter (KIP-1034).
type failureSerde struct{}

// Append writes f's value, and sets the headers.
func (failureSerde) Append(dst []byte, f Failure, m serde.Meta) ([]byte, error) {
	if m.Headers != nil && f.Err != nil {
		inner := task.Failure{Node: f.Node, Err: f.Err}
		if f.Topic != "" {
			inner.Source = &task.Input{Topic: f.Topic, Partition: f.Partition, Offset: f.Offset}
		}
		*m.Headers = inner.Tell(*m.Headers)
	}
	return append(dst, f.Value...), nil
}

// Decode reads what a dead letter tells: where the record was, its value, its headers and the message of the error.
func (failureSerde) Decode(b []byte, m serde.Meta) (f Failure, err error) {
	f = Failure{Stage: Stage(task.Processing), Value: b}
	if m.Headers == nil {
		return f, nil
	}
	f.Headers = *m.Headers
	told := func(name string) string {
		v, _ := f.Headers.Get(name)
		return string(v)
	}
	if text := told(task.HeaderMessage); text != "" {
		f.Err = errors.New(text)
	}
	f.Topic = told(task.HeaderTopic)
	if text := told(task.HeaderPartition); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return f, err
		}
		f.Partition = int32(n)
	}
	if text := told(task.HeaderOffset); text != "" {
		f.Offset, err = strconv.ParseInt(text, 10, 64)
	}
	return f, err
}

// failureOf is the public face of a failure.
func failureOf(f *task.Failure) Failure {
	out := Failure{
		Stage: Stage(f.Stage), Task: TaskID{f.Task.Sub, f.Task.Partition}, Node: f.Node,
		Timestamp: time.UnixMilli(f.Time).UTC(), Headers: f.Headers, Attempts: f.Attempts, Err: f.Err,
	}
	if in := f.Source; in != nil {
		out.Topic, out.Partition, out.Offset, out.Key, out.Value = in.Topic, in.Partition, in.Offset, in.Key, in.Value
	}
	return out
}

// nullOf asks a failure whether its source had a value: as a dead letter it has none then, either.
func nullOf[V any]() func(V) bool {
	if _, ok := any(*new(V)).(Failure); !ok {
		return nil
	}
	return func(v V) bool { return any(v).(Failure).Value == nil }
}
