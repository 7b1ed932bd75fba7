package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millrun/millrun/stream/internal/run"
	"github.com/millrun/millrun/stream/internal/statedir"
	"github.com/millrun/millrun/stream/metrics"
	"github.com/millrun/millrun/stream/state"
)

// purgeInterval is Kafka Streams' repartition.purge.interval.ms.
const purgeInterval = 30 * time.Second

// purgeCommits is after how many commits repartition topics are purged where that is sooner: not after each of them, which
// under exactly-once would be ten times a second.
const purgeCommits = 10

// reachTimeout is how long brokers may take to answer at the start before Run gives up.
const reachTimeout = 30 * time.Second

// App runs a topology. All methods are safe for concurrent use.
type App struct {
	config   Config
	topology *Topology
	engine   *run.Engine
	stop     context.CancelFunc
	stopping context.Context // done once Close was called
	done     chan struct{}   // closed when Run has returned
	once     sync.Once
}

// NewApp checks definition and configuration without asking a broker; all faults come back at once.
func NewApp(d Definition, c Config) (*App, error) {
	c.defaults()
	prog, err := assemble(d.definition(), c)
	if err = errors.Join(c.validate(), err); err != nil {
		return nil, err
	}
	if err := claim(&d.definition().claimed); err != nil {
		return nil, err
	}
	a := &App{config: c, topology: &Topology{b: d.definition(), plan: prog.Plan}, done: make(chan struct{})}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.engine = run.New(run.Options{
		Program: prog, Reach: reachTimeout, Brokers: c.Brokers, ClientID: c.ClientID, InstanceID: c.InstanceID, ClientOptions: c.ClientOptions, Threads: c.Threads,
		CommitInterval: c.CommitInterval, PurgeInterval: min(purgeInterval, purgeCommits*c.CommitInterval), Buffered: c.BufferedRecords,
		Reset: c.OffsetReset.reset, ReplicationFactor: c.ReplicationFactor, TopicConfig: c.TopicConfig, Clock: c.Clock,
		Log: c.Log.With("application", c.ApplicationID), Metrics: c.Metrics, OnRestore: a.restored, OnState: a.became,
		Uncaught: a.uncaught, BrokerTimeout: c.BrokerTimeout, FetchTimeout: c.FetchTimeout, ExactlyOnce: c.Guarantee == ExactlyOnce,
		ExactState: c.Guarantee == ExactState, LongestRecovery: c.LongestRecovery,
		AcceptOldBrokers: c.AcceptOldBrokers, TransactionTimeout: c.TransactionTimeout, TaskTimeout: c.TaskTimeout,
		GroupProtocol: run.Protocol(c.GroupProtocol), Summary: c.SummaryInterval, Settings: c.settings(), Tracer: c.Tracer, StateDir: c.StateDir, StateCleanupDelay: c.StateCleanupDelay,
		Standbys: c.StandbyReplicas, Warmups: c.MaxWarmups, RecoveryLag: max(c.RecoveryLag, 0), Probing: c.ProbingInterval,
		Tags: c.RackTags, RackAware: c.RackAware,
	})
	return a, nil
}

// Run works until ctx ends, Close is called or a fatal error occurs, then drains, commits and closes. It returns nil after a
// clean end. Called once.
func (a *App) Run(ctx context.Context) error {
	first := false
	a.once.Do(func() { first = true })
	if !first {
		return errors.New("stream: Run was called twice")
	}
	defer close(a.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	return public(a.engine.Run(ctx))
}

// Close stops Run and waits for it until ctx ends. The instance leaves the group: others take its tasks over at once,
// unless it is a static member (Config.InstanceID).
func (a *App) Close(ctx context.Context) error {
	a.stop()
	never := false
	a.once.Do(func() { never = true }) // Run was not called, and will not be
	if never {
		return nil
	}
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stream: close: %w", ctx.Err())
	}
}

// AddThread starts a stream thread and returns its name. It fails with ErrNotRunning while Run does not work.
func (a *App) AddThread() (string, error) {
	name, err := a.engine.AddThread()
	return name, crewError(err)
}

// RemoveThread ends the stream thread started last, with a last commit, and returns its name; its tasks move to other threads
// and instances. It waits until ctx ends. It must not be called by what a stream thread calls.
func (a *App) RemoveThread(ctx context.Context) (string, error) {
	name, err := a.engine.RemoveThread(ctx)
	return name, crewError(err)
}

func crewError(err error) error {
	if errors.Is(err, run.ErrStopped) {
		return ErrNotRunning
	}
	return public(err)
}

// Pause stops processing and punctuations; the instance stays in the group with its tasks (KIP-834).
func (a *App) Pause() { a.engine.Pause() }

// Resume goes on after Pause.
func (a *App) Resume() { a.engine.Resume() }

// Paused says whether Pause holds.
func (a *App) Paused() bool { return a.engine.Paused() }

// CleanUp removes the local state of an application that does not run; its stores are restored from their changelogs at the
// next start. It fails while any instance on this machine uses the directory.
func (a *App) CleanUp() error {
	switch a.State() {
	case Created, NotRunning, Failed:
		return public(statedir.Remove(a.config.StateDir, a.config.ApplicationID, a.config.Log))
	}
	return fmt.Errorf("stream: CleanUp while the application is %s: Close it first", a.State())
}

// State is where the application stands.
func (a *App) State() State { return State(a.engine.State()) }

// Ready is closed once the application has been Running.
func (a *App) Ready() <-chan struct{} { return a.engine.Ready() }

// Metrics is the registry in use.
func (a *App) Metrics() *metrics.Registry { return a.config.Metrics }

// Topology is the plan as it runs.
func (a *App) Topology() *Topology { return a.topology }

// Query opens this instance's part of a store for reading. Safe for concurrent use; reads fail with ErrStoreUnavailable after
// a rebalance.
func (a *App) Query[S, R any](h state.Handle[S, R]) (R, error) {
	var none R
	if _, ok := a.topology.b.opened[h.Name()]; !ok {
		return none, fmt.Errorf("%w %q", ErrUnknownStore, h.Name())
	}
	switch a.State() {
	case Created, NotRunning, Failed:
		return none, ErrNotRunning
	}
	found, err := a.engine.Query(h.Name())
	if err != nil {
		return none, err
	}
	r, ok := found.(R)
	if !ok {
		return none, fmt.Errorf("%w: %q is a %T", ErrUnknownStore, h.Name(), found)
	}
	return r, nil
}

func (a *App) restored(r run.Restored) {
	if a.config.OnRestore != nil {
		a.config.OnRestore(RestoreEvent{
			Store: r.Store, Task: TaskID{r.Task.Sub, r.Task.Partition}, Restored: r.Restored, Remaining: r.Remaining, Done: r.Done, Standby: r.Standby,
			Rate: r.Rate, Left: r.Left,
		})
	}
}

func (a *App) uncaught(err error) run.Action {
	if a.config.Uncaught == nil {
		return run.ShutdownClient
	}
	return run.Action(a.config.Uncaught(public(err)))
}

func (a *App) became(old, now run.State) {
	if a.config.OnState != nil {
		a.config.OnState(State(old), State(now))
	}
}

// State is where an application stands.
type State int

// The states, as Kafka Streams has them.
const (
	Created         State = iota // NewApp has returned
	Rebalancing                  // tasks move or are restored
	Running                      // all tasks work
	PendingShutdown              // draining
	NotRunning                   // closed
	PendingError                 // closing after a fatal error
	Failed                       // closed after one: Kafka Streams' ERROR
)

// String is Kafka Streams' name.
func (s State) String() string { return run.State(s).String() }

// RestoreEvent tells how the restoration of a store begins, goes on or ends.
type RestoreEvent struct {
	Store     string
	Task      TaskID
	Restored  int64
	Remaining int64 // offsets
	Done      bool
	Rate      float64       // records a second since it began, a copy since it last had everything; 0 at the beginning
	Left      time.Duration // until the end, if it goes on like that; -1: nobody can say yet
	Standby   bool          // it is a copy of a task that works elsewhere: Done says that nothing is left for now, and it goes on
}

// ThreadAction answers an error that ended a stream thread.
type ThreadAction int

// The actions.
const (
	ShutdownClient ThreadAction = iota // stop this instance: Run returns the error
	ReplaceThread                      // go on with a new thread, a second later
)
