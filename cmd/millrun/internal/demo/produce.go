package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// produceJSON writes an event to a topic as a producer inside the cluster would, past the API.
func (s *story) produceJSON(ctx context.Context, topic, key string, e event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	r := &kgo.Record{Topic: topic, Key: []byte(key), Value: b, Timestamp: s.in.Stamp().Now()}
	if err := s.kafka.ProduceSync(ctx, r).FirstErr(); err != nil {
		return fmt.Errorf("demo: %s: %w", topic, err)
	}
	return nil
}

func contains(b []byte, text string) bool { return text != "" && bytes.Contains(b, []byte(text)) }
