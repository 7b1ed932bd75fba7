// Command crash runs the crash rig: see the package above it. `make crash` calls it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/millrun/millrun/crash"
	"github.com/millrun/millrun/internal/real"
)

// settings are the command line; 0 and "" stand for the default.
type settings struct {
	Seed       uint64        `default:"1" help:"Decides records and faults."`
	Guarantee  string        `default:"exactly_once" enum:"at_least_once,exactly_once,exact_state" help:"at_least_once, exactly_once or exact_state."`
	Protocol   string        `default:"classic" enum:"classic,streams" help:"Group protocol: classic, or streams (KIP-1071)."`
	Store      string        `default:"memory" help:"What stores are kept in: memory or disk."`
	Records    int64         `default:"2000000" help:"Records that go in at least."`
	Rate       int           `default:"1500" help:"Records a second while there are faults to come."`
	Kills      int           `default:"60" help:"SIGKILLs of workers."`
	Stops      int           `default:"10" help:"SIGSTOPs of workers."`
	StopMin    time.Duration `default:"5s" help:"The shortest stop."`
	StopMax    time.Duration `default:"60s" help:"The longest stop."`
	Bounces    int           `default:"10" help:"Ends of the broker."`
	Cuts       int           `default:"10" help:"Faults of a worker's network."`
	Restarts   int           `default:"5" help:"SIGTERMs of workers."`
	Workers    int           `default:"3" help:"Processes."`
	Threads    int           `default:"1" help:"Stream threads of each."`
	Partitions int32         `default:"4" help:"Partitions of each topic."`
	Commit     time.Duration `default:"100ms" help:"Commit interval."`
	Session    time.Duration `default:"6s" help:"Session timeout."`
	TxnTimeout time.Duration `default:"10s" help:"Transaction timeout." name:"transaction-timeout"`
	Patience   time.Duration `default:"3m" help:"How long a recovery may take."`
	Dir        string        `help:"Folder for state and logs, kept. Default: a temporary one, kept on failure."`
}

func main() {
	var s settings
	kong.Parse(&s)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := s.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (s *settings) run(ctx context.Context) error {
	if lacks := real.PartKafka.Missing(ctx); lacks != "" {
		return errors.New(lacks)
	}
	dir, keep := s.Dir, true
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "millrun-crash-"); err != nil {
			return err
		}
		keep = false
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	programs, err := crash.Build(ctx, dir)
	if err != nil {
		return err
	}
	o := s.options(dir, programs)
	report, err := crash.Run(ctx, o)
	if report != nil {
		report.Table(os.Stdout)
		err = errors.Join(err, report.JSON(os.Stdout))
	}
	if err == nil && !keep {
		return os.RemoveAll(dir)
	}
	return err
}

func (s *settings) options(dir string, programs crash.Programs) crash.Options {
	return crash.Options{
		Seed: s.Seed, Guarantee: s.Guarantee, Protocol: s.Protocol, Store: s.Store, Records: s.Records, Rate: s.Rate, Kills: s.Kills,
		Stops: s.Stops, StopMin: s.StopMin, StopMax: s.StopMax, Bounces: s.Bounces, Cuts: s.Cuts, Restarts: s.Restarts, Workers: s.Workers,
		Threads: s.Threads, Partitions: s.Partitions, Commit: s.Commit, Session: s.Session, TransactionTimeout: s.TxnTimeout,
		Patience: s.Patience, Dir: dir, Programs: programs, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}
