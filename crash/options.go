package crash

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// The guarantees, by their names on the command line.
const (
	AtLeastOnce = "at_least_once"
	ExactlyOnce = "exactly_once"
	ExactState  = "exact_state"
)

// Options says what a run does. A run with the same options injects the same faults in the same order; how far the workers are
// when each strikes is up to the machine.
type Options struct {
	// Seed decides the schedule of faults and the records.
	Seed uint64
	// Guarantee is AtLeastOnce, ExactlyOnce or ExactState.
	Guarantee string
	// Protocol is the group protocol: classic or streams.
	Protocol string
	// Store is what stores are kept in: memory, or disk, where a worker that is started again finds what its last life left.
	Store string
	// Records is how many go in at least.
	Records int64
	// Rate is how many go in a second while there are faults to come.
	Rate int
	// Kills are SIGKILLs of workers; now and then several at once.
	Kills int
	// Stops are SIGSTOPs, for StopMin to StopMax.
	Stops            int
	StopMin, StopMax time.Duration
	// Bounces are ends of the broker, by kill -9 and in its own way in turn.
	Bounces int
	// Cuts are faults of a worker's network: all connections cut at once, or no byte passed for a while, in turn.
	Cuts int
	// Restarts are ends of workers by SIGTERM.
	Restarts int
	// Workers is how many processes there are, each with Threads threads.
	Workers, Threads int
	// Partitions is that of each topic.
	Partitions int32
	// Commit, Session and TransactionTimeout are the workers'.
	Commit, Session, TransactionTimeout time.Duration
	// Patience is how long the workers may take to recover, or to make any progress, before the run has failed.
	Patience time.Duration
	// Dir is where the state and the logs go. Required.
	Dir string
	// Programs are the built worker and checker. Required.
	Programs Programs
	// Log is told each fault. Default: nobody.
	Log *slog.Logger
}

// Defaults are the figures of `make crash`.
func Defaults() Options {
	return Options{
		Seed: 1, Guarantee: ExactlyOnce, Protocol: "classic", Store: "memory", Records: 2_000_000, Rate: 1500,
		Kills: 60, Stops: 10, StopMin: 5 * time.Second, StopMax: time.Minute, Bounces: 10, Cuts: 10, Restarts: 5,
		Workers: 3, Threads: 1, Partitions: 4, Commit: 100 * time.Millisecond, Session: 6 * time.Second,
		TransactionTimeout: 10 * time.Second, Patience: 3 * time.Minute,
	}
}

func (o *Options) check() error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dir == "" || o.Programs == (Programs{}) {
		return errors.New("crash: Dir and Programs are required")
	}
	if o.Workers < 1 || o.Partitions < 1 || o.Rate < 1 {
		return fmt.Errorf("crash: %d workers, %d partitions, %d records a second: each must be 1 at least", o.Workers, o.Partitions, o.Rate)
	}
	return nil
}

// Command is the line that repeats the run.
func (o *Options) Command() string {
	var b strings.Builder
	fmt.Fprintf(&b, "make crash SEED=%d GUARANTEE=%s PROTOCOL=%s STORE=%s RECORDS=%d KILLS=%d STOPS=%d BOUNCES=%d CUTS=%d RESTARTS=%d",
		o.Seed, o.Guarantee, o.Protocol, o.Store, o.Records, o.Kills, o.Stops, o.Bounces, o.Cuts, o.Restarts)
	fmt.Fprintf(&b, " FLAGS='--rate=%d --stop-min=%s --stop-max=%s --workers=%d --threads=%d --partitions=%d --commit=%s --session=%s --transaction-timeout=%s'",
		o.Rate, o.StopMin, o.StopMax, o.Workers, o.Threads, o.Partitions, o.Commit, o.Session, o.TransactionTimeout)
	return b.String()
}
