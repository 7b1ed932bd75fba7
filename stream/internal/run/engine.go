// Package run drives tasks with Kafka: the only place of the library with goroutines and sockets.
//
// An Engine makes the internal topics and starts its stream threads. A thread is one goroutine with one client: consumer,
// producer and member of the group. It polls, gives records to its tasks, lets them work and sends what they want sent,
// flushes and commits. Rebalance callbacks come on a goroutine of the client's; they and the thread take turns by the
// thread's mutex, and the client holds rebalances back while records are being worked on (BlockRebalanceOnPoll).
package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrun/millrun/stream/internal/failpoint"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/statedir"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/metrics"
)

// State is where an Engine stands.
type State int32

// The states, in Kafka Streams' words.
const (
	Created State = iota
	Rebalancing
	Running
	PendingShutdown
	NotRunning
	PendingError
	Failed
)

// String is Kafka Streams' name.
func (s State) String() string {
	names := [...]string{"CREATED", "REBALANCING", "RUNNING", "PENDING_SHUTDOWN", "NOT_RUNNING", "PENDING_ERROR", "ERROR"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return names[s]
}

// Restored tells how the restoration of a store goes.
type Restored struct {
	Store     string
	Task      task.ID
	Restored  int64
	Remaining int64
	Done      bool
	Rate      float64       // records a second
	Left      time.Duration // until the end at that rate; -1: nobody can say
	Standby   bool          // of a copy, which goes on: Done is that nothing is left for now
}

// Options are what an Engine is made of. All fields are set.
type Options struct {
	Program            *task.Program
	Brokers            []string
	ClientID           string
	ClientOptions      []kgo.Opt
	InstanceID         string // of static members: that of a thread is this, a hyphen and its number; "" if there are none
	Threads            int
	CommitInterval     time.Duration
	PurgeInterval      time.Duration
	Reach              time.Duration // how long brokers may take to answer at the start
	Buffered           int
	Reset              opt.Reset
	ReplicationFactor  int
	TopicConfig        map[string]string
	Clock              func() time.Time
	Log                *slog.Logger
	Metrics            *metrics.Registry
	OnRestore          func(Restored)
	OnState            func(old, now State)
	Uncaught           func(error) Action
	ExactlyOnce        bool
	ExactState         bool          // at least once, but no state counts anything twice
	LongestRecovery    time.Duration // under it: how long brokers must not compact changelogs
	AcceptOldBrokers   bool          // under exactly-once
	TransactionTimeout time.Duration
	TaskTimeout        time.Duration // how long commits may fail
	BrokerTimeout      time.Duration // how long no broker may answer a thread; negative: for ever
	FetchTimeout       time.Duration // how long records may be there that do not arrive; negative: for ever
	GroupProtocol      Protocol
	Summary            time.Duration        // how often is said what was done; not positive: never
	Tracer             trace.TracerProvider // may be nil
	Settings           []slog.Attr          // of the configuration in effect, for the log
	StateDir           string               // below it stores on disk are kept
	StateCleanupDelay  time.Duration        // how long the directory of a task that has left is kept; negative: for ever

	// Of the classic protocol; brokers have their own for streams groups.
	Standbys    int               // copies of each stateful task beside the active one
	Warmups     int               // copies that are made before a task moves, of the whole group at a time
	RecoveryLag int64             // records that a process may be behind and still get a task
	Probing     time.Duration     // how often is looked whether a task can move
	Tags        map[string]string // of this instance: its rack
	RackAware   []string          // tags in which the copies of a task are to differ
}

// Engine runs a program on Kafka. Run is called once; the other methods are safe for concurrent use.
type Engine struct {
	o     Options
	app   string
	ready chan struct{}
	began time.Time
	fail  *failpoint.Set // nil but in simulations

	dir      *statedir.Dir        // nil: no store is on disk
	process  string               // names this instance in transactional ids: that of its directory, or one of this run
	internal []plan.InternalTopic // as they were made or found
	copies   bool                 // tasks may become copies of what is at work elsewhere
	left     leftovers
	streams  bool // members join by the streams group protocol (KIP-1071)
	implicit bool // brokers add groups and partitions to transactions by themselves (KIP-890)

	admin      *kadm.Client
	client     *kgo.Client // group-less: administration
	partitions topicSizes

	mu      sync.Mutex // guards what follows; taken last
	state   State
	working map[string]bool // threads whose tasks all work
	stores  map[string]map[task.ID]*task.Store

	crew   *crew
	paused atomic.Bool
	sums   sums

	epoch   atomic.Int64 // counts openings and closings of stores
	telling sync.Mutex   // one state listener call after the other
}

// New makes an Engine; it asks no broker.
func New(o Options) *Engine {
	e := &Engine{
		o: o, app: o.Program.Plan.App, ready: make(chan struct{}), began: time.Now(), working: map[string]bool{},
		stores: map[string]map[task.ID]*task.Store{}, sums: sums{threads: map[string]stand{}},
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the program instead
	e.process = hex.EncodeToString(b[:])
	e.crew = newCrew(e)
	return e
}

// State is where the engine stands.
func (e *Engine) State() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state
}

// Ready is closed once the engine has been Running.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Run works until ctx ends or something fatal happens. It returns nil after a clean end.
func (e *Engine) Run(ctx context.Context) error {
	e.fail = failpoint.From(ctx)
	e.introduce()
	e.become(Rebalancing)
	err := e.run(ctx)
	if err != nil {
		e.become(PendingError)
		e.become(Failed)
		return err
	}
	e.become(PendingShutdown)
	e.become(NotRunning)
	return nil
}

func (e *Engine) run(ctx context.Context) (err error) {
	if err := e.openDir(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.closeDir()) }()
	if err := e.survey(); err != nil {
		return err
	}
	client, err := kgo.NewClient(e.options("admin")...)
	if err != nil {
		return fmt.Errorf("stream: client: %w", err)
	}
	defer client.Close()
	e.client, e.admin = client, kadm.NewClient(client)
	e.announce()
	if err := e.meet(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // asked to stop before it began
		}
		return err
	}
	inner, stop := context.WithCancel(ctx)
	defer stop()
	global, err := e.loadGlobals(inner)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var wg sync.WaitGroup
	var globalErr error
	if global != nil {
		defer global.close()
		wg.Go(func() {
			if globalErr = global.run(inner); globalErr != nil {
				stop()
			}
		})
	}
	if e.dir != nil {
		wg.Go(func() { e.cleanDir(inner) })
	}
	if e.o.Summary > 0 {
		wg.Go(func() { e.summarize(inner) })
	}
	err = e.crew.run(inner)
	stop()
	wg.Wait()
	return errors.Join(err, globalErr)
}

// meet asks the brokers what they can do and makes sure that the topics are there.
func (e *Engine) meet(ctx context.Context) error {
	if err := e.prepare(ctx); err != nil {
		return err
	}
	return errors.Join(e.transactions(ctx), e.choose(ctx))
}

// AddThread starts a stream thread and returns its name.
func (e *Engine) AddThread() (string, error) { return e.crew.add() }

// RemoveThread ends the stream thread started last, with a last commit, and returns its name.
func (e *Engine) RemoveThread(ctx context.Context) (string, error) { return e.crew.remove(ctx) }

// Pause stops processing and punctuations; the instance stays in the group with its tasks (KIP-834).
func (e *Engine) Pause() { e.paused.Store(true) }

// Resume goes on after Pause.
func (e *Engine) Resume() { e.paused.Store(false) }

// Paused says whether Pause holds.
func (e *Engine) Paused() bool { return e.paused.Load() }

// options are those that every client has.
func (e *Engine) options(name string) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(e.o.Brokers...),
		kgo.ClientID(e.o.ClientID + "-" + name),
		kgo.WithLogger(logger{e.o.Log.With("client", name)}),
		kgo.MetadataMaxAge(time.Minute),
		kgo.MetadataMinAge(100 * time.Millisecond), // the first record to a topic waits for this
	}, e.o.ClientOptions...)
}

// isolation is what everything is read with: what is not committed is seen by nobody.
func (e *Engine) isolation(bug string) kgo.IsolationLevel {
	if e.fail.Planted(bug) {
		return kgo.ReadUncommitted()
	}
	return kgo.ReadCommitted()
}

// become changes the state and tells the listener; what is over stays over.
func (e *Engine) become(s State) {
	e.telling.Lock()
	defer e.telling.Unlock()
	e.mu.Lock()
	old := e.state
	final := old == NotRunning || old == Failed || (old == PendingShutdown && s < PendingShutdown) || (old == PendingError && s != Failed)
	if old == s || final {
		e.mu.Unlock()
		return
	}
	e.state = s
	e.mu.Unlock()
	if s == Running {
		select {
		case <-e.ready:
		default:
			close(e.ready)
		}
	}
	e.measureState(s)
	e.o.Log.Info("state", "from", old.String(), "to", s.String())
	e.o.OnState(old, s)
}

// joins notes a new thread.
func (e *Engine) joins(thread string) { e.note(func() { e.working[thread] = false }) }

// leaves forgets a thread that has ended.
func (e *Engine) leaves(thread string) { e.note(func() { delete(e.working, thread) }) }

// works notes whether all tasks of a thread work; the engine is Running when those of all threads do.
func (e *Engine) works(thread string, yes bool) {
	e.mu.Lock()
	same := e.working[thread] == yes
	e.mu.Unlock()
	if !same {
		e.note(func() { e.working[thread] = yes })
	}
}

// note changes what is known of the threads and becomes what follows from it.
func (e *Engine) note(change func()) {
	e.mu.Lock()
	change()
	all := len(e.working) > 0
	for _, w := range e.working {
		all = all && w
	}
	e.mu.Unlock()
	if all {
		e.become(Running)
	} else {
		e.become(Rebalancing)
	}
}

// open makes a task's stores readable for queries, close takes them back.
func (e *Engine) open(t *task.Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.epoch.Add(1)
	for _, spec := range t.Stores() {
		s, _ := t.Store(spec.Name)
		if e.stores[spec.Name] == nil {
			e.stores[spec.Name] = map[task.ID]*task.Store{}
		}
		e.stores[spec.Name][t.ID()] = s
	}
}

func (e *Engine) close(t *task.Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.epoch.Add(1)
	for _, spec := range t.Stores() {
		delete(e.stores[spec.Name], t.ID())
	}
}

// logger passes the client's messages on. What is routine for a client is detail for an application.
type logger struct{ log *slog.Logger }

// Level is the finest level that is passed on.
func (l logger) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelInfo
	}
	return kgo.LogLevelWarn
}

// Log passes a message on.
func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelDebug
	if level <= kgo.LogLevelWarn {
		at = slog.LevelWarn
	}
	l.log.Log(context.Background(), at, msg, keyvals...)
}
