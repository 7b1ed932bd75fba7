package roles

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/feed"
)

// feed is the door for the company's own Kafka stream.
func (s *Set) feed(ctx context.Context) ([]role, error) {
	d, err := s.doors(ctx)
	if err != nil {
		return nil, err
	}
	b, err := feed.New(feed.Config{
		AllowURLs: s.Config.Feed.AllowURLs, Clock: s.Clock, Stamp: s.stamp(), Codec: d.codec, Intake: d.intake,
		From: []kgo.Opt{kgo.SeedBrokers(s.Config.Feed.Brokers...)}, Kafka: s.kafka(), Topic: s.Config.Feed.Topic,
		Log: s.Log, Metrics: s.metrics, Tenant: s.Config.Feed.Tenant, Tenants: s.classes(),
	})
	if err != nil {
		return nil, err
	}
	return []role{{name: Feed, run: func(ctx context.Context, ready func()) error {
		return whileReadying(ctx, b.Run, b.Ready, ready)
	}}}, nil
}
