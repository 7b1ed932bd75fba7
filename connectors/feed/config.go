package feed

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/stream/serde/avro"
)

// Config is what a Bridge is made of. Its fields are in alphabetical order.
type Config struct {
	// AllowURLs are the https prefixes that an envelope's url may begin with. Default: none, and every url is refused.
	AllowURLs []string
	// Clock decides about receipt and expiry. Default: the machine's.
	Clock clock.Clock
	// Codec encodes raw-images. Required.
	Codec *events.Codec
	// From are the options to reach the feed's brokers. Required.
	From []kgo.Opt
	// Group is the consumer group at the feed's brokers. Default: millrun-feed.
	Group string
	// Intake checks, hashes and stages images. Required.
	Intake *intake.Intake
	// Kafka are the options to reach our own brokers, for raw-images and the dead letters. Required.
	Kafka []kgo.Opt
	// Log is told about waiting and about every dead letter, without file names, tenants' data or bytes. Default:
	// slog.Default().
	Log *slog.Logger
	// Metrics gets the bridge's figures. Default: none.
	Metrics prometheus.Registerer
	// Patience is how long the bridge waits after a failure at first; it doubles up to 30 s. Default: 500 ms.
	Patience time.Duration
	// Schemas knows the schemas of Avro envelopes in Confluent's wire format. Default: none; such a record is a dead
	// letter.
	Schemas *avro.Registry
	// Stamp gives records their timestamps. Default: the machine's clock. See httpin.Config.Stamp.
	Stamp clock.Clock
	// Tenant is whose images are those that name no tenant. Default: none; such a record is a dead letter.
	Tenant string
	// Tenants has the class of every tenant, by its name. A record of another one is a dead letter.
	Tenants map[string]string
	// Topic is the feed. Its dead letters go to the topic of that name with ".dlq" behind. Default: company-images.
	Topic string
}

// validate reports all faults at once.
func (c *Config) validate() error {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("feed: "+format, args...))
		}
	}
	need(c.Codec != nil, "Codec is required")
	need(c.Intake != nil, "Intake is required")
	need(len(c.From) > 0, "From needs at least the addresses of the feed's brokers")
	need(len(c.Kafka) > 0, "Kafka needs at least the brokers' addresses")
	need(c.Patience >= 0, "Patience is negative")
	if _, known := c.Tenants[c.Tenant]; c.Tenant != "" {
		need(known, "Tenant %q is not among the tenants", c.Tenant)
	}
	for name := range c.Tenants {
		need(events.ValidTenant(name), "%q cannot be a tenant", name)
	}
	if _, err := parsePrefixes(c.AllowURLs); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func (c *Config) setDefaults() {
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Stamp == nil {
		c.Stamp = clock.System{}
	}
	if c.Group == "" {
		c.Group = "millrun-feed"
	}
	if c.Topic == "" {
		c.Topic = events.TopicCompanyImages
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Patience == 0 {
		c.Patience = 500 * time.Millisecond
	}
}
