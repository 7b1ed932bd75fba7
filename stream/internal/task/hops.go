package task

import (
	"bytes"
	"maps"
	"slices"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/serde"
)

// hops are what the reader of a repartition topic has seen of each writer, so that results which a writer sends again, because it
// processes records again after a failure, are dropped. They are kept with the committed offset of the topic's partition.
type hops struct {
	topic   string           // the last writer's
	seen    map[writer]reach // of what was taken
	settled map[writer]reach // of what a commit covers
	since   []hop            // what was taken since, in the order of offsets
}

// writer is who sends results in an order that is the same when they are sent again: an input partition, and apart from that, its
// slow work.
type writer struct {
	topic     string
	partition int32
	late      bool
}

// reach is the last result of a writer.
type reach struct{ offset, index int64 }

func (r reach) before(o reach) bool {
	return r.offset < o.offset || r.offset == o.offset && r.index < o.index
}

type hop struct {
	offset int64 // in the repartition topic
	from   writer
	to     reach
}

// readHops goes on from what a commit says.
func readHops(metadata string) *hops {
	h := &hops{settled: map[writer]reach{}}
	if _, _, tail := layout.ReadMetadataBefore(metadata); len(tail) > 0 {
		all, err := layout.ReadOrigins(tail)
		if err != nil {
			all = nil // foreign: nothing is known, as with the time
		}
		for _, o := range all {
			h.settled[writer{string(o.Topic), o.Partition, o.Late}] = reach{o.Offset, o.Index}
		}
	}
	h.seen = maps.Clone(h.settled)
	return h
}

// again says whether a result was seen before, and notes it if not.
func (h *hops) again(offset int64, o layout.Origin) bool {
	if h.topic != string(o.Topic) {
		h.topic = string(o.Topic)
	}
	from, to := writer{h.topic, o.Partition, o.Late}, reach{o.Offset, o.Index}
	if last, ok := h.seen[from]; ok && !last.before(to) {
		return true
	}
	h.seen[from] = to
	h.since = append(h.since, hop{offset, from, to})
	return false
}

// settle notes that commits will be of this offset or a later one.
func (h *hops) settle(offset int64) {
	n := 0
	for ; n < len(h.since) && h.since[n].offset < offset; n++ {
		h.settled[h.since[n].from] = h.since[n].to
	}
	h.since = slices.Delete(h.since, 0, n)
}

// before is what was seen before an offset, to be kept with it.
func (h *hops) before(offset int64) []byte {
	if h.settle(offset); len(h.settled) == 0 {
		return nil
	}
	all := make([]layout.Origin, 0, len(h.settled))
	for w, r := range h.settled {
		all = append(all, layout.Origin{Topic: []byte(w.topic), Partition: w.partition, Late: w.late, Offset: r.offset, Index: r.index})
	}
	slices.SortFunc(all, func(a, b layout.Origin) int {
		if c := bytes.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return layout.AppendOrigins(nil, all)
}

// Trace marks a result for a repartition topic, so that its reader can tell it from one that is sent again. What stems from no
// record is not marked: a punctuation is never the same again.
func (t *Task) Trace(o *Output) {
	x := t.exact
	if x == nil || x.cause == nil {
		return
	}
	from := layout.Origin{Topic: t.origin(x.cause.Topic), Partition: x.cause.Partition, Late: x.late, Offset: x.cause.Offset, Index: x.index}
	x.index++
	o.Headers = append(slices.Clip(o.Headers), serde.Header{Key: layout.OriginHeader, Value: t.Keep(layout.AppendOrigin(t.Space(), from))})
}

// origin is what a topic is called in marks: its id, as one that is made again under the same name is another, or its name where
// brokers have no ids.
func (t *Task) origin(topic string) []byte {
	if name, ok := t.exact.origins[topic]; ok {
		return name
	}
	name := []byte(topic)
	if t.env.TopicID != nil {
		if id := t.env.TopicID(topic); id != [16]byte{} {
			name = id[:]
		}
	}
	t.exact.origins[topic] = name
	return name
}

// repeated says whether a record of a repartition topic is one that was seen before. If not, its mark is taken off and noted.
func (t *Task) repeated(q *queue, in *Input) bool {
	n := len(in.Headers)
	if q.hops == nil || n == 0 || in.Headers[n-1].Key != layout.OriginHeader {
		return false
	}
	from, err := layout.ReadOrigin(in.Headers[n-1].Value)
	if err != nil {
		return false // foreign
	}
	if len(q.held) == 0 {
		q.hops.settle(in.Offset)
	}
	if q.hops.again(in.Offset, from) {
		t.drop("repeated")
		return true
	}
	t.rec.Headers = in.Headers[: n-1 : n-1]
	if n == 1 {
		t.rec.Headers = nil
	}
	return false
}
