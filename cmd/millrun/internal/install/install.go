// Package install sets up an installation on embedded parts in one folder: Kafka, Blob storage and PostgreSQL, with
// topics, access, keys and the configuration that every command reads.
//
// `millrun up` keeps one running, `millrun demo` makes one for its story. Nothing here is used in production, where
// the parts are somebody else's and only the configuration is read.
package install

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/millrun/millrun/internal/blobd"
	"github.com/millrun/millrun/internal/child"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/config"
	"github.com/millrun/millrun/internal/kafkad"
	"github.com/millrun/millrun/internal/pgd"
)

// Files of an installation's folder.
const (
	ConfigFile     = "config.yaml"     // what every other command reads
	ConnectionFile = "connection.json" // how to reach the parts; written last
	ClockFile      = "clock.json"      // how far the clock is ahead
)

// Options say what to set up.
type Options struct {
	Dir          string   // the installation's folder; made if need be
	Tenants      []string // tenants with a key each
	FeedTenant   string   // tenant of feed records that name none; "" for none
	KafkaMemory  bool     // keep embedded Kafka in memory rather than below Dir
	HTTPPort     int      // 0: a free one; likewise below
	KafkaPort    int
	BlobPort     int
	PostgresPort int
	Sample       bool           // run the sample step
	Limits       config.Limits  // zero fields: the defaults
	External     *config.Config // brokers and database of a real cluster in place of the embedded ones; nil for none
	Log          *slog.Logger
}

// Installation is a set of running parts. Close stops them in the reverse order. Its fields are not changed after Start.
type Installation struct {
	Dir        string
	Clock      *clock.File
	Config     *config.Config
	Connection *Connection
	Kafka      *kafkad.Server // nil with External

	lock  *child.FileLock
	admin string // superuser's URL of the embedded shop database
	blob  *blobd.Server
	pg    *pgd.Server
}

// Start brings the parts up, applies topics and access, and writes the configuration. When it fails it leaves nothing
// running.
func Start(ctx context.Context, o Options) (*Installation, error) {
	i, err := begin(o)
	if err != nil {
		return nil, err
	}
	if err := i.start(ctx, o); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// begin takes possession of the folder.
func begin(o Options) (*Installation, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("install: %w", err)
	}
	// The database server runs under another user when we are root, and has to pass through this folder.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("install: %w", err)
	}
	lock, err := child.TryLock(filepath.Join(dir, ".lock"), false)
	if errors.Is(err, child.ErrLocked) {
		return nil, fmt.Errorf("install: %s is in use by another process; stop it or choose another --dir", dir)
	}
	if err != nil {
		return nil, err
	}
	i := &Installation{Dir: dir, lock: lock}
	if i.Clock, err = clock.OpenFile(filepath.Join(dir, ClockFile)); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	// What an earlier run left says how to reach parts that are gone.
	if err := os.Remove(filepath.Join(dir, ConnectionFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("install: %w", err), lock.Unlock())
	}
	return i, nil
}

func (i *Installation) start(ctx context.Context, o Options) error {
	s, err := loadSecrets(i.Dir, o.Tenants)
	if err != nil {
		return err
	}
	if err := i.startParts(ctx, o, s); err != nil {
		return err
	}
	if i.Config, i.Connection, err = i.describe(o, s); err != nil {
		return err
	}
	if err := config.Write(filepath.Join(i.Dir, ConfigFile), i.Config); err != nil {
		return err
	}
	// Read back, so that this process works with exactly what the others do.
	if i.Config, err = config.Load(filepath.Join(i.Dir, ConfigFile), nil); err != nil {
		return err
	}
	return i.prepare(ctx, o.Log)
}

// startParts starts the servers side by side: PostgreSQL's first start takes longer than all others together.
func (i *Installation) startParts(ctx context.Context, o Options, s *secrets) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return i.startBlob(o, s) })
	if o.External == nil {
		g.Go(func() (err error) {
			dir := filepath.Join(i.Dir, "kafka")
			if o.KafkaMemory {
				dir = ""
			}
			i.Kafka, err = kafkad.Start(ctx, kafkad.Config{Dir: dir, Port: o.KafkaPort, Clock: i.Clock, Log: o.Log})
			return err
		})
		g.Go(func() (err error) {
			i.pg, err = pgd.Start(ctx, pgd.Config{Dir: filepath.Join(i.Dir, "postgres"), Port: o.PostgresPort, Log: o.Log})
			if err != nil {
				return err
			}
			i.admin, err = createShop(ctx, i.pg.AdminURL())
			return err
		})
	}
	return g.Wait()
}

// blobAccount is the embedded storage account's name.
const blobAccount = "millrun"

func (i *Installation) startBlob(o Options, s *secrets) (err error) {
	i.blob, err = blobd.Open(blobd.Config{
		Dir: filepath.Join(i.Dir, "blob"), Account: blobAccount, Key: s.Blob, Clock: i.Clock, Log: o.Log,
		Containers: []blobd.ContainerConfig{
			{Name: "staging"},
			{Name: "archive", ImmutableWithVersioning: true, DefaultDays: 1, DefaultLocked: true},
			{Name: "analytics"}, {Name: "ledger"},
		},
	})
	return err
}

// Close stops the parts and gives the folder free. The first fault does not keep the rest from being stopped.
func (i *Installation) Close() error {
	var faults []error
	if i.Kafka != nil {
		faults = append(faults, i.Kafka.Close())
	}
	if i.blob != nil {
		faults = append(faults, i.blob.Close())
	}
	if i.pg != nil {
		faults = append(faults, i.pg.Close())
	}
	if err := os.Remove(filepath.Join(i.Dir, ConnectionFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		faults = append(faults, err)
	}
	return errors.Join(append(faults, i.lock.Unlock())...)
}

// Stamp is the clock of record timestamps. Embedded Kafka forgets by the movable clock, so records carry its time; a
// real broker has a clock of its own and refuses timestamps more than an hour ahead.
func (i *Installation) Stamp() clock.Clock { return StampOf(i.Config, i.Clock) }

// StampOf is Stamp for a process that has read the configuration.
func StampOf(c *config.Config, moved clock.Clock) clock.Clock {
	if c.Embedded.Dir != "" && !c.Embedded.Kafka {
		return clock.System{}
	}
	return moved
}
