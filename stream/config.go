package stream

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrun/millrun/stream/metrics"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
)

// Config is what an application sets once. The zero value of a field means its default.
type Config struct {
	// AcceptOldBrokers lets ExactlyOnce work with brokers that have no transaction.version 2, where a late request can become
	// part of a later transaction (KIP-890). Default: false, such brokers are refused at the start.
	AcceptOldBrokers bool
	// ApplicationID is the prefix of internal topics and the name of the consumer group. Required.
	ApplicationID string
	// BrokerTimeout is how long no broker may answer a stream thread before the thread fails. Default: 5m; -1 waits for ever.
	BrokerTimeout time.Duration
	// Brokers are addresses host:port to begin with. Required, unless ClientOptions say it.
	Brokers []string
	// BufferedRecords is how many records of a partition may wait before fetching pauses. Default: 1000.
	BufferedRecords int
	// CacheBytes is how much the record caches of all threads hold together, in bytes: updates of a table are held back until
	// the next commit, and of several of one key only the last goes on. Default: 10 MiB, none under ExactState, which allows
	// none; -1 turns caches off.
	CacheBytes int64
	// ClientID names this instance to the brokers. Default: ApplicationID and a random part.
	ClientID string
	// ClientOptions are passed to every client: TLS, SASL, hooks.
	ClientOptions []kgo.Opt
	// Clock is the wall clock of punctuations and of a context's Now. Everything about the broker keeps the machine's time.
	// Default: time.Now.
	Clock func() time.Time
	// CommitInterval is how often offsets are committed. Default: 30s; 100ms under ExactlyOnce.
	CommitInterval time.Duration
	// DeadLetterTopic is where DeadLetter("") goes. Default: none.
	DeadLetterTopic string
	// GroupProtocol is how instances agree on who works on what. Default: AutoProtocol, that of the group.
	GroupProtocol GroupProtocol
	// FetchTimeout is how long a partition may have records that do not arrive before its stream thread goes on with a new
	// client, from the last commit; what is restored goes on with a new one where it was. millrun_stream_watchdog_total counts
	// both. Default: 1m; -1 never looks.
	FetchTimeout time.Duration
	// Guarantee is what happens to a record's effects upon failure. Default: AtLeastOnce.
	Guarantee Guarantee
	// InstanceID makes the stream threads static members of the group (KIP-345): the thread with number n is InstanceID-n. An
	// instance that ends, or dies, and is back under the same name within the session timeout finds its tasks as it left them,
	// without a rebalance. So Close does not leave the group: others get the tasks only after the session timeout. Each
	// instance needs a name of its own. Default: none, members are dynamic.
	InstanceID string
	// LongestRecovery bounds how long it takes, after a crash, until the stores of all tasks are restored: from the last commit
	// on, the time included in which nothing runs. For that long brokers must not compact the changelogs, so that what a record
	// has replaced is there as long as the record may have to be left out. The changelogs that ExactState makes get it as
	// min.compaction.lag.ms; those that are there must have as much. Only under ExactState. Default: 24h.
	LongestRecovery time.Duration
	// Log gets what the application has to say. Default: slog.Default.
	Log *slog.Logger
	// MaxTaskIdle is how long a task with several input partitions waits for an empty one, once that has nothing left, before
	// it goes on without; it keeps records of different topics in the order of their times. Default: 0; -1 never waits, not
	// even for records that are known to be there.
	MaxTaskIdle time.Duration
	// MaxWarmups is how many copies the whole group makes at a time so that tasks can move without standing still: a task with
	// state moves to an instance only once a copy there has caught up. Only of ClassicProtocol. Default: 2.
	MaxWarmups int
	// Metrics is where the application's numbers go. Default: a registry of its own.
	Metrics *metrics.Registry
	// MetricsLevel is how much is measured. Default: metrics.Info; metrics.Debug counts for every processor and store as well.
	MetricsLevel metrics.Level
	// OffsetReset is where a source begins without committed offset. Default: Earliest.
	OffsetReset OffsetReset
	// Optimize are changes to the topology that spare topics and stores. They change internal names, so they are chosen when
	// an application is new. Default: none.
	Optimize Optimization
	// ProbingInterval is how often the group looks whether copies have caught up that were made for tasks to move. Only of
	// ClassicProtocol. Default: 10m.
	ProbingInterval time.Duration
	// RackAware are tags in which the copies of a task differ from each other and from the task itself, as far as instances with
	// other values are there; see RackTags. All instances need the same list. Only of ClassicProtocol. Default: none.
	RackAware []string
	// RackTags say where this instance is: its zone, its cluster (KIP-708). Only of ClassicProtocol. Default: none.
	RackTags map[string]string
	// RecoveryLag is how many records of its changelogs an instance may be behind with a task and still get it at once, since
	// it has soon caught up. Only of ClassicProtocol. Default: 10000; -1 is none.
	RecoveryLag int64
	// ReplicationFactor is that of internal topics. Default: the broker's.
	ReplicationFactor int
	// RequireNames makes a topology with generated names of stores or internal topics a fault (KIP-1111): such names change
	// with the program, and what was kept under the old ones is lost. Default: false.
	RequireNames bool
	// Serdes are asked before the defaults by type. Default: none.
	Serdes *serde.Registry
	// StandbyReplicas is how many copies of each task's stores other instances keep up to date, so that one of them can take the
	// task over without reading its changelogs again. Only of ClassicProtocol: brokers have num.standby.replicas as a
	// configuration of a streams group. Default: 0.
	StandbyReplicas int
	// StateCleanupDelay is how long the files of a task that has left this instance are kept, in case it comes back. Default:
	// 10m; -1 keeps them until CleanUp.
	StateCleanupDelay time.Duration
	// StateDir is the directory below which stores on disk are kept, in a folder named after ApplicationID. Each instance on a
	// machine needs one of its own. It is made only when there is a store on disk. Default: millrun-streams below os.TempDir,
	// which may not outlive a restart of the machine.
	StateDir string
	// StoreFormat is what the DSL's stores keep beside a value. Default: state.Plain.
	StoreFormat state.Format
	// Stores is what stores are kept in that do not say so themselves: pebble.Engine() of package state/pebble keeps them on
	// disk, below StateDir; state.Memory() gives them the semantics of Kafka Streams' stores in memory. Default: nil, in
	// memory, with the semantics of its persistent stores.
	Stores state.Engine
	// SummaryInterval is how often Log is told in one line what was done since the last one. Default: 1m; -1 never.
	SummaryInterval time.Duration
	// TaskTimeout is how long commits may fail before the thread does. Default: 5m.
	TaskTimeout time.Duration
	// Threads is the number of stream threads: clients that each work on tasks of their own. Default: 1.
	Threads int
	// Timestamps finds the time of every record whose source has no Timestamps of its own, out of its bytes; prev is the
	// partition's time so far, zero before its first record. A result before 1970 drops the record, which is counted. Default:
	// the record's own time, and an error if it has none.
	Timestamps func(r Record[[]byte, []byte], prev time.Time) time.Time
	// TopicConfig are configurations of internal topics, beside those Kafka Streams gives them. Default: none.
	TopicConfig map[string]string
	// Tracer gets a span for each record that carries a sampled W3C trace context in its headers, from when it is taken until
	// it is processed; the records sent meanwhile carry the span's context in place of the record's. What stores and
	// changelogs keep is not changed. Results of MapAsync carry the record's own. Default: nil, nothing is traced.
	Tracer trace.TracerProvider
	// TransactionTimeout is how long a transaction may stay open before brokers abort it: after a crash, others wait that long
	// for the partitions at most. It must be more than CommitInterval. Only under ExactlyOnce. Default: 10s.
	TransactionTimeout time.Duration

	// DeserializationErrors decides about records whose bytes cannot be read. Default: Fail.
	DeserializationErrors ErrorHandler
	// ProcessingErrors decides about errors and panics of the user's code. Default: Fail.
	ProcessingErrors ErrorHandler
	// ProductionErrors decides about records that cannot be written or that the broker refuses for good. Default: Fail.
	ProductionErrors ErrorHandler
	// OnRestore is told how restoring goes. It is called by a stream thread, which waits. Default: nobody.
	OnRestore func(RestoreEvent)
	// OnState is told of each change of state, one after the other. It must not wait for the application. Default: nobody.
	OnState func(old, now State)
	// Uncaught decides what follows when an error has ended a stream thread. It must not wait for the application. Default:
	// ShutdownClient.
	Uncaught func(error) ThreadAction
}

// defaultCache is Kafka Streams' statestore.cache.max.bytes.
const defaultCache = 10 << 20

// defaults fills in what was not said.
func (c *Config) defaults() {
	if c.BrokerTimeout == 0 {
		c.BrokerTimeout = 5 * time.Minute
	}
	if c.BufferedRecords == 0 {
		c.BufferedRecords = 1000
	}
	c.CacheBytes = c.caches()
	if c.ClientID == "" {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the program instead
		c.ClientID = c.ApplicationID + "-" + hex.EncodeToString(b[:])
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.CommitInterval == 0 {
		c.CommitInterval = 30 * time.Second
		if c.Guarantee == ExactlyOnce {
			c.CommitInterval = 100 * time.Millisecond
		}
	}
	if c.FetchTimeout == 0 {
		c.FetchTimeout = time.Minute
	}
	if c.LongestRecovery == 0 {
		c.LongestRecovery = 24 * time.Hour
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = metrics.New()
	}
	if c.StateCleanupDelay == 0 {
		c.StateCleanupDelay = 10 * time.Minute
	}
	if c.StateDir == "" {
		c.StateDir = filepath.Join(os.TempDir(), "millrun-streams")
	}
	if c.SummaryInterval == 0 {
		c.SummaryInterval = time.Minute
	}
	if c.TaskTimeout == 0 {
		c.TaskTimeout = 5 * time.Minute
	}
	if c.Threads == 0 {
		c.Threads = 1
	}
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = 10 * time.Second
	}
	c.defaultCopies()
}

func (c *Config) defaultCopies() {
	if c.MaxWarmups == 0 {
		c.MaxWarmups = 2
	}
	if c.ProbingInterval == 0 {
		c.ProbingInterval = 10 * time.Minute
	}
	if c.RecoveryLag == 0 {
		c.RecoveryLag = 10_000
	}
}

// validate finds all faults at once.
func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
	}
	if c.ApplicationID == "" {
		bad("ApplicationID is missing")
	} else if err := legalTopic(c.ApplicationID); err != nil {
		bad("ApplicationID is the prefix of topics: %w", err)
	}
	if c.InstanceID != "" {
		if err := legalTopic(c.InstanceID); err != nil {
			bad("InstanceID becomes a part of names on the broker: %w", err)
		}
	}
	if len(c.Brokers) == 0 && len(c.ClientOptions) == 0 {
		bad("Brokers are missing")
	}
	if c.Threads < 0 {
		bad("Threads is %d", c.Threads)
	}
	if c.BufferedRecords < 0 {
		bad("BufferedRecords is %d", c.BufferedRecords)
	}
	if c.CommitInterval < 0 {
		bad("CommitInterval is %s", c.CommitInterval)
	}
	if c.TaskTimeout < 0 {
		bad("TaskTimeout is %s", c.TaskTimeout)
	}
	if c.MetricsLevel != metrics.Info && c.MetricsLevel != metrics.Debug {
		bad("MetricsLevel is %d", c.MetricsLevel)
	}
	if c.Guarantee < AtLeastOnce || c.Guarantee > ExactState {
		bad("Guarantee is %d", c.Guarantee)
	}
	c.validateExactState(bad)
	if c.GroupProtocol < AutoProtocol || c.GroupProtocol > StreamsProtocol {
		bad("GroupProtocol is %d", c.GroupProtocol)
	}
	c.validateCopies(bad)
	if c.Guarantee == ExactlyOnce && c.TransactionTimeout <= c.CommitInterval {
		bad("TransactionTimeout is %s: a transaction lasts a CommitInterval (%s), brokers would abort it before", c.TransactionTimeout, c.CommitInterval)
	}
	if c.ReplicationFactor < 0 {
		bad("ReplicationFactor is %d", c.ReplicationFactor)
	}
	if c.DeadLetterTopic != "" {
		if err := legalTopic(c.DeadLetterTopic); err != nil {
			bad("DeadLetterTopic: %w", err)
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateCopies(bad func(format string, args ...any)) {
	if c.MaxWarmups < 1 {
		bad("MaxWarmups is %d: without one, no task with state would ever move", c.MaxWarmups)
	}
	if c.ProbingInterval < 0 {
		bad("ProbingInterval is %s", c.ProbingInterval)
	}
	if c.RecoveryLag < -1 {
		bad("RecoveryLag is %d", c.RecoveryLag)
	}
	if c.StandbyReplicas < 0 {
		bad("StandbyReplicas is %d", c.StandbyReplicas)
	}
	for _, tag := range c.RackAware {
		if _, ok := c.RackTags[tag]; !ok {
			bad("RackAware names the tag %q, and RackTags has none", tag)
		}
	}
}

// validateExactState finds what does not go with ExactState.
func (c *Config) validateExactState(bad func(string, ...any)) {
	if c.Guarantee != ExactState {
		return
	}
	if c.CacheBytes > 0 {
		bad("CacheBytes is %d under ExactState: a cache forwards other results when records are processed again, and their repetitions could not be told; leave it 0 or set it to -1", c.CacheBytes)
	}
	if least := c.CommitInterval + c.TaskTimeout; c.LongestRecovery < least {
		bad("LongestRecovery is %s: commits alone may take CommitInterval and TaskTimeout, %s", c.LongestRecovery, least)
	}
}

// Guarantee is what happens to a record's effects upon failure.
type Guarantee int

// The guarantees.
const (
	AtLeastOnce Guarantee = iota // a record may take effect again
	ExactlyOnce                  // results, changelogs and offsets are one transaction; see AcceptOldBrokers
	ExactState                   // results may repeat, but state counts each record once; see LongestRecovery
)

// caches is how much record caches may hold.
func (c *Config) caches() int64 {
	switch {
	case c.CacheBytes != 0:
		return c.CacheBytes
	case c.Guarantee == ExactState:
		return -1
	}
	return defaultCache
}

// GroupProtocol is how the members of an application's group agree on who works on what. While a group has members it has one
// protocol; with none, it may be changed, and committed offsets stay.
type GroupProtocol int

// The protocols.
const (
	// AutoProtocol is StreamsProtocol where the group is a streams group already and the brokers and the topology allow it, and
	// ClassicProtocol otherwise.
	AutoProtocol GroupProtocol = iota
	// ClassicProtocol lets a member share the tasks out. Every broker can do that.
	ClassicProtocol
	// StreamsProtocol lets the broker do so (KIP-1071; Kafka 4.2 and later). Session timeout, heartbeats and standbys are then the
	// group's configuration on the broker. It is refused at the start where brokers do not finalize streams.version, where the
	// topology reads a pattern of topics or InstanceID is set, and where the group has members that use another protocol. All
	// members must have the same topology: brokers do not change it while there are any.
	StreamsProtocol
)

// Optimization is a set of topology optimizations; they change internal names.
type Optimization uint

// The optimizations.
const (
	ReuseSourceTopics      Optimization = 1 << iota   // a source topic is its table's changelog
	MergeRepartitionTopics                            // one topic for the repartitions of one changed key
	SingleStoreSelfJoin                               // one store where a stream is joined with itself
	AllOptimizations       Optimization = 1<<iota - 1 // all of them
)
