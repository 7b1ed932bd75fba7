package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Bounds of what a session holds: the records of one poll and as much again on their way to it.
const (
	fetchBytes = 16 << 20
	batchMost  = 100
)

// sendTimeout bounds how long our own brokers may take for a batch's records.
const sendTimeout = 30 * time.Second

// longestPatience is the most that the bridge waits after a failure.
const longestPatience = 30 * time.Second

// largestRecord is what our topics for dead letters take: the feed's 8 MiB and the headers besides.
const largestRecord = 9 << 20

// Bridge carries the company's feed over. Run owns every goroutine; the other methods are safe for concurrent use.
type Bridge struct {
	cfg     Config
	open    *opener
	fetch   *fetcher
	metrics *metrics

	mu    sync.Mutex
	state error // nil while a session runs
}

// errIdle is a Bridge's state before and between sessions.
var errIdle = errors.New("feed: not reading yet")

// New checks the configuration, all faults at once. Nothing is opened before Run.
func New(cfg Config) (*Bridge, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	open, err := newOpener(cfg.Schemas)
	if err != nil {
		return nil, fmt.Errorf("feed: envelope: %w", err)
	}
	fetch, err := newFetcher(cfg.AllowURLs, public)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	return &Bridge{cfg: cfg, open: open, fetch: fetch, metrics: m, state: errIdle}, nil
}

// Ready is nil while the feed is being read, and otherwise says why it is not.
func (b *Bridge) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

func (b *Bridge) setState(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = err
}

// Run carries records over until ctx ends, and then returns nil. Whatever goes wrong meanwhile is waited out: the
// session is given up, and the next begins at the last commit.
func (b *Bridge) Run(ctx context.Context) error {
	defer b.fetch.close()
	send, err := kgo.NewClient(append(append([]kgo.Opt{}, b.cfg.Kafka...),
		kgo.ClientID("millrun-feed"),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(largestRecord),
		kgo.RecordDeliveryTimeout(sendTimeout),
	)...)
	if err != nil {
		return fmt.Errorf("feed: producer: %w", err)
	}
	defer send.Close()
	wait := b.cfg.Patience
	for {
		carried, err := b.session(ctx, send)
		b.setState(errors.Join(errIdle, err))
		if ctx.Err() != nil {
			return nil
		}
		if carried {
			wait = b.cfg.Patience
		}
		b.metrics.restarts.Inc()
		b.cfg.Log.Warn("the feed waits and begins again at its last commit", "wait", wait, "error", err)
		if !pause(ctx, wait) {
			return nil
		}
		wait = min(2*wait, longestPatience)
	}
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// session reads with one client until something fails. carried says whether it got anything over before.
func (b *Bridge) session(ctx context.Context, send *kgo.Client) (carried bool, err error) {
	from, err := kgo.NewClient(append(append([]kgo.Opt{}, b.cfg.From...),
		kgo.ClientID("millrun-feed"),
		kgo.ConsumerGroup(b.cfg.Group),
		kgo.ConsumeTopics(b.cfg.Topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // what retention took is gone; what is left is not to be passed over
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(fetchBytes/2),
		kgo.MaxConcurrentFetches(1),
		kgo.MaxDecompressBatchBytes(64<<20),
	)...)
	if err != nil {
		return false, fmt.Errorf("feed: consumer: %w", err)
	}
	defer from.CloseAllowingRebalance()
	origin, err := b.origin(ctx, from)
	if err != nil {
		return false, err
	}
	b.setState(nil)
	for {
		fetches := from.PollRecords(ctx, batchMost)
		if ctx.Err() != nil {
			return carried, nil
		}
		if err := fetches.Err(); err != nil {
			return carried, fmt.Errorf("feed: poll: %w", err)
		}
		records := fetches.Records()
		if len(records) > 0 {
			if err := b.carry(ctx, send, origin, records); err != nil {
				return carried, err
			}
			if err := from.CommitRecords(ctx, records...); err != nil {
				return carried, fmt.Errorf("feed: commit: %w", err)
			}
			carried = true
		}
		from.AllowRebalance()
	}
}

// origin is which cluster and which topic the feed comes from: names may be used again, these ids are not.
type origin struct {
	cluster string
	topic   [16]byte
}

func (b *Bridge) origin(ctx context.Context, from *kgo.Client) (origin, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m, err := kadm.NewClient(from).Metadata(ctx, b.cfg.Topic)
	if err != nil {
		return origin{}, fmt.Errorf("feed: brokers: %w", err)
	}
	t := m.Topics[b.cfg.Topic]
	if t.Err != nil {
		return origin{}, fmt.Errorf("feed: topic %s: %w", b.cfg.Topic, t.Err)
	}
	return origin{m.Cluster, t.ID}, nil
}
