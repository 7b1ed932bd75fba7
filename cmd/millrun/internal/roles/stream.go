package roles

import (
	"context"

	"github.com/millrun/millrun/connectors/azblob/sink"
	"github.com/millrun/millrun/connectors/parquet"
	"github.com/millrun/millrun/processors/host"
	"github.com/millrun/millrun/processors/worker"
)

// worker decodes images and keeps each image's life.
func (s *Set) worker(ctx context.Context) ([]role, error) {
	d, err := s.doors(ctx)
	if err != nil {
		return nil, err
	}
	var steps []host.Step
	for _, p := range s.Config.Processors {
		steps = append(steps, host.Step{Name: p.Name, Version: p.Version, Command: p.Command, Timeout: p.Timeout})
	}
	w, err := worker.New(worker.Config{
		Kafka: s.members(), Codec: d.codec, Staging: d.staging, Tenants: s.classes(), Steps: steps, Limits: s.limits(),
		MaxBytes: s.Config.Limits.FileBytes, DecodeMemory: s.Config.Limits.DecodeMemory, Clock: s.Clock, Stamp: s.stamp(),
		Replication: s.Config.Kafka.Replication, Log: s.Log, Metrics: s.metrics,
	})
	if err != nil {
		return nil, err
	}
	return []role{{name: Worker, run: func(ctx context.Context, ready func()) error { return untilReady(ctx, w.Run, w.Ready(), ready) }}}, nil
}

// archive writes immutable blobs.
func (s *Set) archive(ctx context.Context) ([]role, error) {
	d, err := s.doors(ctx)
	if err != nil {
		return nil, err
	}
	k, err := sink.New(sink.Config{
		Kafka: s.members(), Codec: d.codec, Staging: d.staging, Archive: d.storage.archive, Clock: s.Clock, Stamp: s.stamp(),
		Replication: s.Config.Kafka.Replication, Log: s.Log, Metrics: s.metrics,
	})
	if err != nil {
		return nil, err
	}
	return []role{{name: Archive, run: func(ctx context.Context, ready func()) error { return untilReady(ctx, k.Run, k.Ready(), ready) }}}, nil
}

// analytics writes the analysts' files.
func (s *Set) analytics(ctx context.Context) ([]role, error) {
	d, err := s.doors(ctx)
	if err != nil {
		return nil, err
	}
	w, err := parquet.New(parquet.Config{
		Kafka: s.members(), Codec: d.codec, Analytics: d.account.Container(s.Config.Blob.Containers.Analytics), Clock: s.Clock,
		Quiet: s.quiet(),
		Log:   s.Log, Metrics: s.metrics,
	})
	if err != nil {
		return nil, err
	}
	return []role{{name: Analytics, run: func(ctx context.Context, ready func()) error {
		ready()
		return w.Run(ctx)
	}}}, nil
}

// untilReady runs something that closes a channel when it is at work.
func untilReady(ctx context.Context, run func(context.Context) error, at <-chan struct{}, ready func()) error {
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-at:
			ready()
		case <-watching.Done():
		}
	}()
	defer func() { stop(); <-watched }()
	return run(ctx)
}
