package streamtest

import (
	"reflect"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// serdes are those the topology itself reads or writes a topic with, or the defaults by type.
func serdes[K, V any](d *Driver, topic string) (serde.Serde[K], serde.Serde[V]) {
	d.t.Helper()
	used := d.prog.Topics[topic]
	return pick[K](d, topic, used.Key), pick[V](d, topic, used.Value)
}

func pick[T any](d *Driver, topic string, used any) serde.Serde[T] {
	d.t.Helper()
	if s, ok := used.(serde.Serde[T]); ok {
		return s
	}
	s, err := serde.For[T](d.config.Serdes)
	if err != nil {
		d.t.Fatalf("streamtest: topic %s: %v", topic, err)
	}
	return s
}

// Input is a typed way into a topic. It writes with the serdes the topology reads it with.
func (d *Driver) Input[K, V any](topic stream.Topic[K, V]) *TestInput[K, V] {
	d.t.Helper()
	ks, vs := serdes[K, V](d, string(topic))
	return &TestInput[K, V]{d, string(topic), ks, vs}
}

// Output is a typed way out of a topic. It reads with the serdes the topology writes it with.
func (d *Driver) Output[K, V any](topic stream.Topic[K, V]) *TestOutput[K, V] {
	d.t.Helper()
	ks, vs := serdes[K, V](d, string(topic))
	return &TestOutput[K, V]{d, string(topic), ks, vs}
}

// null says whether v is Kafka's null.
func null[T any](v T) bool {
	r := reflect.ValueOf(&v).Elem()
	switch r.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return r.IsNil()
	default:
		return false
	}
}

// TestInput writes a topic.
type TestInput[K, V any] struct {
	d     *Driver
	topic string
	ks    serde.Serde[K]
	vs    serde.Serde[V]
}

// Pipe writes a record at the driver's time and processes everything it causes. The empty string is a key like any other;
// for a record without one see PipeRecord.
func (i *TestInput[K, V]) Pipe(k K, v V) {
	i.d.t.Helper()
	i.PipeAt(i.d.now, k, v)
}

// PipeAt writes a record at a time of its own.
func (i *TestInput[K, V]) PipeAt(t time.Time, k K, v V) {
	i.d.t.Helper()
	i.PipeRecord(stream.Record[K, V]{Key: k, Value: v, Timestamp: t})
}

// Delete writes a tombstone.
func (i *TestInput[K, V]) Delete(k K) {
	i.d.t.Helper()
	i.PipeRecord(stream.Record[K, V]{Key: k, Timestamp: i.d.now, Tombstone: true})
}

// PipeRecord writes any record.
func (i *TestInput[K, V]) PipeRecord(r stream.Record[K, V]) {
	i.d.t.Helper()
	in := task.Input{Topic: i.topic, Time: r.Timestamp.UnixMilli(), Headers: r.Headers}
	var err error
	if !r.Keyless && !null(r.Key) {
		if in.Key, err = i.ks.Append([]byte{}, r.Key, serde.Meta{Topic: i.topic, IsKey: true, Headers: &in.Headers}); err != nil {
			i.d.t.Fatalf("streamtest: key: %v", err)
		}
	}
	if !r.Tombstone && !null(r.Value) {
		if in.Value, err = i.vs.Append([]byte{}, r.Value, serde.Meta{Topic: i.topic, Headers: &in.Headers}); err != nil {
			i.d.t.Fatalf("streamtest: value: %v", err)
		}
	}
	i.d.pipe(in)
}

// PipeBytes writes a record of bytes as they are: what a serde could not have written.
func (i *TestInput[K, V]) PipeBytes(key, value []byte) {
	i.d.t.Helper()
	i.d.pipe(task.Input{Topic: i.topic, Time: i.d.now.UnixMilli(), Key: key, Value: value})
}

// TestOutput reads a topic.
type TestOutput[K, V any] struct {
	d     *Driver
	topic string
	ks    serde.Serde[K]
	vs    serde.Serde[V]
}

// Read takes the next record; false if there is none.
func (o *TestOutput[K, V]) Read() (stream.Record[K, V], bool) {
	o.d.t.Helper()
	waiting := o.d.unread[o.topic]
	if len(waiting) == 0 {
		return stream.Record[K, V]{}, false
	}
	o.d.unread[o.topic] = waiting[1:]
	return o.decode(waiting[0]), true
}

func (o *TestOutput[K, V]) decode(in task.Input) stream.Record[K, V] {
	o.d.t.Helper()
	r := stream.Record[K, V]{
		Timestamp: time.UnixMilli(in.Time).UTC(), Headers: in.Headers, Keyless: in.Key == nil, Tombstone: in.Value == nil,
	}
	var err error
	if in.Key != nil {
		if r.Key, err = o.ks.Decode(in.Key, serde.Meta{Topic: o.topic, IsKey: true, Headers: &in.Headers}); err != nil {
			o.d.t.Fatalf("streamtest: key in %s: %v", o.topic, err)
		}
	}
	if in.Value != nil {
		if r.Value, err = o.vs.Decode(in.Value, serde.Meta{Topic: o.topic, Headers: &in.Headers}); err != nil {
			o.d.t.Fatalf("streamtest: value in %s: %v", o.topic, err)
		}
	}
	return r
}

// ReadAll takes all records.
func (o *TestOutput[K, V]) ReadAll() []stream.Record[K, V] {
	o.d.t.Helper()
	var out []stream.Record[K, V]
	for {
		r, ok := o.Read()
		if !ok {
			return out
		}
		out = append(out, r)
	}
}

// ReadValues takes the latest value per key, deletes applied, in the order in which the keys first came.
func (o *TestOutput[K, V]) ReadValues() []stream.Record[K, V] {
	o.d.t.Helper()
	var order []string
	latest := map[string]task.Input{}
	for _, in := range o.d.unread[o.topic] {
		if _, ok := latest[string(in.Key)]; !ok {
			order = append(order, string(in.Key))
		}
		latest[string(in.Key)] = in
	}
	o.d.unread[o.topic] = nil
	var out []stream.Record[K, V]
	for _, k := range order {
		if latest[k].Value != nil {
			out = append(out, o.decode(latest[k]))
		}
	}
	return out
}

// Want takes all records and fails the test where keys, values or tombstones differ.
func (o *TestOutput[K, V]) Want(want ...stream.Record[K, V]) {
	o.d.t.Helper()
	got := o.ReadAll()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			o.d.t.Errorf("%s: record %d is missing: want %s", o.topic, i, show(want[i]))
		case i >= len(want):
			o.d.t.Errorf("%s: record %d is too many: %s", o.topic, i, show(got[i]))
		case !equal(got[i], want[i]):
			o.d.t.Errorf("%s: record %d: got %s, want %s", o.topic, i, show(got[i]), show(want[i]))
		}
	}
	if o.d.err != nil && o.d.t.Failed() {
		o.d.t.Logf("the topology stopped: %v", o.d.err)
	}
}

// equal compares what Want compares. A nil value and a tombstone are the same.
func equal[K, V any](a, b stream.Record[K, V]) bool {
	a.Tombstone, b.Tombstone = a.Tombstone || null(a.Value), b.Tombstone || null(b.Value)
	return a.Keyless == b.Keyless && a.Tombstone == b.Tombstone && reflect.DeepEqual(a.Key, b.Key) && reflect.DeepEqual(a.Value, b.Value)
}

// R is a record of k and v, for Want.
func (o *TestOutput[K, V]) R(k K, v V) stream.Record[K, V] {
	return stream.Record[K, V]{Key: k, Value: v}
}

// D is a tombstone, for Want.
func (o *TestOutput[K, V]) D(k K) stream.Record[K, V] {
	return stream.Record[K, V]{Key: k, Tombstone: true}
}
