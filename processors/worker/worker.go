package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/stream"
)

// Worker is the role. Run is called once; the rest is safe for concurrent use.
type Worker struct {
	pipeline *pipeline
	app      *stream.App
}

// How long the image at work may take when the role ends, and then the steps to exit: together well within the 30 s that
// a process has.
const (
	workGrace  = 12 * time.Second
	closeGrace = 8 * time.Second
)

// New checks the configuration; all faults come back at once. Nothing is started yet.
func New(c Config) (*Worker, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	p, err := newPipeline(c)
	if err != nil {
		return nil, err
	}
	if err := p.openSteps(); err != nil {
		return nil, err
	}
	app, err := stream.NewApp(p.build(), stream.Config{
		ApplicationID: events.AppWorker, ClientOptions: c.Kafka, Threads: c.Threads, CommitInterval: c.CommitInterval,
		Clock: c.Stamp.Now, ReplicationFactor: c.Replication, Log: c.Log, BufferedRecords: 100,
	})
	if err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	return &Worker{p, app}, nil
}

// App is the stream application, for its state, topology and metrics.
func (w *Worker) App() *stream.App { return w.app }

// Ready is closed once all tasks work.
func (w *Worker) Ready() <-chan struct{} { return w.app.Ready() }

// Run works until ctx ends or a fatal error occurs; it drains, commits and ends the steps before it returns.
func (w *Worker) Run(ctx context.Context) error {
	c := w.pipeline.c
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, c.Kafka...)...)
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	defer client.Close()
	m := &markers{c: c, client: client, clock: c.Stamp, done: w.pipeline.metrics.markers.Inc}
	err = w.pipeline.wait.Run(ctx, workGrace, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return w.app.Run(ctx) })
		group.Go(func() error { return m.run(ctx) })
		return group.Wait()
	})
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	if err = errors.Join(err, w.pipeline.close(grace)); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	return nil
}
