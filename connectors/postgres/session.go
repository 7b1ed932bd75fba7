package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/connectors/postgres/changes"
)

// session is the life of one Kafka client of one incarnation of the topic. kgo's client never takes up a topic made anew,
// and a fault in a session is cured by beginning another one at the watermarks. The loop, in the goroutine that called
// Run, owns everything but the fields under mu, which kgo's callbacks write.
type session struct {
	a          *Applier
	side       *kgo.Client // asks about topics and writes dead letters
	admin      *kadm.Client
	client     *kgo.Client // the member of the group
	cluster    string
	topicID    uuid.UUID
	partitions int32
	owned      map[int32]*partition
	pruned     time.Time
	asked      time.Time // when the topic was last looked at
	looked     time.Time // when the login's rights were

	mu       sync.Mutex
	assigned map[int32]bool
	failed   error // why the session must end, from a callback
}

// pollWait bounds a poll, so that parked events and rebalances are looked at.
const pollWait = 200 * time.Millisecond

// session runs until something requires a new one; nil never comes back while ctx lives.
func (a *Applier) session(ctx context.Context) (err error) {
	s := &session{a: a, owned: map[int32]*partition{}, assigned: map[int32]bool{}}
	// The broker's limit decides about a dead letter's size, not the client's smaller one.
	s.side, err = kgo.NewClient(append(slices.Clone(a.cfg.Kafka), kgo.ProducerBatchMaxBytes(16<<20), kgo.ProducerLinger(0))...)
	if err != nil {
		return &fatalError{fmt.Errorf("postgres: Kafka options: %w", err)}
	}
	defer s.side.Close()
	s.admin = kadm.NewClient(s.side)
	if err := s.identify(ctx); err != nil {
		return err
	}
	s.client, err = kgo.NewClient(append(slices.Clone(a.cfg.Kafka), s.groupOptions()...)...)
	if err != nil {
		return &fatalError{fmt.Errorf("postgres: Kafka options: %w", err)}
	}
	defer s.client.CloseAllowingRebalance()
	return s.loop(ctx)
}

// identify reads which cluster and which incarnation of the topic this session is about.
func (s *session) identify(ctx context.Context) error {
	id, cluster, partitions, err := s.topic(ctx)
	if err != nil {
		return err
	}
	s.topicID, s.cluster, s.partitions = id, cluster, partitions
	return nil
}

// topic asks the brokers, past every cache: an answer from before the group's client took up the topic's id would prove
// nothing.
func (s *session) topic(ctx context.Context) (id uuid.UUID, cluster string, partitions int32, err error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	req.AllowAutoTopicCreation = false
	t.Topic = new(s.a.cfg.Name)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, s.side)
	if err == nil && (len(resp.Topics) != 1 || resp.ClusterID == nil) {
		err = errors.New("the answer names no topic or no cluster")
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		return id, "", 0, fmt.Errorf("postgres: ask about topic %s: %w", s.a.cfg.Name, err)
	}
	if resp.Topics[0].TopicID == [16]byte{} {
		return id, "", 0, &fatalError{fmt.Errorf("postgres: the brokers do not tell the id of topic %s: Kafka 3.1 or later is needed", s.a.cfg.Name)}
	}
	return resp.Topics[0].TopicID, *resp.ClusterID, int32(len(resp.Topics[0].Partitions)), nil
}

func (s *session) groupOptions() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(s.a.cfg.Group),
		kgo.ConsumeTopics(s.a.cfg.Name),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(time.Second),
		// A killed process keeps its partitions for this long. Kafka's 45 s spare others a needless rebalance; here one costs
		// nothing but a seek, since the database decides what is applied.
		kgo.SessionTimeout(10 * time.Second),
		kgo.HeartbeatInterval(2 * time.Second),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the watermark passes them too, so that lag becomes 0
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.FetchMaxBytes(16 << 20),
		kgo.MaxDecompressBatchBytes(64 << 20),
		kgo.AdjustFetchOffsetsFn(s.positions),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.assign(m, true) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.assign(m, false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.assign(m, false) }),
	}
	if s.a.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(s.a.cfg.InstanceID))
	}
	return opts
}

// assign notes what the group gave or took. Work in hand goes on: what it does to a partition that is gone is harmless,
// because the watermark's lock and value decide.
func (s *session) assign(m map[string][]int32, ours bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range m[s.a.cfg.Name] {
		if ours {
			s.assigned[p] = true
		} else {
			delete(s.assigned, p)
		}
	}
}

// positions is called by kgo before it fetches newly assigned partitions: whatever the group committed, each begins behind
// its watermark. The client took up the topic's id after identify and before this call, so if the id is still the same
// now, it is the client's too.
func (s *session) positions(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	err := s.seek(ctx, offsets[s.a.cfg.Name])
	if err != nil && ctx.Err() == nil {
		s.fail(err)
	}
	return offsets, err
}

func (s *session) seek(ctx context.Context, offsets map[int32]kgo.Offset) error {
	starts, err := s.admin.ListStartOffsets(ctx, s.a.cfg.Name)
	if err != nil {
		return fmt.Errorf("postgres: ask for start offsets: %w", err)
	}
	ends, err := s.admin.ListEndOffsets(ctx, s.a.cfg.Name)
	if err != nil {
		return fmt.Errorf("postgres: ask for end offsets: %w", err)
	}
	id, cluster, _, err := s.topic(ctx) // last, so that the offsets are of this incarnation too
	if err != nil {
		return err
	}
	if id != s.topicID || cluster != s.cluster {
		return errRecreated
	}
	for p := range offsets {
		last, err := s.watermark(ctx, s.a.pool, p)
		if err != nil {
			return err
		}
		start, _ := starts.Lookup(s.a.cfg.Name, p)
		end, _ := ends.Lookup(s.a.cfg.Name, p)
		if err := errors.Join(start.Err, end.Err); err != nil {
			return fmt.Errorf("postgres: offsets of partition %d: %w", p, err)
		}
		at, err := s.begin(p, last, start.Offset, end.Offset)
		if err != nil {
			return err
		}
		offsets[p] = kgo.NewOffset().At(at).WithEpoch(-1)
	}
	return nil
}

// errRecreated says that the topic was deleted and made again, or has other partitions than before.
var errRecreated = errors.New("postgres: the topic was made anew or given more partitions")

// begin is the offset behind the watermark, as far as the log has it.
func (s *session) begin(p int32, last, start, end int64) (int64, error) {
	at := last + 1
	switch {
	case at > end:
		return 0, &fatalError{fmt.Errorf("postgres: partition %d of %s ends at offset %d, but everything up to %d is settled: "+
			"the log lost records, and new ones would pass for applied; make the topic anew, or set last_offset in its row of pipeline.applied_offsets to %d",
			p, s.a.cfg.Name, end, last, end-1)}
	case at >= start:
		return at, nil
	case last >= 0:
		s.a.metrics.lost.WithLabelValues(s.a.cfg.Topic).Add(float64(start - at))
		s.a.cfg.Log.Error("records expired before they were applied", "partition", p, "from", at, "to", start-1)
	}
	return start, nil
}

// fail makes the loop end the session.
func (s *session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

// loop polls, applies, tries parked events again and forgets old event ids.
func (s *session) loop(ctx context.Context) error {
	for {
		fetches := s.poll(ctx)
		if err := s.check(ctx, fetches); err != nil {
			return err
		}
		if err := s.sameTopic(ctx); err != nil {
			return err
		}
		if err := s.sync(ctx); err != nil {
			return err
		}
		var err error
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if p := s.owned[f.Partition]; err == nil && p != nil {
				err = s.records(ctx, p, f.Records)
			}
		})
		if err != nil {
			return err
		}
		if err := s.parkedEvents(ctx); err != nil {
			return err
		}
		if err := s.prune(ctx); err != nil {
			return err
		}
	}
}

func (s *session) poll(ctx context.Context) kgo.Fetches {
	ctx, cancel := context.WithTimeout(ctx, pollWait)
	defer cancel()
	return s.client.PollRecords(ctx, 4*s.a.cfg.BatchRecords)
}

// check ends the session for any fault of Kafka that kgo does not cure by itself: beginning again at the watermarks is
// always right.
func (s *session) check(ctx context.Context, fetches kgo.Fetches) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	if failed != nil {
		return failed
	}
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) {
			continue
		}
		if errors.Is(e.Err, kerr.UnknownTopicID) {
			return errRecreated
		}
		return fmt.Errorf("postgres: fetch %s/%d: %w", e.Topic, e.Partition, e.Err)
	}
	return nil
}

// topicEvery is how often the topic is looked at: kgo notices a new incarnation too, several seconds later.
const topicEvery = time.Second

// sameTopic ends the session when the topic was deleted, made anew or given more partitions. That the brokers do not answer
// is no reason.
func (s *session) sameTopic(ctx context.Context) error {
	if time.Since(s.asked) < topicEvery {
		return nil
	}
	s.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, topicEvery)
	defer cancel()
	id, cluster, partitions, err := s.topic(ctx)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return err
	case err == nil && (id != s.topicID || cluster != s.cluster || partitions != s.partitions):
		return errRecreated
	default:
		return nil
	}
}

// sync takes up what was assigned and drops what was revoked.
func (s *session) sync(ctx context.Context) error {
	s.mu.Lock()
	assigned := maps.Clone(s.assigned)
	s.mu.Unlock()
	for number := range s.owned {
		if !assigned[number] {
			delete(s.owned, number)
		}
	}
	for number := range assigned {
		if s.owned[number] != nil {
			continue
		}
		err := s.a.keepTrying(ctx, "read the watermark", func(ctx context.Context) error {
			p, err := s.load(ctx, number)
			if err == nil {
				s.owned[number] = p
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	s.a.setReady(nil)
	return nil
}

// records applies what was fetched of one partition, batch by batch.
func (s *session) records(ctx context.Context, p *partition, records []*kgo.Record) error {
	for batch := range slices.Chunk(records, s.a.cfg.BatchRecords) {
		items := make([]*item, len(batch))
		for i, rec := range batch {
			items[i] = &item{rec: rec, id: recordID{s.topicID, rec.Partition, rec.Offset}}
			if rec.Attrs.IsControl() {
				continue
			}
			if err := s.a.keepTrying(ctx, "decode", func(ctx context.Context) error { return s.decode(ctx, items[i]) }); err != nil {
				return err
			}
		}
		err := s.a.keepTrying(ctx, "apply a batch", func(ctx context.Context) error {
			return restartable(s.apply(ctx, p, items))
		})
		if err != nil {
			return unwrapRestart(err)
		}
	}
	return nil
}

// decode fills in the item's event, or the fault of its value. The error is that of the schema registry.
func (s *session) decode(ctx context.Context, it *item) error {
	event, err := changes.Decoder{Registry: s.a.cfg.Registry}.Decode(ctx, s.a.cfg.Topic, it.rec.Value)
	if fault, ok := errors.AsType[*changes.Error](err); ok {
		it.cause = fault
		return nil
	}
	it.event = event
	return err
}

// parkedEvents tries a page of the parked events that are due. Between pages the loop takes what Kafka has, so that other
// keys go on however many are parked.
func (s *session) parkedEvents(ctx context.Context) error {
	for _, p := range s.owned {
		if p.parked == 0 || time.Now().Before(p.next) {
			continue
		}
		err := s.a.keepTrying(ctx, "try parked events", func(ctx context.Context) error {
			return restartable(s.tryParked(ctx, p))
		})
		if err != nil {
			return unwrapRestart(err)
		}
	}
	return nil
}

// The applied event ids are looked through this often, and deleted in steps of so many.
const (
	pruneEvery = 30 * time.Second
	pruneStep  = 5000
)

// prune forgets event ids that no copy in the topic can have any more.
func (s *session) prune(ctx context.Context) error {
	if time.Since(s.pruned) < pruneEvery || len(s.owned) == 0 {
		return nil
	}
	s.pruned = time.Now()
	return s.a.keepTrying(ctx, "forget old event ids", func(ctx context.Context) error {
		for {
			tag, err := s.a.pool.Exec(ctx, `DELETE FROM pipeline.applied_events WHERE applier = $1 AND event_id IN
				(SELECT event_id FROM pipeline.applied_events WHERE applier = $1 AND applied_at < $2 LIMIT $3)`,
				s.a.role, s.a.cfg.Clock.Now().Add(-s.a.cfg.Retention), pruneStep)
			if err != nil {
				return fmt.Errorf("postgres: forget old event ids: %w", err)
			}
			if tag.RowsAffected() < pruneStep {
				return nil
			}
		}
	})
}

// restart carries an error that only a new session cures through keepTrying.
type restart struct{ err *fatalError }

func (r *restart) Error() string { return r.err.Error() }
func (r *restart) Unwrap() error { return r.err }

// restartable marks the errors after which the same batch must not simply be tried again.
func restartable(err error) error {
	if errors.Is(err, errRewound) {
		return &restart{&fatalError{err}}
	}
	return err
}

// unwrapRestart takes the mark off, so that Run begins a new session.
func unwrapRestart(err error) error {
	if r, ok := errors.AsType[*restart](err); ok {
		return r.err.err
	}
	return err
}
