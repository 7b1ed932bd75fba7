package changes

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Receipt says where a published event lies.
type Receipt struct {
	EventID   uuid.UUID `json:"event_id"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
}

// PublishOptions are what a publisher may add. The zero value is ready.
type PublishOptions struct {
	// Timestamp is the record's. Default: the machine's time.
	Timestamp time.Time
	// Headers travel with the record.
	Headers []kgo.RecordHeader
	// Decoder reads the value; set its Registry to publish Confluent's wire format.
	Decoder Decoder
}

// Publish checks a value and produces it, unchanged, under its key. It returns once all in-sync replicas have it: cl must
// keep kgo's default of acks=all. The error is that of [Decoder.Decode], or the broker's. Whether the caller's team owns
// the topic is the caller's to ask ([Owner]).
func Publish(ctx context.Context, cl *kgo.Client, topic string, value []byte, o PublishOptions) (Receipt, error) {
	event, err := o.Decoder.Decode(ctx, topic, value)
	if err != nil {
		return Receipt{}, err
	}
	rec := &kgo.Record{Topic: topic, Key: []byte(event.Key()), Value: value, Timestamp: o.Timestamp, Headers: o.Headers}
	rec, err = cl.ProduceSync(ctx, rec).First()
	if err != nil {
		return Receipt{}, fmt.Errorf("changes: publish to %s: %w", topic, err)
	}
	return Receipt{EventID: event.ID(), Topic: topic, Partition: rec.Partition, Offset: rec.Offset}, nil
}
