package kafkad

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// coverTombstones sees to it that no log ends with a batch that compaction should thin out: kfake never compacts the last
// one. Behind such a batch goes the end marker of a transaction without records, which clients skip, and which holds
// no data. A log that holds nothing else afterwards is emptied when its marker is all there is.
func (c *cleaner) coverTombstones(ctx context.Context, compacting []topic) error {
	clock := c.s.config.Clock.Now()
	cover := make(map[string][]int32)
	for _, t := range compacting {
		oldest := clock.Add(-t.millis("delete.retention.ms", defaultDeleteRetention))
		for _, p := range t.partitions {
			st := c.compactions[partition{t.name, p.Partition}]
			if st == nil || p.HighWatermark == p.LogStartOffset || !st.isLast(t, p.MaxTimestamp, clock) {
				continue
			}
			thin, err := c.lastBatchThins(ctx, t.name, p, oldest)
			if err != nil {
				return err
			}
			if thin {
				cover[t.name] = append(cover[t.name], p.Partition)
			}
		}
	}
	if len(cover) == 0 {
		return nil
	}
	if err := c.appendMarkers(ctx, cover); err != nil {
		return err
	}
	// The marker is no arrival: what counts for the log's age came before.
	for name, ids := range cover {
		for _, id := range ids {
			if info := c.s.cluster.PartitionInfo(name, id); info != nil {
				st := c.compactions[partition{name, id}]
				st.end, st.marker = info.HighWatermark, info.HighWatermark-1
			}
		}
	}
	return nil
}

// lastBatchThins says whether the last batch holds a tombstone from before oldest, or a key twice.
func (c *cleaner) lastBatchThins(ctx context.Context, name string, p *kfake.PartitionInfo, oldest time.Time) (bool, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes = 1<<30, 0
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = name
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = p.Partition, p.HighWatermark-1, 1<<30
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, c.s.client)
	if err != nil {
		return false, fmt.Errorf("kafkad: read the end of %s-%d: %w", name, p.Partition, err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		return false, nil // deleted meanwhile
	}
	raw := resp.Topics[0].Partitions[0].RecordBatches
	if len(raw) < batchRecordsAt {
		return false, nil
	}
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		return false, fmt.Errorf("kafkad: read the end of %s-%d: %w", name, p.Partition, err)
	}
	return thins(b, oldest)
}

func thins(b kmsg.RecordBatch, oldest time.Time) (bool, error) {
	if b.Attributes&batchControlBit != 0 {
		return false, nil
	}
	records, err := kfake.BatchRecords(b)
	if err != nil {
		return false, fmt.Errorf("kafkad: %w", err)
	}
	keys := make(map[string]bool, len(records))
	for _, r := range records {
		if keys[string(r.Key)] {
			return true, nil
		}
		keys[string(r.Key)] = true
		if r.Value == nil && b.FirstTimestamp+r.TimestampDelta64 <= oldest.UnixMilli() {
			return true, nil
		}
	}
	return false, nil
}

// appendMarkers runs a transaction over the partitions that produces nothing.
func (c *cleaner) appendMarkers(ctx context.Context, cover map[string][]int32) error {
	id := "millrun-kafkad-cleaner"
	start := kmsg.NewPtrInitProducerIDRequest()
	start.TransactionalID, start.TransactionTimeoutMillis = &id, 60_000
	producer, err := start.RequestWith(ctx, c.s.client)
	if err == nil {
		err = kerr.ErrorForCode(producer.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("kafkad: mark logs: %w", err)
	}
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = id, producer.ProducerID, producer.ProducerEpoch
	for name, ids := range cover {
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = name, ids
		add.Topics = append(add.Topics, t)
	}
	added, err := add.RequestWith(ctx, c.s.client)
	if err != nil {
		return fmt.Errorf("kafkad: mark logs: %w", err)
	}
	var errs []error
	for _, t := range added.Topics {
		for _, p := range t.Partitions {
			errs = append(errs, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = id, producer.ProducerID, producer.ProducerEpoch, true
	ended, err := end.RequestWith(ctx, c.s.client)
	if err == nil {
		err = kerr.ErrorForCode(ended.ErrorCode)
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("kafkad: mark logs: %w", err)
	}
	return nil
}
