package stream

import (
	"fmt"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// subscribing is what the nodes of a foreign-key join have in common: names, the serdes named by the user, and how the two
// tables' topics are partitioned.
type subscribing struct {
	names    meeting
	ks, vs   any // the left table's
	fks, fvs any // the right table's
	primary  any // a func(string, K, int) int, which may be nil
	foreign  any // a func(string, FK, int) int, which may be nil
}

// pseudo is a topic that does not exist: serdes are told its name, so that what they keep by topic (a registry's subjects)
// is the same as for Kafka Streams.
func (s subscribing) pseudo(rs *resolver, suffix string) string {
	return rs.plan.Topic(s.names.registration+suffix, true)
}

// The pseudo topics' suffixes.
const (
	primaryKeys = "-pk" // a left row's key within a subscription
	foreignKeys = "-fk" // a right row's key in the subscription store
	hashedRows  = "-vh" // a left row that is hashed
)

// coder writes and reads one kind of thing under one topic's name.
type coder[T any] struct {
	serde   serde.Serde[T]
	topic   string
	key     bool
	space   []byte
	headers serde.Headers
}

// bytes are valid until the next call. Headers that the serde sets are lost, as the bytes go into another record's value.
func (c *coder[T]) bytes(r *task.Rec, v T) ([]byte, error) {
	b, err := c.serde.Append(c.space[:0], v, c.meta(r))
	if err != nil {
		return nil, err
	}
	c.space = b
	return b, nil
}

func (c *coder[T]) read(r *task.Rec, b []byte) (T, error) {
	return c.serde.Decode(b, c.meta(r))
}

func (c *coder[T]) meta(r *task.Rec) serde.Meta {
	c.headers = r.Headers
	return serde.Meta{Topic: c.topic, IsKey: c.key, Headers: &c.headers}
}

// answer is what a right row says to a subscription.
type answer[V any] struct {
	hash      []byte // of the left row that subscribed; nil if it was deleted
	value     V
	ok        bool
	partition int32 // of the left row; -1 if the subscription does not tell
}

// answers writes and reads the values of a response topic.
type answers[V any] struct{ serde.Serde[V] }

// subscriptionSerde writes and reads the values of a registration topic.
type subscriptionSerde struct{}

// Append writes s; the hash and the key were made before.
func (subscriptionSerde) Append(dst []byte, s layout.Subscription, _ serde.Meta) ([]byte, error) {
	return layout.AppendSubscription(dst, s), nil
}

// Decode reads a part of b: it is used up before the record is done.
func (subscriptionSerde) Decode(b []byte, _ serde.Meta) (layout.Subscription, error) {
	return layout.ReadSubscription(b)
}

// Append writes a; a value that is not there is no bytes.
func (s answers[V]) Append(dst []byte, a answer[V], m serde.Meta) ([]byte, error) {
	dst = layout.AppendResponse(dst, a.hash, nil)
	if !a.ok {
		return dst, nil
	}
	return s.Serde.Append(dst, a.value, m)
}

// Decode reads an answer; its hash is a part of b.
func (s answers[V]) Decode(b []byte, m serde.Meta) (a answer[V], err error) {
	hash, value, err := layout.ReadResponse(b)
	if err != nil || value == nil {
		return answer[V]{hash: hash}, err
	}
	a = answer[V]{hash: hash, ok: true}
	a.value, err = s.Serde.Decode(value, m)
	return a, err
}

func registrationSink[FK any](s subscribing) body {
	choose, _ := s.foreign.(func(string, FK, int) int)
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		ks, err := find[FK](rs, s.fks)
		if err != nil {
			return nil, fmt.Errorf("foreign key: %w", err)
		}
		place := func(string, FK, layout.Subscription, int) int { return byKey }
		if choose != nil {
			place = func(topic string, k FK, _ layout.Subscription, n int) int { return choose(topic, k, n) }
		}
		return relayBody(ks, serde.Serde[layout.Subscription](subscriptionSerde{}), place)(rs, n)
	}
}

func registrationSource[FK any](s subscribing) body {
	return sourceBody[FK, layout.Subscription](s.fks, serde.Serde[layout.Subscription](subscriptionSerde{}), nil)
}

// responseSink sends an answer to the partition that the subscription came from: however the left table is partitioned, that
// is where its row is.
func responseSink[K, FV any](s subscribing) body {
	choose, _ := s.primary.(func(string, K, int) int)
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		ks, vs, err := findBoth[K, FV](rs, s.ks, s.fvs)
		if err != nil {
			return nil, err
		}
		place := func(_ string, _ K, a answer[FV], _ int) int { return int(a.partition) }
		if choose != nil {
			place = func(topic string, k K, _ answer[FV], n int) int { return choose(topic, k, n) }
		}
		return relayBody(ks, serde.Serde[answer[FV]](answers[FV]{vs}), place)(rs, n)
	}
}

func responseSource[K, FV any](s subscribing) body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		vs, err := find[FV](rs, s.fvs)
		if err != nil {
			return nil, fmt.Errorf("value: %w", err)
		}
		return sourceBody[K, answer[FV]](s.ks, serde.Serde[answer[FV]](answers[FV]{vs}), nil)(rs, n)
	}
}

// byKey is a partition that nobody chose: murmur2 of the key, as Kafka.
const byKey = -1

// relay writes a topic of a foreign-key join in one task. Its records are not traced: each is the state of a row, for which once
// more is as well, and what is asked for again must be answered again, since the first answer may have come to a row that was not
// there yet.
type relay[K, V any] struct {
	node    *plan.Node
	topic   string
	ks      serde.Serde[K]
	vs      serde.Serde[V]
	place   func(topic string, k K, v V, n int) int
	headers serde.Headers
}

func relayBody[K, V any](ks serde.Serde[K], vs serde.Serde[V], place func(string, K, V, int) int) body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		topic := rs.plan.Topic(n.Topics[0], true)
		return func(_ *task.Assembly, n *plan.Node) any {
			return (&relay[K, V]{node: n, topic: topic, ks: ks, vs: vs, place: place}).write
		}, nil
	}
}

func (w *relay[K, V]) write(r *task.Rec, k K, v V) (err error) {
	r.At = w.node.Index
	t := r.Task()
	w.headers = r.Headers
	var key []byte
	if !r.Keyless {
		if key, err = w.ks.Append(t.Space(), k, serde.Meta{Topic: w.topic, IsKey: true, Headers: &w.headers}); err != nil {
			return faulty(task.Serialization, w.node, fmt.Errorf("key: %w", err))
		}
		key = t.Keep(key)
	}
	value, err := w.vs.Append(t.Space(), v, serde.Meta{Topic: w.topic, Headers: &w.headers})
	if err != nil {
		return faulty(task.Serialization, w.node, fmt.Errorf("value: %w", err))
	}
	value = t.Keep(value)
	n := int(t.Partitions(w.topic))
	partition := w.place(w.topic, k, v, n)
	if partition < byKey || partition >= n {
		return faulty(task.Serialization, w.node, fmt.Errorf("topic %q: partition %d of %d was chosen", w.topic, partition, n))
	}
	o := t.Send()
	o.Topic, o.Partition, o.Time = w.topic, int32(partition), r.Time
	o.Key, o.Value, o.Headers = key, value, w.headers
	o.Node, o.Source = w.node.Name, r.Source
	return nil
}
