// Package roles makes the pipeline's roles out of configuration and runs any of them in one process.
package roles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/config"
)

// Names of the roles, as the command line has them.
const (
	API       = "api"       // takes images and change events in, tells what became of them
	Feed      = "feed"      // takes in what the company's own Kafka feed brings
	Worker    = "worker"    // decodes images, makes derivatives, keeps each image's life
	Archive   = "archive"   // writes immutable blobs
	Purge     = "purge"     // deletes what is due, and writes the ledger
	Analytics = "analytics" // writes Parquet files
	Orders    = "orders"    // applies change events to the shop
)

// All has every role, in the order in which a reader meets them.
func All() []string { return []string{API, Feed, Worker, Archive, Purge, Analytics, Orders} }

// Set is what the roles of one process share. Its fields are set before Run and not changed afterwards.
type Set struct {
	Config *config.Config
	Clock  clock.Clock
	Log    *slog.Logger

	metrics  *prometheus.Registry
	storage  *storage // opened by the first role that needs it
	entrance *doors   // likewise
	mu       sync.Mutex
	checks   map[string]func(context.Context) error // readiness of dependencies, by name
}

// role is a prepared role: it holds resources until run returns.
type role struct {
	name string
	run  func(ctx context.Context, ready func()) error
}

// needs are the parts of the configuration that a role cannot do without.
var needs = map[string][]config.Part{
	API:       {config.PartKafka, config.PartBlob, config.PartTenants, config.PartHMAC},
	Feed:      {config.PartKafka, config.PartBlob, config.PartTenants},
	Worker:    {config.PartKafka, config.PartBlob, config.PartTenants},
	Archive:   {config.PartKafka, config.PartBlob, config.PartHMAC},
	Purge:     {config.PartKafka, config.PartBlob, config.PartHMAC},
	Analytics: {config.PartKafka, config.PartBlob},
	Orders:    {config.PartKafka, config.PartDatabase},
}

// Run prepares the named roles, all faults at once, runs them until ctx ends and lets them drain. When one fails the
// others are stopped and its error is returned. ready, unless nil, is called once when all of them are at work.
func (s *Set) Run(ctx context.Context, names []string, ready func() error) error {
	if err := s.check(names); err != nil {
		return err
	}
	s.metrics, s.checks = prometheus.NewRegistry(), map[string]func(context.Context) error{}
	var prepared []role
	var faults []error
	for _, name := range names {
		r, err := s.prepare(ctx, name)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
		prepared = append(prepared, r...)
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return s.runAll(ctx, prepared, ready)
}

// check looks for what is missing before anything is opened.
func (s *Set) check(names []string) error {
	var parts []config.Part
	for _, name := range names {
		p, ok := needs[name]
		if !ok {
			return fmt.Errorf("%w: %q is no role; roles are %s", config.ErrInvalid, name, strings.Join(All(), ", "))
		}
		parts = append(parts, p...)
	}
	slices.Sort(parts)
	return s.Config.Require(slices.Compact(parts)...)
}

func (s *Set) prepare(ctx context.Context, name string) ([]role, error) {
	prepare := map[string]func(context.Context) ([]role, error){
		API: s.api, Feed: s.feed, Worker: s.worker, Archive: s.archive, Purge: s.purge, Analytics: s.analytics, Orders: s.orders,
	}
	return prepare[name](ctx)
}

func (s *Set) runAll(ctx context.Context, prepared []role, ready func() error) error {
	g, ctx := errgroup.WithContext(ctx)
	var pending sync.WaitGroup
	for _, r := range prepared {
		pending.Add(1)
		g.Go(func() error {
			if err := r.run(ctx, sync.OnceFunc(pending.Done)); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			return nil
		})
	}
	if ready != nil {
		all := make(chan struct{})
		go func() { pending.Wait(); close(all) }()
		g.Go(func() error {
			select {
			case <-all:
				return ready()
			case <-ctx.Done():
				return nil
			}
		})
	}
	return g.Wait()
}

// kafka are the options of every client of the pipeline's cluster.
func (s *Set) kafka() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(s.Config.Kafka.Brokers...)}
}

// members are the options of consumers whose places are given to others only when their session ends. On a laptop a
// killed process should not be waited for as long as across a network.
func (s *Set) members() []kgo.Opt {
	if s.Config.Embedded.Dir == "" {
		return s.kafka()
	}
	return append(s.kafka(), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(time.Second))
}

// retention is how long an image stays.
func (s *Set) retention() time.Duration {
	return time.Duration(s.Config.Retention.Days) * 24 * time.Hour
}

// stamp is the clock of record timestamps.
func (s *Set) stamp() clock.Clock { return install.StampOf(s.Config, s.Clock) }

// instance is the static member name of a role's consumer, so that a process that was killed gets its partitions back
// at once. It is fixed where one process runs a role, which an installation in a folder promises; elsewhere members
// are dynamic, and the group waits for the session to end.
func (s *Set) instance(name string) string {
	if s.Config.Embedded.Dir == "" {
		return ""
	}
	return "millrun-" + name
}

// quiet is how long a file of the analysts waits for more rows: on a laptop not as long as in production.
func (s *Set) quiet() time.Duration {
	if s.Config.Embedded.Dir == "" {
		return 0
	}
	return 10 * time.Second
}

// classes has the class of every tenant.
func (s *Set) classes() map[string]string {
	classes := map[string]string{}
	for name, t := range s.Config.Tenants {
		classes[name] = t.Class
	}
	return classes
}

// depend adds a dependency that /readyz asks.
func (s *Set) depend(name string, ask func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks[name] = ask
}
