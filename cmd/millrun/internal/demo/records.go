package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
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
	starts, err1 := admin.ListStartOffsets(ctx, details.Names()...)
	ends, err2 := admin.ListEndOffsets(ctx, details.Names()...)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("demo: %w", err)
	}
	read := 0
	for _, name := range details.Names() {
		n, err := s.readTo(ctx, name, starts, ends, f)
		if err != nil {
			return read, err
		}
		read += n
	}
	return read, nil
}

// readTo reads one topic from start to end; transaction markers at the end do not keep it waiting.
func (s *story) readTo(ctx context.Context, topic string, starts, ends kadm.ListedOffsets, f func(*kgo.Record)) (int, error) {
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		start, ok := starts.Lookup(topic, o.Partition)
		if o.Topic == topic && ok && o.Offset > start.Offset {
			left[o.Partition] = o.Offset
			from[o.Partition] = kgo.NewOffset().At(start.Offset)
		}
	})
	if len(left) == 0 {
		return 0, nil
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(s.in.Connection.KafkaBrokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.KeepControlRecords())
	if err != nil {
		return 0, fmt.Errorf("demo: %w", err)
	}
	defer c.Close()
	read := 0
	for len(left) > 0 {
		fetches, err := pollQuiet(ctx, c)
		if err != nil {
			return read, fmt.Errorf("demo: %s: %w", topic, err)
		}
		if fetches == nil {
			return read, nil
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if !r.Attrs.IsControl() {
				f(r)
				read++
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
	return read, nil
}

// pollQuiet is a poll that gives up, with nil, when nothing comes for three seconds: compaction may have taken the
// records before a topic's end.
func pollQuiet(ctx context.Context, c *kgo.Client) (kgo.Fetches, error) {
	quiet, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	fetches := c.PollFetches(quiet)
	if ctx.Err() == nil && quiet.Err() != nil {
		return nil, nil
	}
	return fetches, errors.Join(ctx.Err(), fetches.Err())
}
