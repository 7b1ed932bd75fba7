// Package sink is the role that archives images: the stream application millrun-archive.
//
// It reads processed-images, copies the original and each derivative from staging into the archive, adds a metadata
// document, says "archived" on image-status with the version of each blob, and deletes the staging blobs. An image that
// has expired by then is not archived but rejected. Everything can be done again: what the archive holds already, with
// the same digest, counts as done, also when staging is gone.
package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/internal/patience"
	"github.com/millrun/millrun/stream"
)

// Staging is where the bytes come from; azblob.Staging is one. Safe for concurrent use.
type Staging interface {
	Read(ctx context.Context, name string, limit int64) ([]byte, error) // azblob.ErrNotFound, *azblob.TooLargeError
	Delete(ctx context.Context, name string) error                      // absent is no error
}

// Archive is where they go; azblob.Archive is one. Safe for concurrent use.
type Archive interface {
	Put(ctx context.Context, o azblob.Object) (azblob.Stored, error)
	List(ctx context.Context, prefix string, f func(azblob.Entry) error) error
}

// Config is what the role needs. The zero value of a field means its default.
type Config struct {
	Kafka          []kgo.Opt             // seed brokers, TLS, SASL. Required to run.
	Codec          *events.Codec         // Required to run.
	Staging        Staging               // Required to run.
	Archive        Archive               // Required to run.
	Clock          clock.Clock           // decides what has expired. Default: the machine's.
	Stamp          clock.Clock           // the stream application's clock. Default: the machine's.
	Threads        int                   // images archived at a time. Default: twice GOMAXPROCS, since it mostly waits.
	CommitInterval time.Duration         // Default: 1s.
	Replication    int                   // of internal topics. Default: the broker's.
	Log            *slog.Logger          // Default: slog.Default.
	Metrics        prometheus.Registerer // Default: none.
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Stamp == nil {
		c.Stamp = clock.System{}
	}
	if c.Threads == 0 {
		c.Threads = 2 * runtime.GOMAXPROCS(0)
	}
	if c.CommitInterval == 0 {
		c.CommitInterval = time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	for what, missing := range map[string]bool{"Kafka": len(c.Kafka) == 0, "Codec": c.Codec == nil, "Staging": c.Staging == nil, "Archive": c.Archive == nil} {
		if missing {
			faults = append(faults, fmt.Errorf("sink: Config.%s is missing", what))
		}
	}
	return errors.Join(faults...)
}

// Sink is the role. Run is called once; the rest is safe for concurrent use.
type Sink struct {
	app  *stream.App
	wait *patience.Patience
}

// workGrace is how long the image at work may take when the role ends.
const workGrace = 15 * time.Second

// New checks the configuration; all faults come back at once. Nothing is started yet.
func New(c Config) (*Sink, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	a := archive{c: c, metrics: m, wait: patience.New(c.Log, m.waits.Inc)}
	app, err := stream.NewApp(a.build(), stream.Config{
		ApplicationID: events.AppArchive, ClientOptions: c.Kafka, Threads: c.Threads, CommitInterval: c.CommitInterval,
		Clock: c.Stamp.Now, ReplicationFactor: c.Replication, Log: c.Log, BufferedRecords: 100,
	})
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	return &Sink{app, a.wait}, nil
}

// App is the stream application, for its state, topology and metrics.
func (s *Sink) App() *stream.App { return s.app }

// Ready is closed once all tasks work.
func (s *Sink) Ready() <-chan struct{} { return s.app.Ready() }

// Run works until ctx ends, or an archive breaks its promise, or another fatal error occurs.
func (s *Sink) Run(ctx context.Context) error {
	if err := s.wait.Run(ctx, workGrace, s.app.Run); err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	return nil
}

// The topics as bytes: a value that cannot be read must reach the dead letters unchanged.
const (
	processedImages stream.Topic[string, []byte] = events.TopicProcessedImages
	imageStatus     stream.Topic[string, []byte] = events.TopicImageStatus
	deadLetters     stream.Topic[string, []byte] = events.TopicProcessedImages + ".dlq"
)

// effect is a record that the processor wants written.
type effect struct {
	topic string
	value []byte
}

// Topology is the role's topology, to be shown or tested; it works once Config is that of a whole role.
func Topology(c Config) (stream.Definition, error) {
	c = c.withDefaults()
	m, err := newMetrics(c.Metrics)
	if err != nil {
		return nil, err
	}
	a := archive{c: c, metrics: m, wait: patience.New(c.Log, m.waits.Inc)}
	return a.build(), nil
}

// build is the topology; each task gets a copy of a.
func (a archive) build() *stream.Builder {
	b := stream.NewBuilder()
	effects := b.Stream(processedImages, stream.Named("processed")).
		Process(func() *archive { mine := a; return &mine }, stream.Named("archive")).
		Split(stream.Named("by-topic"))
	for _, out := range []stream.Topic[string, []byte]{imageStatus, deadLetters} {
		effects.Branch(func(_ string, e effect) bool { return e.topic == string(out) }).
			MapValues(func(_ string, e effect) []byte { return e.value }).
			To(out)
	}
	return b
}
