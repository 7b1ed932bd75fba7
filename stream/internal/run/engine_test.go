package run_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/run"
	"github.com/millrun/millrun/stream/metrics"
)

func TestBrokersThatDoNotAnswerAreNamed(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	p, err := stream.Assemble(opt.Seal{}, b, stream.Config{ApplicationID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	var states []run.State
	e := run.New(run.Options{
		Program: p, Brokers: []string{"127.0.0.1:1"}, ClientID: "app", Threads: 1, CommitInterval: time.Second, Reach: 300 * time.Millisecond,
		Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: metrics.New(),
		OnRestore: func(run.Restored) {}, OnState: func(_, now run.State) { states = append(states, now) },
	})
	if err := e.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "no broker of 127.0.0.1:1 answers") {
		t.Errorf("got %v", err)
	}
	if e.State() != run.Failed || len(states) != 3 || states[1].String() != "PENDING_ERROR" || run.State(99).String() != "State(99)" {
		t.Errorf("states %v", states)
	}
}
