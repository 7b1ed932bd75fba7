package httpin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

// Config is what a Server is made of. Its fields are in alphabetical order.
type Config struct {
	// Archive serves archived blobs. Required.
	Archive Archive
	// Changes reads change events; set its Registry to take Confluent's wire format. The zero value is ready.
	Changes changes.Decoder
	// Checks are further dependencies that /readyz asks, by name. Kafka and the view are asked anyway.
	Checks map[string]func(context.Context) error
	// Clock decides about receipt, expiry and the age of answers. Default: the machine's.
	Clock clock.Clock
	// Codec encodes raw-images. Required.
	Codec *events.Codec
	// Intake checks, hashes and stages images. Required.
	Intake *intake.Intake
	// Kafka are the options to reach the brokers: seeds, TLS, SASL. The server makes two clients of them, a producer
	// and a reader without a group. Required.
	Kafka []kgo.Opt
	// Keys are the callers. Default: none, and everybody is answered 401.
	Keys []Key
	// Limits bound a request and a tenant.
	Limits Limits
	// Log gets one line for each request, without keys, addresses, file names or image ids. Default: slog.Default().
	Log *slog.Logger
	// PublicURL is what status_url begins with, without a slash at the end. Default: none, and it is a path.
	PublicURL string
	// Purged knows what was purged in the last 30 days. Default: none, and an expired image is 404 once its entry goes.
	Purged Purged
	// Registry gets the metrics and is what /metrics shows. Default: a registry of the server's own.
	Registry *prometheus.Registry
	// Stamp gives records their timestamps. Default: the machine's clock. Embedded parts set it to Clock, because their
	// retention goes by that; brokers elsewhere refuse timestamps that are ahead of their own time.
	Stamp clock.Clock
	// Tenants has the class of every tenant, by its name.
	Tenants map[string]string
}

// Limits bound what one request and one tenant may cost. A zero field means its default. What one image may be is
// bounded by the Intake.
type Limits struct {
	Parts             int           // of a multipart upload. Default: 100.
	BodyTimeout       time.Duration // for a request's body. Default: 60 s.
	Stall             time.Duration // that either side may pause while a body is under way, and for a request's header. Default: 10 s.
	RequestsPerMinute int           // of a tenant, whatever its keys. Default: 600.
	BytesPerMinute    int64         // of a tenant. Default: 2 GiB.
	ChangeBytes       int64         // of one change event. Default: 1 MiB, Kafka's own default for a message.
	Accept            time.Duration // for Kafka and Blob to take what was received, each. Default: 10 s.
	CatchUp           time.Duration // for the view to reach the present before "not found" is said. Default: 2 s.
	Drain             time.Duration // for requests under way when the server stops. Default: 25 s.
}

func (l *Limits) setDefaults() {
	setDefault(&l.Parts, 100)
	setDefault(&l.BodyTimeout, time.Minute)
	setDefault(&l.Stall, 10*time.Second)
	setDefault(&l.RequestsPerMinute, 600)
	setDefault(&l.BytesPerMinute, 2<<30)
	setDefault(&l.ChangeBytes, 1<<20)
	setDefault(&l.Accept, 10*time.Second)
	setDefault(&l.CatchUp, 2*time.Second)
	setDefault(&l.Drain, 25*time.Second)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Archive is where archived blobs are read from.
type Archive interface {
	// Open reads length bytes of a blob's protected version from offset. It is called only for blobs and ranges that
	// the worker's record of the image names.
	Open(ctx context.Context, blob events.ArchivedBlob, offset, length int64) (io.ReadCloser, error)
}

// Purged is the memory of purges: HMACs and dates, nothing else.
type Purged interface {
	// PurgedAt is when the tenant's image was purged; false when it was not, or longer than 30 days ago.
	PurgedAt(tenant, imageID string) (time.Time, bool)
}

// setDefaults fills in what was left out, after validate.
func (c *Config) setDefaults() {
	c.Limits.setDefaults()
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Stamp == nil {
		c.Stamp = clock.System{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
}

// validate reports all faults at once.
func (c *Config) validate() error {
	var faults []error
	need := func(ok bool, what string) {
		if !ok {
			faults = append(faults, fmt.Errorf("httpin: %s", what))
		}
	}
	need(c.Archive != nil, "Archive is required")
	need(c.Codec != nil, "Codec is required")
	need(c.Intake != nil, "Intake is required")
	need(len(c.Kafka) > 0, "Kafka needs at least the brokers' addresses")
	need(c.Limits.Parts >= 0 && c.Limits.BodyTimeout >= 0 && c.Limits.RequestsPerMinute >= 0 && c.Limits.BytesPerMinute >= 0, "a limit is negative")
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" {
		need(err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"), "PublicURL must be an http or https URL")
	}
	seen := map[string]string{}
	for _, k := range c.Keys {
		if err := k.fault(c.Tenants); err != nil {
			faults = append(faults, err)
			continue
		}
		if other, twice := seen[k.SHA256]; twice {
			need(false, fmt.Sprintf("keys %q and %q are the same key", other, k.Name))
		}
		seen[k.SHA256] = k.Name
	}
	for name := range c.Tenants {
		need(events.ValidTenant(name), fmt.Sprintf("%q cannot be a tenant: 1 to 64 of a-z, 0-9, '-', '_', '.'", name))
	}
	return errors.Join(faults...)
}
