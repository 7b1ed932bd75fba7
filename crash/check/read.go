package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reader reads whole topics.
type reader struct {
	broker string
	client *kgo.Client
	admin  *kadm.Client
}

func newReader(broker string) (*reader, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return nil, err
	}
	return &reader{broker: broker, client: client, admin: kadm.NewClient(client)}, nil
}

func (r *reader) close() { r.client.Close() }

// ends are the ends of a topic's partitions. Where only committed records count, it first waits until no transaction is open:
// one of a process that was killed lasts until its timeout.
func (r *reader) ends(ctx context.Context, topic string, committed bool) (map[int32]int64, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		high, err := r.admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = high.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("ends of %s: %w", topic, err)
		}
		stable, err := r.admin.ListCommittedOffsets(ctx, topic)
		if err == nil {
			err = stable.Error()
		}
		if err != nil {
			return nil, fmt.Errorf("stable ends of %s: %w", topic, err)
		}
		ends, open := map[int32]int64{}, false
		high.Each(func(o kadm.ListedOffset) {
			s, ok := stable.Lookup(topic, o.Partition)
			open = open || !ok || s.Offset < o.Offset
			ends[o.Partition] = o.Offset
		})
		if !committed || !open {
			return ends, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("a transaction of %s stays open: %w", topic, ctx.Err())
		case <-tick.C:
		}
	}
}

// read calls each for every record there is, partition by partition in order of offsets. It fails when it does not come to
// the end before ctx does.
func (r *reader) read(ctx context.Context, topic string, committed bool, each func(*kgo.Record)) error {
	ends, err := r.ends(ctx, topic, committed)
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(r.broker), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords()} // the mark of a transaction's end may be the last record
	if committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	left := 0
	for _, end := range ends {
		if end > 0 {
			left++
		}
	}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d partitions of %s were not read to their ends: %w", left, topic, err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if rec.Offset >= ends[rec.Partition] {
				return
			}
			if !rec.Attrs.IsControl() {
				each(rec)
			}
			if rec.Offset == ends[rec.Partition]-1 {
				left--
			}
		})
	}
	return nil
}
