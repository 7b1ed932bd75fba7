package streamtest

import (
	"slices"
	"time"

	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/serde"
)

// Sent is a record that the topology sent, as bytes. Its slices are shared: read only.
type Sent struct {
	Topic      string // as a broker would know it
	Partition  int32
	Key, Value []byte // nil is Kafka's null
	Timestamp  time.Time
	Headers    serde.Headers
	Internal   bool // the topic is a repartition topic or a changelog
}

// Sent takes everything that was sent since the last call, across all topics and in the order of sending, internal topics
// too. What an Output reads is not affected. For tests about bytes; others read an Output.
func (d *Driver) Sent() []Sent {
	out := d.sent
	d.sent = nil
	return out
}

func (d *Driver) keep(in task.Input, internal bool) {
	d.sent = append(d.sent, Sent{
		Topic: in.Topic, Partition: in.Partition, Key: in.Key, Value: in.Value, Timestamp: time.UnixMilli(in.Time).UTC(),
		Headers: slices.Clip(in.Headers), Internal: internal,
	})
}

// Stores are all stores of the topology by their names, those that operators made too, each as a processor would open it;
// with several partitions it is that of the first. Store, with a handle, is the typed way to one of them.
func (d *Driver) Stores() map[string]any {
	out := map[string]any{}
	for name := range d.prog.Stores {
		if s, ok := d.tasks[0].Store(name); ok {
			out[name] = s.Face()
		}
		if s, ok := d.global.Store(name); ok {
			out[name] = s.Face()
		}
	}
	return out
}
