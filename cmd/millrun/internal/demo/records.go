package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/scan"
)

// header is a record's header, or "".
func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// findRecord reads a topic from its beginning until match takes a record.
func (s *story) findRecord(ctx context.Context, topic string, match func(*kgo.Record) bool) (*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := s.reader(topic)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("demo: no such record in %s within 30 s", topic)
		}
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("demo: %s: %w", topic, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			if r := it.Next(); match(r) {
				return r, nil
			}
		}
	}
}

func (s *story) reader(topics ...string) (*kgo.Client, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(s.in.Connection.KafkaBrokers...), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return c, nil
}

// eachRecord calls f for everything that all topics hold at this moment, internal ones too.
func (s *story) eachRecord(ctx context.Context, f func(*kgo.Record)) (int, error) {
	admin := kadm.NewClient(s.kafka)
	details, err := admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return 0, fmt.Errorf("demo: %w", err)
	}
	read := 0
	for _, name := range details.Names() {
		n, err := scan.Topic(ctx, []kgo.Opt{kgo.SeedBrokers(s.in.Connection.KafkaBrokers...)}, name, f)
		read += n
		if err != nil && !errors.Is(err, scan.ErrGap) { // compaction may have taken a topic's last records
			return read, err
		}
	}
	return read, nil
}
