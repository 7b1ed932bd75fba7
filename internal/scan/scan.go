// Package scan reads a topic once, from its beginning to where it ends at this moment, without a consumer group.
package scan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// quiet is how long nothing may come before a scan takes the rest for missing.
const quiet = 3 * time.Second

// ErrGap says that a partition's last offsets hold no record that can be read: compaction took them, or the broker is
// slow. Everything before them was read.
var ErrGap = errors.New("scan: the end of the topic was not reached")

// Topic calls f for every committed record of a topic, partition by partition in order, and returns how many there
// were. A topic that does not exist is an error. opts say how to reach the brokers.
func Topic(ctx context.Context, opts []kgo.Opt, topic string, f func(*kgo.Record)) (int, error) {
	from, left, err := span(ctx, opts, topic)
	if err != nil || len(left) == 0 {
		return 0, err
	}
	c, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		return 0, fmt.Errorf("scan: %s: %w", topic, err)
	}
	defer c.Close()
	read := 0
	for len(left) > 0 {
		fetches, err := poll(ctx, c)
		if err != nil {
			return read, fmt.Errorf("%w: %s", err, topic)
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

// span is where each partition that holds anything begins and ends.
func span(ctx context.Context, opts []kgo.Opt, topic string) (from map[int32]kgo.Offset, left map[int32]int64, err error) {
	c, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("scan: %s: %w", topic, err)
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	starts, err1 := admin.ListStartOffsets(ctx, topic)
	ends, err2 := admin.ListCommittedOffsets(ctx, topic)
	if err := errors.Join(err1, err2, starts.Error(), ends.Error()); err != nil {
		return nil, nil, fmt.Errorf("scan: %s: %w", topic, err)
	}
	from, left = map[int32]kgo.Offset{}, map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if start, ok := starts.Lookup(topic, o.Partition); ok && o.Offset > start.Offset {
			from[o.Partition], left[o.Partition] = kgo.NewOffset().At(start.Offset), o.Offset
		}
	})
	return from, left, nil
}

// poll is a poll that says ErrGap when nothing comes for a while.
func poll(ctx context.Context, c *kgo.Client) (kgo.Fetches, error) {
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	fetches := c.PollFetches(waiting)
	if ctx.Err() == nil && waiting.Err() != nil {
		return nil, ErrGap
	}
	return fetches, errors.Join(ctx.Err(), fetches.Err())
}
