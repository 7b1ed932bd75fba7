package kafkad

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millrun/millrun/internal/child"
	"github.com/millrun/millrun/internal/clock"
)

// Config says where an embedded Kafka lives. The zero value is one in memory on a free port by the machine's clock.
type Config struct {
	// Clock decides when retention is over. Default: the machine's.
	Clock clock.Clock
	// Dir is the folder of the data, made when absent. Default: "", everything in memory.
	Dir string
	// Log gets a line at start, with the limits, and what goes wrong later. Default: slog.Default.
	Log *slog.Logger
	// Port to listen on, on 127.0.0.1. Default: a free one.
	Port int

	// settle is how long, by real time, a record stays at least: consumers get to see also what came too late.
	settle time.Duration
	// compactAfter is how long, by real time, superseded records may stay.
	compactAfter time.Duration
	// poll is how often the clock and the logs are looked at, by real time.
	poll time.Duration
}

const (
	defaultSettle       = 10 * time.Second
	defaultCompactAfter = 30 * time.Second
	defaultPoll         = time.Second
	// segmentBytes is small because files go, and are searched, by segment.
	segmentBytes = 1 << 20
)

// Server is a running embedded Kafka. Its owner calls Close once. Safe for concurrent use.
type Server struct {
	config  Config
	log     *slog.Logger
	lock    *child.FileLock // of the folder; nil in memory
	door    *door
	cluster *kfake.Cluster
	client  *kgo.Client // our own, through the door's inside
	admin   *kadm.Client
	starts  *starts // nil in memory
	cleaner *cleaner

	stop context.CancelFunc
	done sync.WaitGroup // the cleaner's goroutine
}

// Start starts the broker and returns when it takes connections. Two brokers never share a folder.
func Start(ctx context.Context, c Config) (_ *Server, err error) {
	if c, err = c.withDefaults(); err != nil {
		return nil, err
	}
	s := &Server{config: c, log: c.Log}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if c.Dir != "" {
		if err := s.openFolder(); err != nil {
			return nil, err
		}
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	if err := s.recover(ctx); err != nil {
		return nil, err
	}
	s.guard()
	s.door.open()
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.done.Go(func() { s.cleaner.run(running) })
	s.log.Info("embedded Kafka is ready", "brokers", s.Brokers(), "dir", c.Dir, "limits", Limits())
	return s, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Port < 0 || c.Port > 65535 {
		return c, fmt.Errorf("kafkad: port %d is none: use 1 to 65535, or 0 for a free one", c.Port)
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.settle == 0 {
		c.settle = defaultSettle
	}
	if c.compactAfter == 0 {
		c.compactAfter = defaultCompactAfter
	}
	if c.poll == 0 {
		c.poll = defaultPoll
	}
	if c.Dir == "" {
		return c, nil
	}
	abs, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("kafkad: %w", err)
	}
	c.Dir = abs
	return c, nil
}

// openFolder makes the folder ours and brings its files into a state from which kfake can start.
func (s *Server) openFolder() error {
	if err := os.MkdirAll(s.config.Dir, 0o755); err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	var err error
	if s.lock, err = child.TryLock(filepath.Join(s.config.Dir, "broker.lock"), false); err != nil {
		return fmt.Errorf("kafkad: another broker uses %s: %w", s.config.Dir, err)
	}
	if err := restoreBackup(s.config.Dir); err != nil {
		return err
	}
	if s.starts, err = openStarts(s.config.Dir); err != nil {
		return err
	}
	return s.starts.prepare()
}

// open starts kfake behind a door that is still shut, and our own client inside.
func (s *Server) open() error {
	var err error
	if s.door, err = listen(s.config.Port); err != nil {
		return err
	}
	options := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("millrun-embedded"),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return s.door, nil }),
		kfake.WithLogger(brokerLog{s.log}),
		kfake.BrokerConfigs(brokerConfigs()),
	}
	if s.config.Dir != "" {
		options = append(options, kfake.DataDir(dataDir(s.config.Dir)), kfake.SyncWrites())
	}
	if s.cluster, err = kfake.NewCluster(options...); err != nil {
		return errors.Join(fmt.Errorf("kafkad: %w", err), s.door.Close())
	}
	// Versions of Kafka 3.0: Fetch by topic name, AddPartitionsToTxn by client.
	s.client, err = kgo.NewClient(kgo.SeedBrokers(s.door.Addr().String()), kgo.Dialer(s.door.dial),
		kgo.MaxVersions(kversion.V3_0_0()), kgo.ClientID("millrun-kafkad"), kgo.MetadataMinAge(s.config.poll))
	if err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	s.admin = kadm.NewClient(s.client)
	s.cleaner = newCleaner(s)
	return nil
}

// brokerConfigs switch kfake's own cleaner off, which runs by the machine's clock: its next round is in a hundred years,
// and no topic has a retention unless it says so.
func brokerConfigs() map[string]string {
	return map[string]string{
		"log.cleaner.backoff.ms":  strconv.FormatInt((100 * 365 * 24 * time.Hour).Milliseconds(), 10),
		"log.retention.ms":        "-1",
		"log.retention.bytes":     "-1",
		"log.segment.bytes":       strconv.Itoa(segmentBytes),
		"state.log.compact.bytes": strconv.Itoa(256 << 10),
	}
}

// recover repeats what kfake forgot, and ends what a killed process was in the middle of.
func (s *Server) recover(ctx context.Context) error {
	if s.starts == nil {
		return nil
	}
	if err := s.starts.repeat(s.cluster); err != nil {
		return err
	}
	if err := s.cleaner.adoptSwap(); err != nil {
		return err
	}
	return s.cleaner.undoSwap(ctx)
}

// Brokers are the addresses for clients.
func (s *Server) Brokers() []string { return []string{s.door.Addr().String()} }

// Close stops the broker and writes its state down. Clients are cut off.
func (s *Server) Close() error {
	if s.stop != nil {
		s.stop()
		s.done.Wait()
		s.cleaner.release()
	}
	if s.client != nil {
		s.client.Close()
	}
	if s.cluster != nil {
		s.cluster.Close()
	}
	var errs []error
	if s.door != nil {
		errs = append(errs, s.door.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// dataDir is kfake's part of the folder.
func dataDir(dir string) string { return filepath.Join(dir, "kfake") }

// brokerLog passes on what kfake warns of; its requests are not for people.
type brokerLog struct{ log *slog.Logger }

// Logf is kfake's interface.
func (l brokerLog) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("embedded Kafka: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("embedded Kafka: " + fmt.Sprintf(format, args...))
	default:
		l.log.Debug("embedded Kafka: " + fmt.Sprintf(format, args...))
	}
}
