package parquet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
)

// Config is what the role needs. The zero value of a field means its default.
type Config struct {
	Kafka     []kgo.Opt             // seed brokers, TLS, SASL. Required.
	Codec     *events.Codec         // Required.
	Analytics *container.Client     // where the files go. Required.
	Group     string                // consumer group. Default: millrun-analytics.
	Clock     clock.Clock           // decides when a partition has been quiet. Default: the machine's.
	MaxRows   int                   // records of a file. Default: 100,000.
	Quiet     time.Duration         // how long nothing came before an open file is closed. Default: 10m.
	Poll      time.Duration         // how often the clock is asked, in real time. Default: 500ms.
	Log       *slog.Logger          // Default: slog.Default.
	Metrics   prometheus.Registerer // Default: none.
}

func (c Config) withDefaults() Config {
	if c.Group == "" {
		c.Group = events.GroupAnalytics
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.MaxRows == 0 {
		c.MaxRows = 100_000
	}
	if c.Quiet == 0 {
		c.Quiet = 10 * time.Minute
	}
	if c.Poll == 0 {
		c.Poll = 500 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if len(c.Kafka) == 0 {
		faults = append(faults, errors.New("parquet: Config.Kafka names no brokers"))
	}
	if c.Codec == nil {
		faults = append(faults, errors.New("parquet: Config.Codec is missing"))
	}
	if c.Analytics == nil {
		faults = append(faults, errors.New("parquet: Config.Analytics is missing"))
	}
	return errors.Join(faults...)
}

// Writer is the role analytics: it turns image-status into files. Run is its one goroutine and owns everything.
type Writer struct {
	c       Config
	blobs   blobs
	metrics metrics
	files   map[int32]*file    // open, by partition
	waiting map[int32][]record // polled, not in a file yet

	mu   sync.Mutex
	lost []int32 // partitions that another member reads from now on; forget adds, turn takes
}

// retryPause is how long the role waits, in real time, before it tries a file again that could not be written.
const retryPause = time.Second

// New checks the configuration.
func New(c Config) (*Writer, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	return &Writer{c: c, blobs: blobs{c.Analytics}, metrics: m, files: map[int32]*file{}, waiting: map[int32][]record{}}, nil
}

// Run consumes image-status until ctx ends. Files that are open then are not written: their records come again.
func (w *Writer) Run(ctx context.Context) error {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumerGroup(w.c.Group), kgo.ConsumeTopics(events.TopicImageStatus),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.FetchMaxBytes(8 << 20),
		kgo.OnPartitionsRevoked(w.forget), kgo.OnPartitionsLost(w.forget),
	}, w.c.Kafka...)...)
	if err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	defer cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		if err := w.turn(ctx, cl); err != nil {
			return err
		}
		cl.AllowRebalance()
	}
	return nil
}

// turn polls once and writes what is due. A failure of the storage is waited out, without reading on.
func (w *Writer) turn(ctx context.Context, cl *kgo.Client) error {
	poll, cancel := context.WithTimeout(ctx, w.c.Poll)
	defer cancel()
	fetches := cl.PollRecords(poll, 10_000)
	if fetches.IsClientClosed() {
		return errors.New("parquet: the Kafka client was closed")
	}
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			w.c.Log.Warn("reading for the analysts fails", "topic", topic, "partition", partition, "err", err)
		}
	})
	w.dropLost() // before what was polled since: a partition may have come back
	fetches.EachRecord(func(r *kgo.Record) { w.waiting[r.Partition] = append(w.waiting[r.Partition], record{src: r}) })
	for {
		err := w.work(ctx, cl)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		w.metrics.failures.Inc()
		w.c.Log.Warn("the analysts' files cannot be written and are tried again", "err", err)
		cl.AllowRebalance()
		if !pause(ctx, retryPause) {
			return nil
		}
		w.dropLost()
	}
}

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

// understand reads a record; an unreadable one becomes a dead letter and leaves no row. When the record is read again
// after a crash, so is the dead letter written again, saying the same.
func (w *Writer) understand(ctx context.Context, cl *kgo.Client, r *record) error {
	err := r.understand(w.c.Codec)
	if !errors.Is(err, events.ErrUnreadable) {
		return err
	}
	letter := dlq.Record(r.src, dlq.Failure{Stage: "analytics", Attempts: 1, Err: err})
	if err := cl.ProduceSync(ctx, letter).FirstErr(); err != nil {
		r.read = false
		return fmt.Errorf("parquet: dead letter of partition %d offset %d: %w", r.src.Partition, r.src.Offset, err)
	}
	w.metrics.unreadable.Inc()
	return nil
}

// work moves waiting records into files and writes the files that are whole. After an error nothing is lost: the same
// again goes on where it stopped.
func (w *Writer) work(ctx context.Context, cl *kgo.Client) error {
	var faults []error
	for p := range w.waiting {
		faults = append(faults, w.fill(ctx, cl, p))
	}
	for p, f := range w.files {
		if f.isWhole(w.c.Clock.Now(), w.c.Quiet) {
			faults = append(faults, w.finish(ctx, cl, p))
		}
	}
	return errors.Join(faults...)
}

func (w *Writer) fill(ctx context.Context, cl *kgo.Client, partition int32) error {
	for len(w.waiting[partition]) > 0 {
		r := w.waiting[partition][0]
		if err := w.understand(ctx, cl, &r); err != nil {
			return err
		}
		f := w.files[partition]
		switch {
		case f == nil:
			var err error
			if f, err = begin(ctx, w.blobs, events.TopicImageStatus, partition, r); err != nil {
				return err
			}
			w.files[partition] = f
		case f.endsBefore(r, w.c.MaxRows):
			w.waiting[partition][0] = r
			if err := w.finish(ctx, cl, partition); err != nil {
				return err
			}
			continue
		}
		f.records, f.touched = append(f.records, r), w.c.Clock.Now()
		w.waiting[partition] = w.waiting[partition][1:]
	}
	delete(w.waiting, partition)
	return nil
}

// finish writes a partition's file and commits behind it.
func (w *Writer) finish(ctx context.Context, cl *kgo.Client, partition int32) error {
	f := w.files[partition]
	rest, done, err := f.write(ctx, w.blobs)
	if err != nil || !done {
		return err
	}
	last := f.records[len(f.records)-1].src
	offsets := map[string]map[int32]kgo.EpochOffset{f.topic: {partition: {Epoch: last.LeaderEpoch, Offset: last.Offset + 1}}}
	var commitErr error
	cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *commitRequest, answer *commitResponse, err error) {
		commitErr = errors.Join(err, refused(answer))
	})
	if commitErr != nil {
		// The file stays: whoever reads the records again finds it and ends its own at the same record.
		return fmt.Errorf("parquet: commit behind %s: %w", f.name, commitErr)
	}
	w.metrics.files.Inc()
	w.metrics.rows.Add(float64(len(f.records)))
	delete(w.files, partition)
	w.waiting[partition] = append(rest, w.waiting[partition]...)
	return nil
}

// forget notes partitions that another member reads from now on. It runs on the Kafka client's goroutine.
func (w *Writer) forget(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = append(w.lost, lost[events.TopicImageStatus]...)
}

func (w *Writer) dropLost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.lost {
		delete(w.files, p)
		delete(w.waiting, p)
	}
	w.lost = nil
}
