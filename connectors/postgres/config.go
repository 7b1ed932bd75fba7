package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/internal/clock"
)

// Config of an [Applier].
type Config struct {
	// BatchRecords is the most records of one database transaction. Default: 500.
	BatchRecords int
	// Clock decides how long an event is parked and when event ids are forgotten. Default: the machine's.
	Clock clock.Clock
	// DSN is the database's URL with the login of the topic's team, changes.Login. Required.
	DSN string
	// Group is the consumer group. Default: "millrun-" and Name.
	Group string
	// InstanceID makes the process a static member of the group: killed and started again, it has its partitions back at
	// once instead of after the session timeout. Unique among the group's processes. Default: none.
	InstanceID string
	// Kafka are the client's options: seed brokers, TLS, SASL. Required.
	Kafka []kgo.Opt
	// Log receives what happens. It holds no content of an event. Default: slog.Default.
	Log *slog.Logger
	// Metrics takes the millrun_orders_ and millrun_dlq_ metrics; appliers may share it. Default: none.
	Metrics prometheus.Registerer
	// Name is the topic's name in this cluster; dead letters go to Name and ".dlq". Default: Topic.
	Name string
	// ParkFor is how long, by Clock, an event waits for the item, order or member it speaks of. Default: 30 s.
	ParkFor time.Duration
	// Password returns the password for a new connection, for tokens that expire. Default: that of DSN.
	Password func(context.Context) (string, error)
	// Policy is the declared access that the login is held to. Default: the one built in.
	Policy *access.Policy
	// Registry finds the schemas of Avro in Confluent's wire format. Default: none.
	Registry changes.Registry
	// Retention is how long, by Clock, the id of an applied event is remembered; it must be longer than the topic's.
	// Default: 8 days.
	Retention time.Duration
	// Stamp gives dead letters their timestamp. Default: the machine's time.
	Stamp clock.Clock
	// Topic is one of changes.Topics: what the events are about. Required.
	Topic string
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	if c.BatchRecords == 0 {
		c.BatchRecords = 500
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Stamp == nil {
		c.Stamp = clock.System{}
	}
	if c.Name == "" {
		c.Name = c.Topic
	}
	if c.Group == "" {
		c.Group = "millrun-" + c.Name
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.ParkFor == 0 {
		c.ParkFor = 30 * time.Second
	}
	if c.Retention == 0 {
		c.Retention = 8 * 24 * time.Hour
	}
	if c.Policy == nil {
		p, err := access.Load("")
		if err != nil {
			return c, fmt.Errorf("postgres: %w", err)
		}
		c.Policy = p
	}
	return c, nil
}

// validate reports all faults at once.
func (c Config) validate() error {
	var errs []error
	login, known := changes.Login(c.Topic)
	if !known {
		errs = append(errs, fmt.Errorf("postgres: Topic %q: one of %v is needed", c.Topic, changes.Topics()))
	}
	if len(c.Kafka) == 0 {
		errs = append(errs, errors.New("postgres: Kafka: seed brokers are needed"))
	}
	if c.BatchRecords < 0 || c.ParkFor < 0 || c.Retention < 0 {
		errs = append(errs, errors.New("postgres: BatchRecords, ParkFor and Retention must not be negative"))
	}
	pc, err := pgxpool.ParseConfig(c.DSN)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("postgres: DSN: %w", err)) // pgx leaves the password out
	case known && pc.ConnConfig.User != login:
		errs = append(errs, fmt.Errorf("postgres: DSN: topic %s is applied as %s, not as %q", c.Topic, login, pc.ConnConfig.User))
	}
	return errors.Join(errs...)
}

// poolConfig is how the applier connects: few connections, each with names that cannot be captured by a search path.
func (c Config) poolConfig() (*pgxpool.Config, error) {
	pc, err := pgxpool.ParseConfig(c.DSN)
	if err != nil {
		return nil, fmt.Errorf("postgres: DSN: %w", err)
	}
	pc.MaxConns = 2 // the loop, and the group's callback that reads watermarks
	pc.MinConns = 0
	pc.MaxConnLifetime = 30 * time.Minute // a token is checked at login only; a revoked one must not live on
	pc.ConnConfig.RuntimeParams["search_path"] = "pg_catalog"
	pc.ConnConfig.RuntimeParams["application_name"] = "millrun " + c.Topic
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	if c.Password != nil {
		pc.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) (err error) {
			cc.Password, err = c.Password(ctx)
			return err
		}
	}
	return pc, nil
}
