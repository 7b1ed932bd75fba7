package stream

import (
	"fmt"
	"path"
	"reflect"
	"runtime"
	"strings"
	"unicode"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// To ends the stream in a topic.
func (s KStream[K, V]) To(topic Topic[K, V], opts ...Produced) {
	m := s.s.b.at("To")
	m.topic(string(topic), types[K, V]())
	n, set := sink(m, s, opts)
	n.Topics = []string{string(topic)}
	n.Body = sinkBody(first(set.KeySerde, s.s.ks), first(set.ValueSerde, s.s.vs), fixed[K, V](string(topic)), placesOf[K, V](m, n.Name, &set))
}

// ToDynamic ends the stream in topics chosen per record; they must exist. The description of the topology shows the
// function's name as words: byCustomer is by-customer.
func (s KStream[K, V]) ToDynamic(topic func(k K, v V, m RecordMetadata) string, opts ...Produced) {
	m := s.s.b.at("ToDynamic")
	n, set := sink(m, s, opts)
	n.Dynamic = words(topic)
	n.Body = sinkBody(first(set.KeySerde, s.s.ks), first(set.ValueSerde, s.s.vs), target[K, V]{choose: topic}, placesOf[K, V](m, n.Name, &set))
}

func sink[K, V any](m maker, s KStream[K, V], opts []Produced) (*plan.Node, opt.Settings) {
	var set opt.Settings
	for _, o := range opts {
		o.ProducedOption(opt.Seal{}, &set)
	}
	return m.node(plan.Sink, m.b.graph.Named(set.Name, "KSTREAM-SINK-"), s.s.n), set
}

// words is a function's name in the way of the names of nodes.
func words(f any) string {
	name := path.Base(runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name())
	name = strings.TrimSuffix(name[strings.LastIndexByte(name, '.')+1:], "-fm")
	var b strings.Builder
	for i, c := range name {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// target is the topic a sink writes: always the same, or chosen per record.
type target[K, V any] struct {
	name   string // as the broker knows it, unless chosen
	choose func(K, V, RecordMetadata) string
}

// fixed is one topic for all records.
func fixed[K, V any](name string) target[K, V] { return target[K, V]{name: name} }

// placing is how a sink chooses partitions. With neither function it is Kafka's way, by the key.
type placing[K, V any] struct {
	one  func(string, K, V, int) int
	many func(string, K, V, int) []int
}

// placesOf reads the options of a sink.
func placesOf[K, V any](m maker, node string, set *opt.Settings) (p placing[K, V]) {
	var ok bool
	if p.one, ok = set.Partition.(func(string, K, V, int) int); set.Partition != nil && !ok {
		m.faultf(node, "Partition is %T, which does not take %s", set.Partition, types[K, V]())
	}
	if p.many, ok = set.Multicast.(func(string, K, V, int) []int); set.Multicast != nil && !ok {
		m.faultf(node, "Multicast is %T, which does not take %s", set.Multicast, types[K, V]())
	}
	if p.one != nil && p.many != nil {
		m.faultf(node, "Partition and Multicast were both given: use one of them")
	}
	return p
}

func sinkBody[K, V any](k, v any, to target[K, V], places placing[K, V]) body {
	return func(rs *resolver, n *plan.Node) (task.Body, error) {
		ks, vs, err := findBoth[K, V](rs, k, v)
		if err != nil {
			return nil, err
		}
		rs.note(n, ks, vs)
		traced := n.Internal && n.Repeatable()
		return func(a *task.Assembly, n *plan.Node) any {
			w := &writer[K, V]{flow: flowOf(a, n, to.name), null: nullOf[V](), node: n, to: to, topic: to.name, ks: ks, vs: vs, places: places, nilKey: hasNil[K](), nilValue: hasNil[V](),
				traced: traced}
			if s, ok := ks.(interface{ Inner(key []byte) []byte }); ok && !n.Internal {
				w.inner = s.Inner
			}
			return w.write
		}, nil
	}
}

// flowOf is where a sink counts what it makes for its topic; nil if it chooses one for each record.
func flowOf(a *task.Assembly, n *plan.Node, topic string) *task.Flow {
	if topic == "" {
		return nil
	}
	return a.Task.Flow(n.Name, topic, true)
}

// writer is a sink in one task: where a key and a value become bytes again.
type writer[K, V any] struct {
	node             *plan.Node
	to               target[K, V]
	topic            string     // of the record at work
	flow             *task.Flow // of that topic
	ks               serde.Serde[K]
	vs               serde.Serde[V]
	places           placing[K, V]
	nilKey, nilValue bool
	traced           bool                    // what is sent again can be told
	null             func(V) bool            // of failures: there was no value; nil of all else
	inner            func(key []byte) []byte // of a windowed key, the part that chooses the partition; nil is all of it
	headers          serde.Headers           // what the serdes see and set: the record's own are shared with its siblings
}

func (w *writer[K, V]) write(r *task.Rec, k K, v V) (err error) {
	r.At = w.node.Index
	if w.to.choose != nil {
		if w.topic, err = w.chosen(r, k, v); err != nil {
			return faulty(task.Processing, w.node, err)
		}
	}
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
		if value = t.Keep(value); w.null != nil && w.null(v) {
			value = nil
		}
	}
	switch {
	case w.places.one != nil || w.places.many != nil:
		return w.place(r, k, v, key, value)
	case w.inner != nil && key != nil:
		return w.beside(r, key, value)
	}
	w.send(r, task.ByKey, key, value)
	return nil
}

// beside sends a windowed key where the key alone would go.
func (w *writer[K, V]) beside(r *task.Rec, key, value []byte) error {
	n, err := w.partitions(r)
	if err == nil {
		w.send(r, layout.Partition(w.inner(key), int32(n)), key, value)
	}
	return err
}

// partitions is how many partitions the record's topic has.
func (w *writer[K, V]) partitions(r *task.Rec) (int, error) {
	n := int(r.Task().Partitions(w.topic))
	if n <= 0 {
		return 0, faulty(task.Serialization, w.node, fmt.Errorf("how many partitions topic %q has is not known; does it exist?", w.topic))
	}
	return n, nil
}

// chosen asks for the record's topic.
func (w *writer[K, V]) chosen(r *task.Rec, k K, v V) (string, error) {
	var at RecordMetadata
	if in := r.Source; in != nil {
		at = RecordMetadata{in.Topic, in.Partition, in.Offset}
	}
	topic := w.to.choose(k, v, at)
	if topic == w.topic && w.flow != nil {
		return topic, nil // it was looked at before
	}
	if err := legalTopic(topic); err != nil {
		w.flow = nil
		return topic, err
	}
	w.flow = r.Task().Flow(w.node.Name, topic, true)
	return topic, nil
}

// place sends the record to the partitions that the user's function chooses.
func (w *writer[K, V]) place(r *task.Rec, k K, v V, key, value []byte) error {
	n, err := w.partitions(r)
	if err != nil {
		return err
	}
	if w.places.one != nil {
		p, err := within(w.places.one(w.topic, k, v, n), n)
		if err != nil {
			return faulty(task.Serialization, w.node, err)
		}
		w.send(r, p, key, value)
		return nil
	}
	all := w.places.many(w.topic, k, v, n)
	if len(all) == 0 {
		r.Drop("no partition")
		return nil
	}
	for _, chosen := range all { // all or none
		if _, err := within(chosen, n); err != nil {
			return faulty(task.Serialization, w.node, err)
		}
	}
	for _, p := range all {
		w.send(r, int32(p), key, value)
	}
	return nil
}

func within(p, n int) (int32, error) {
	if p < 0 || p >= n {
		return 0, fmt.Errorf("the partitioner chose %d of %d", p, n)
	}
	return int32(p), nil
}

func (w *writer[K, V]) send(r *task.Rec, partition int32, key, value []byte) {
	o := r.Task().Send()
	o.Topic, o.Partition, o.Time = w.topic, partition, r.Time
	o.Key, o.Value, o.Headers = key, value, w.headers
	o.Node, o.Source = w.node.Name, r.Source
	r.Task().Sent(w.flow, o)
	if w.traced {
		r.Task().Trace(o)
	}
}
