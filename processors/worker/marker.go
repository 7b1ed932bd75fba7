package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

// How often a marker is appended, by the clock that stamps records, and how often that clock is asked, in real time.
const (
	markerInterval = 30 * time.Minute
	markerPoll     = 2 * time.Second
)

// markers appends a record without key data or value to each partition of the changelog. Kafka rolls the active segment
// of a compacted topic only when something is appended, and compacts only what was rolled: without markers the last
// images of a quiet evening would stay in the log long after their tombstones. One goroutine, that of run.
type markers struct {
	c      Config
	client *kgo.Client
	clock  clock.Clock
	done   func() // a marker was appended
	last   time.Time
}

// run appends until ctx ends. A broker that is away is tried again at the next look.
func (m *markers) run(ctx context.Context) error {
	tick := time.NewTicker(markerPoll)
	defer tick.Stop()
	for {
		if err := m.look(ctx); err != nil && ctx.Err() == nil {
			m.c.Log.Warn("markers could not be appended to the changelog and are tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look appends markers if it is time.
func (m *markers) look(ctx context.Context) error {
	now := m.clock.Now()
	if !m.last.IsZero() && now.Sub(m.last) < markerInterval {
		return nil
	}
	topics, err := kadm.NewClient(m.client).ListTopics(ctx, events.TopicImagesChangelog)
	if err != nil {
		return fmt.Errorf("worker: markers: %w", err)
	}
	detail := topics[events.TopicImagesChangelog]
	if errors.Is(detail.Err, kerr.UnknownTopicOrPartition) {
		return nil // the application makes it when it first starts
	}
	if detail.Err != nil {
		return fmt.Errorf("worker: markers: %w", detail.Err)
	}
	var records []*kgo.Record
	for p := range detail.Partitions {
		records = append(records, &kgo.Record{Topic: events.TopicImagesChangelog, Partition: p, Key: []byte(events.MarkerKey), Timestamp: now})
	}
	if err := m.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("worker: markers: %w", err)
	}
	m.last = now
	m.done()
	return nil
}
