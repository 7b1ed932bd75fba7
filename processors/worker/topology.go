package worker

import (
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
)

// The topics as bytes: the processors read and write them by events.Codec, since a value that cannot be read must
// reach the dead letters unchanged.
const (
	rawImages       stream.Topic[string, []byte] = events.TopicRawImages
	imageStatus     stream.Topic[string, []byte] = events.TopicImageStatus
	processedImages stream.Topic[string, []byte] = events.TopicProcessedImages
	deadLetters     stream.Topic[string, []byte] = events.TopicRawImages + ".dlq"
)

// lives is the store of events.Image by image_id. Its changelog is compacted within an hour, so that a tombstone takes
// what it deletes with it.
var lives = state.TimestampedKeyValue[string, events.Image](events.StoreImages, state.ValueSerde[events.Image](imageSerde{}), state.Logging(map[string]string{
	"cleanup.policy":            "compact",
	"max.compaction.lag.ms":     "3600000",
	"delete.retention.ms":       "3600000",
	"segment.ms":                "3600000",
	"min.cleanable.dirty.ratio": "0.1",
}))

// imageSerde is the JSON of events.MarshalImage.
type imageSerde struct{}

// Append writes an image.
func (imageSerde) Append(dst []byte, i events.Image, _ serde.Meta) ([]byte, error) {
	b, err := events.MarshalImage(i)
	return append(dst, b...), err
}

// Decode reads one.
func (imageSerde) Decode(b []byte, _ serde.Meta) (events.Image, error) {
	return events.UnmarshalImage(b)
}

// effect is a record that a processor wants written.
type effect struct {
	topic string
	value []byte
}

// build is the topology: two processors over one store, because receipts and what others say about images must meet in
// one writer.
func (p *pipeline) build() *stream.Builder {
	b := stream.NewBuilder()
	received := b.Stream(rawImages, stream.Named("receipts")).
		Process(func() *receive { return &receive{pipeline: p} }, stream.Uses(lives), stream.Named("receive"))
	settled := b.Stream(imageStatus, stream.Named("statuses")).
		Process(func() *settle { return &settle{pipeline: p} }, stream.Uses(lives), stream.Named("settle"))
	effects := received.Merge(settled, stream.Named("effects")).Split(stream.Named("by-topic"))
	for _, out := range []stream.Topic[string, []byte]{imageStatus, processedImages, deadLetters} {
		effects.Branch(func(_ string, e effect) bool { return e.topic == string(out) }).
			MapValues(func(_ string, e effect) []byte { return e.value }).
			To(out)
	}
	return b
}

// Topology is the worker's topology, to be shown or tested; it works once Config is that of a whole worker.
func Topology(c Config) (stream.Definition, error) {
	p, err := newPipeline(c.withDefaults())
	if err != nil {
		return nil, err
	}
	return p.build(), nil
}
