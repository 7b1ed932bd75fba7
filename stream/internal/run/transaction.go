package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream/internal/task"
)

// feature is what brokers say of KIP-890: from version 2 on, each transaction has an epoch of its own, so that what is late
// from one can never become part of the next.
const feature, featureLeast = "transaction.version", 2

// finalized asks the brokers which version of a feature is in force; 0: none.
func (e *Engine) finalized(ctx context.Context, feature string) (int16, error) {
	resp, err := e.abilities(ctx)
	if err != nil {
		return 0, err
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == feature {
			return f.MaxVersionLevel, nil
		}
	}
	return 0, nil
}

func (e *Engine) abilities(ctx context.Context) (*kmsg.ApiVersionsResponse, error) {
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, e.client)
	if err != nil {
		return nil, fmt.Errorf("stream: what brokers can do: %w", err)
	}
	return resp, nil
}

// transactions refuses brokers whose transactions may lose or double a record, unless they were accepted.
func (e *Engine) transactions(ctx context.Context) error {
	if !e.o.ExactlyOnce {
		return nil
	}
	level, err := e.finalized(ctx, feature)
	if e.implicit = level >= featureLeast; err != nil || e.implicit {
		return err
	}
	if e.o.AcceptOldBrokers {
		e.o.Log.Warn("the brokers have no " + feature + " 2: a request of theirs that is late can become part of a later transaction (KIP-890)")
		return nil
	}
	return fmt.Errorf("stream: exactly-once needs brokers that finalize %s=%d (Kafka 4.0 and later; kafka-features.sh upgrade --feature %s=%d): "+
		"without it a late request can become part of a later transaction (KIP-890); Config.AcceptOldBrokers takes that risk", feature, featureLeast, feature, featureLeast)
}

// begin opens a transaction with the first record that is sent.
func (p *producer) begin() error {
	if !p.e.o.ExactlyOnce || p.open {
		return nil
	}
	p.e.fail.At("begin-before")
	if err := p.cl.BeginTransaction(); err != nil {
		if err = advised(p.e.app, err); !isAny(err, ofOperator) {
			err = fmt.Errorf("%w: %w", err, kerr.ProducerFenced)
		}
		return &trouble{sending, fmt.Errorf("begin a transaction: %w", err)}
	}
	p.open = true
	p.e.fail.At("begin-after")
	p.acked.Store(false)
	return nil
}

// conclude ends the transaction, with the offsets as part of it. Everything sent must have been acknowledged. Without a
// record there is nothing the offsets would have to be one with: they are committed by themselves, and fenced the same way.
func (t *thread) conclude(ctx context.Context, offsets []task.Offset) error {
	defer t.waited(time.Now())
	p := t.producer
	if p.open && !p.acked.Load() { // every record was refused and let go: the broker knows of no transaction
		if err := t.abort(ctx); err != nil {
			return err
		}
	}
	if !p.open {
		if len(offsets) == 0 {
			return nil
		}
		return t.commitOffsets(ctx, offsets)
	}
	if len(offsets) > 0 {
		t.e.fail.At("txn-offsets-before")
		if err := t.addOffsets(ctx, offsets); err != nil {
			return err
		}
		t.e.fail.At("txn-offsets-after")
	}
	t.e.fail.At("end-before")
	if err := p.cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return &trouble{concluding, err}
	}
	t.e.fail.At("end-after")
	p.open = false
	return nil
}

// abort takes back what was sent since the last commit. An error means that the client can do no more with this producer.
func (t *thread) abort(ctx context.Context) error {
	p := t.producer
	if !p.open {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	t.e.fail.At("abort-before")
	defer t.e.fail.At("abort-after")
	err := p.cl.AbortBufferedRecords(ctx)
	for err == nil {
		if err = p.cl.EndTransaction(ctx, kgo.TryAbort); err == nil || !kerr.IsRetriable(err) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			err = nil
		}
	}
	if err == nil { // an ending that was refused leaves the id to be loaded anew, which aborts what the broker still has open
		_, _, err = p.cl.ProducerID(ctx)
	}
	p.open = false
	p.forget()
	if err != nil {
		return fmt.Errorf("%w: abort: %w", errFenced, err)
	}
	t.e.o.Metrics.Add("millrun_stream_transactions_aborted_total", 1, t.labels()...)
	return nil
}

// takeOver lets the brokers abort what the thread's last client has left open: others, and the thread itself, would wait for
// the committed offsets until the transaction's timeout otherwise.
func (t *thread) takeOver(cl *kgo.Client) {
	if t.transactional == "" {
		return
	}
	ctx, cancel := context.WithTimeout(t.life, t.e.o.TransactionTimeout) // by then it is aborted anyway
	defer cancel()
	if _, _, err := cl.ProducerID(ctx); err != nil {
		t.log.Warn("an open transaction could not be taken over; it ends by its timeout", "error", err)
	}
}

// forget drops the failures of a transaction that is no more.
func (p *producer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.lost = nil, nil
	p.failed.Store(false)
}

// undo aborts the transaction. The tasks that have worked since the last commit begin anew from there: their stores are made
// again from the changelogs, which show nothing of what was aborted, and their input is read again. No rebalance is needed.
func (t *thread) undo(ctx context.Context) error {
	if err := t.abort(ctx); err != nil {
		return err
	}
	if t.e.o.ExactState { // what is under way would come behind the end of what is restored
		if err := t.flush(ctx); err != nil {
			return fmt.Errorf("%w: %w", errFenced, err)
		}
	}
	topicsOf := map[task.ID]map[string]bool{}
	worked := map[task.ID]*active{}
	var at []part
	for id, a := range t.tasks {
		if !a.running {
			continue
		}
		worked[id], topicsOf[id] = a, a.partitions
		for topic := range a.partitions {
			at = append(at, part{topic, id.Partition})
		}
	}
	offsets, err := t.committed(ctx, at)
	if err != nil {
		// Whether we are still a member is not known either: join again.
		return fmt.Errorf("%w: %w", errFenced, err)
	}
	t.e.works(t.name, false)
	if t.e.fail.Planted("state-survives-abort") {
		clear(worked)
	}
	for id := range worked {
		delete(t.tasks, id)
	}
	t.giveUp(t.drop(worked))
	back := map[string]map[int32]kgo.EpochOffset{}
	for from, o := range offsets {
		t.fetched[from] = o
		if back[from.topic] == nil {
			back[from.topic] = map[int32]kgo.EpochOffset{}
		}
		back[from.topic][from.partition] = kgo.EpochOffset{Epoch: o.Epoch, Offset: o.Offset}
	}
	for id, topics := range topicsOf {
		if err := t.regain(id, slices.Collect(maps.Keys(topics))); err != nil {
			return err
		}
	}
	if !t.e.fail.Planted("input-not-read-again") {
		t.rewind(back)
	}
	return nil
}

// committed asks the group where partitions of ours were committed, once no transaction has a say in it any more. A
// partition that never was is still at its beginning.
func (t *thread) committed(ctx context.Context, at []part) (map[part]task.Offset, error) {
	out := map[part]task.Offset{}
	if len(at) == 0 {
		return out, nil
	}
	for _, p := range at {
		out[p] = t.fetched[p]
	}
	ctx, cancel := context.WithTimeout(ctx, t.e.o.TransactionTimeout+commitTimeout)
	defer cancel()
	for {
		found, err := t.askCommitted(ctx, identity{}, at)
		if err == nil {
			maps.DeleteFunc(found, func(_ part, o task.Offset) bool { return o.Offset < 0 })
			maps.Copy(out, found)
			return out, nil
		}
		if ke, ok := errors.AsType[*kerr.Error](err); ok && !ke.Retriable {
			return nil, fmt.Errorf("fetch committed offsets: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("fetch committed offsets: %w", err)
		case <-time.After(pause):
		}
	}
}

// askCommitted returns what is known; the offset of a partition that never was committed is -1. The error is that of a
// partition of which nothing is known, or of all.
func (t *thread) askCommitted(ctx context.Context, who identity, at []part) (map[part]task.Offset, error) {
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = t.e.app
	if who.member != "" {
		group.MemberID, group.MemberEpoch = &who.member, who.epoch
	}
	index, names := map[string]int{}, map[[16]byte]string{}
	for _, p := range at {
		i, ok := index[p.topic]
		if !ok {
			i = len(group.Topics)
			index[p.topic] = i
			topic := kmsg.NewOffsetFetchRequestGroupTopic()
			topic.Topic, topic.TopicID = p.topic, t.e.partitions.topicID(p.topic)
			names[topic.TopicID] = p.topic
			group.Topics = append(group.Topics, topic)
		}
		group.Topics[i].Partitions = append(group.Topics[i].Partitions, p.partition)
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	req.Groups = append(req.Groups, group)
	resp, err := req.RequestWith(ctx, t.cl)
	if err != nil {
		return nil, err
	}
	if len(resp.Groups) != 1 {
		return nil, fmt.Errorf("%d groups in the answer", len(resp.Groups))
	}
	g := resp.Groups[0]
	if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
		return nil, err
	}
	return offsetsOf(g.Topics, names)
}

func offsetsOf(topics []kmsg.OffsetFetchResponseGroupTopic, names map[[16]byte]string) (map[part]task.Offset, error) {
	out := map[part]task.Offset{}
	var unknown error
	for _, topic := range topics {
		name := topic.Topic
		if name == "" {
			name = names[topic.TopicID]
		}
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				unknown = err
				continue
			}
			o := task.Offset{Topic: name, Partition: p.Partition, Offset: p.Offset, Epoch: p.LeaderEpoch}
			if p.Metadata != nil {
				o.Metadata = *p.Metadata
			}
			out[part{name, p.Partition}] = o
		}
	}
	return out, unknown
}

// addOffsets makes offsets part of the transaction, as this member of this generation (KIP-447): a member the group has given
// up is refused, and its whole transaction with it.
func (t *thread) addOffsets(ctx context.Context, offsets []task.Offset) error {
	if t.member.identity().member == "" {
		return &trouble{committing, errMoved} // it would not be fenced
	}
	id, epoch, err := t.cl.ProducerID(ctx)
	if err != nil {
		return &trouble{committing, err}
	}
	if !t.e.implicit {
		if err := t.addGroup(ctx, id, epoch); err != nil {
			return err
		}
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = t.transactional, t.e.app, id, epoch
	req.InstanceID = t.instance
	at := map[string]int{}
	for _, o := range offsets {
		i, ok := at[o.Topic]
		if !ok {
			i = len(req.Topics)
			at[o.Topic] = i
			topic := kmsg.NewTxnOffsetCommitRequestTopic()
			topic.Topic, topic.TopicID = o.Topic, t.e.partitions.topicID(o.Topic)
			req.Topics = append(req.Topics, topic)
		}
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch = o.Partition, o.Offset, o.Epoch
		p.Metadata = new(o.Metadata)
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	return t.asMember(ctx, func(who identity) error {
		if t.e.fail.Planted("unfenced-commit") {
			who = identity{epoch: -1}
		}
		req.MemberID, req.Generation = who.member, who.epoch
		resp, err := req.RequestWith(ctx, t.cl)
		if err != nil {
			return err
		}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// addGroup tells brokers before KIP-890 that the group's offsets are part of the transaction.
func (t *thread) addGroup(ctx context.Context, id int64, epoch int16) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = t.transactional, id, epoch, t.e.app
	return t.patient(ctx, func() error {
		resp, err := req.RequestWith(ctx, t.cl)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
}

// patient asks until the answer is not that a coordinator is busy, moving or loading.
func (t *thread) patient(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		if !kerr.IsRetriable(err) && !errors.Is(err, kerr.ConcurrentTransactions) {
			return troubled(committing, err)
		}
		select {
		case <-ctx.Done():
			return &trouble{committing, err}
		case <-time.After(pause):
		}
	}
}
