package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/host"
	"github.com/millrun/millrun/processors/images"
)

// Staging is where bytes wait until they are archived. azblob.Staging is one; its errors for an absent and a too large
// blob are azblob.ErrNotFound and *azblob.TooLargeError. Safe for concurrent use.
type Staging interface {
	Container() string
	Read(ctx context.Context, name string, limit int64) ([]byte, error)
	PutUntil(ctx context.Context, name, contentType string, body io.Reader, size int64, expiresAt time.Time) error
	Delete(ctx context.Context, name string) error // absent is no error
}

// Config is what the role needs. The zero value of a field means its default.
type Config struct {
	Kafka          []kgo.Opt             // seed brokers, TLS, SASL. Required to run.
	Codec          *events.Codec         // Required to run.
	Staging        Staging               // Required to run.
	Tenants        map[string]string     // class of each tenant. Default for one that is not named: standard.
	Steps          []host.Step           // the company's own code, in order. Default: none.
	Limits         images.Limits         // Default: images.DefaultLimits.
	MaxBytes       int64                 // of an image. Default: 50 MiB.
	DecodeMemory   int64                 // bytes of pixels alive at a time. Default: 512 MiB.
	DecodeTimeout  time.Duration         // Default: 30s.
	Clock          clock.Clock           // decides what has expired. Default: the machine's.
	Stamp          clock.Clock           // timestamps of records, and the pace of punctuations and markers. Default: the machine's.
	Threads        int                   // images worked on at a time. Default: GOMAXPROCS.
	CommitInterval time.Duration         // Default: 1s.
	Replication    int                   // of the changelog. Default: the broker's.
	Log            *slog.Logger          // Default: slog.Default.
	Metrics        prometheus.Registerer // Default: none.
}

func (c Config) withDefaults() Config {
	if c.MaxBytes == 0 {
		c.MaxBytes = 50 << 20
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Stamp == nil {
		c.Stamp = clock.System{}
	}
	if c.Threads == 0 {
		c.Threads = runtime.GOMAXPROCS(0)
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
	if len(c.Kafka) == 0 {
		faults = append(faults, errors.New("worker: Config.Kafka names no brokers"))
	}
	if c.Codec == nil {
		faults = append(faults, errors.New("worker: Config.Codec is missing"))
	}
	if c.Staging == nil {
		faults = append(faults, errors.New("worker: Config.Staging is missing"))
	}
	seen := map[string]bool{thumbnailStep: true}
	for _, s := range c.Steps {
		if seen[s.Name] {
			faults = append(faults, fmt.Errorf("worker: the step name %q is taken; rename the second one", s.Name))
		}
		seen[s.Name] = true
	}
	return errors.Join(faults...)
}

// class is what analysts see in a tenant's place.
func (c Config) class(tenant string) string {
	if class := c.Tenants[tenant]; class != "" {
		return class
	}
	return "standard"
}
