package crash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Apache Kafka 4.3.1 loses markers of transactions when its only broker is killed between the decision and the markers: while the broker
// that is started again is fenced, no partition has a leader (KRaftMetadataCache.getPartitionLeaderEndpoint is empty), and the
// transaction coordinator takes partitions without one for deleted, skips their markers and calls the transaction complete. Whoever
// reads what is committed then waits there for ever. The rig writes such markers itself, as the coordinator has decided, and says so.

// decisions are what a transaction coordinator has decided.
type decisions struct {
	of   map[txn]decision
	next map[int32]int64 // by partition of its log
}

// txn is a transaction by its producer and the epoch that its end has: the one after that of its records (KIP-890).
type txn struct {
	producer int64
	epoch    int16
}

type decision struct{ commit, complete bool }

// coordinatorLog is where a transaction coordinator keeps its decisions.
const coordinatorLog = "__transaction_state"

// note takes in a record of the coordinator's log. One that cannot be read is left out.
func (d *decisions) note(r *kgo.Record) {
	d.next[r.Partition] = r.Offset + 1
	var v kmsg.TxnMetadataValue
	if r.Value == nil || v.ReadFrom(r.Value) != nil {
		return
	}
	at := txn{v.ProducerID, v.ProducerEpoch}
	switch v.State {
	case kmsg.TransactionStatePrepareCommit:
		d.of[at] = decision{commit: true}
	case kmsg.TransactionStatePrepareAbort:
		d.of[at] = decision{}
	case kmsg.TransactionStateCompleteCommit:
		d.of[at] = decision{commit: true, complete: true}
	case kmsg.TransactionStateCompleteAbort:
		d.of[at] = decision{complete: true}
	}
}

// missing are the markers of transactions that are open in a partition although the coordinator said before that they were complete.
func (d *decisions) missing(open []kadm.DescribedProducer) (out []kadm.TxnMarkers) {
	for _, p := range open {
		end := txn{p.ProducerID, p.ProducerEpoch + 1}
		decided, ok := d.of[end]
		if p.CurrentTxnStartOffset < 0 || !ok || !decided.complete {
			continue
		}
		topics := kadm.TopicsSet{}
		topics.Add(p.Topic, p.Partition)
		out = append(out, kadm.TxnMarkers{
			ProducerID: end.producer, ProducerEpoch: end.epoch, Commit: decided.commit, CoordinatorEpoch: max(0, p.CoordinatorEpoch), Topics: topics,
		})
	}
	return out
}

// mender finds and writes markers that a broker has lost.
type mender struct {
	client  *kgo.Client
	adm     *kadm.Client
	decided decisions
}

func newMender(brokers ...string) (*mender, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(coordinatorLog), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, fmt.Errorf("crash: client: %w", err)
	}
	return &mender{client, kadm.NewClient(client), decisions{map[txn]decision{}, map[int32]int64{}}}, nil
}

// mend writes what is missing now and says how many markers that were.
func (m *mender) mend(ctx context.Context) (int, error) {
	if err := m.read(ctx); err != nil { // first: of what is complete here the markers are written
		return 0, err
	}
	topics, err := m.adm.ListTopicsWithInternal(ctx)
	if err != nil {
		return 0, err
	}
	producers, err := m.adm.DescribeProducers(ctx, topics.TopicsSet())
	if err != nil {
		return 0, err
	}
	lost := m.decided.missing(producers.SortedProducers())
	if len(lost) == 0 {
		return 0, nil
	}
	wrote, err := m.adm.WriteTxnMarkers(ctx, lost...)
	if err != nil {
		return 0, err
	}
	n, errs := 0, []error(nil)
	wrote.EachPartition(func(p kadm.TxnMarkersPartitionResponse) {
		if p.Err != nil {
			errs = append(errs, fmt.Errorf("crash: marker of producer %d for %s-%d: %w", p.ProducerID, p.Topic, p.Partition, p.Err))
			return
		}
		n++
	})
	return n, errors.Join(errs...)
}

// read goes on to the end of the coordinator's log.
func (m *mender) read(ctx context.Context) error {
	ends, err := m.adm.ListEndOffsets(ctx, coordinatorLog)
	if err != nil {
		return err
	}
	for {
		behind := slices.ContainsFunc(ends.Offsets().Sorted(), func(o kadm.Offset) bool { return m.decided.next[o.Partition] < o.At })
		if !behind {
			return nil
		}
		fetches := m.client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		fetches.EachRecord(m.decided.note)
	}
}

// mending is how often the rig looks for markers that the broker has lost.
const mending = 5 * time.Second

// keep mends now and then until ctx ends, and returns how many markers it wrote. What the broker does not answer is tried again.
func (m *mender) keep(ctx context.Context) (n int, last error) {
	tick := time.NewTicker(mending)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return n, last
		case <-tick.C:
		}
		wrote, err := m.mend(ctx)
		if n += wrote; err == nil || ctx.Err() == nil {
			last = err
		}
	}
}
