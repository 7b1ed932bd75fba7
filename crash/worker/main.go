// Command worker is an application on the library for the crash rig to kill: a count behind a repartition, a count in windows,
// and a join of streams. It says "running" on standard output each time it has become so, and ends on SIGTERM.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/state/pebble"
)

// The sizes below are event time. The rig stamps records with its clock, and its checker knows windowSize and joinWithin, too.
const (
	windowSize = 10 * time.Second
	joinWithin = 30 * time.Second
	grace      = time.Hour // longer than any outage: no record may be late, so that the order of arrival decides nothing
)

// settings are the command line.
type settings struct {
	App           string        `help:"Application id, and the prefix of all topics." required:""`
	Broker        string        `help:"Address of the broker." required:""`
	Guarantee     string        `default:"exactly_once" enum:"at_least_once,exactly_once,exact_state" help:"at_least_once, exactly_once or exact_state."`
	Protocol      string        `default:"classic" enum:"classic,streams" help:"Group protocol."`
	Store         string        `default:"memory" enum:"memory,disk" help:"What stores are kept in: memory, or disk below the state directory."`
	Threads       int           `default:"1" help:"Stream threads."`
	State         string        `help:"State directory."`
	Commit        time.Duration `default:"100ms" help:"Commit interval."`
	Session       time.Duration `default:"6s" help:"Session timeout of the group."`
	TransactionTO time.Duration `default:"10s" help:"Transaction timeout." name:"transaction-timeout"`
}

func main() {
	var s settings
	kong.Parse(&s)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := s.run(ctx)
	stop()
	if err != nil {
		slog.Error("the worker ends", "error", err)
		os.Exit(1)
	}
}

func (s *settings) run(ctx context.Context) error {
	app, err := stream.NewApp(topology(s.App), s.config())
	if err != nil {
		return err
	}
	return app.Run(ctx)
}

func (s *settings) config() stream.Config {
	c := stream.Config{
		ApplicationID: s.App, Brokers: []string{s.Broker}, CacheBytes: -1, Threads: s.Threads, CommitInterval: s.Commit,
		StateDir: s.State, TransactionTimeout: s.TransactionTO, Stores: state.Memory(),
		ClientOptions: []kgo.Opt{kgo.SessionTimeout(s.Session), kgo.HeartbeatInterval(s.Session / 6)},
		Log:           slog.New(slog.NewTextHandler(os.Stderr, nil)),
		OnState: func(_, now stream.State) {
			if now == stream.Running {
				fmt.Println("running")
			}
		},
	}
	if c.GroupProtocol = stream.ClassicProtocol; s.Protocol == "streams" {
		c.GroupProtocol = stream.StreamsProtocol
	}
	if s.Store == "disk" {
		c.Stores = pebble.Engine()
	}
	switch s.Guarantee {
	case "exactly_once":
		c.Guarantee = stream.ExactlyOnce
	case "exact_state":
		c.Guarantee = stream.ExactState
	}
	return c
}

// wordOf is what is counted of a left record: its value is a word, a space, and a number of the record's own.
func wordOf(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

// topology has two sub-topologies: words are counted behind a repartition, and left is joined with right by the record's key.
func topology(app string) *stream.Builder {
	b := stream.NewBuilder()
	left := b.Stream[string, string](stream.Topic[string, string](app + "-left"))
	right := b.Stream[string, string](stream.Topic[string, string](app + "-right"))
	words := left.SelectKey(func(_, text string) string { return wordOf(text) }).Repartition(stream.Named("words")).GroupByKey()
	words.Count(stream.As("counts")).ToStream().To(stream.Topic[string, int64](app + "-counts"))
	stream.Tumbling(windowSize).Grace(grace).Over(words).Count(stream.As("windows")).ToStream().
		SelectKey(func(w stream.Windowed[string], _ int64) string {
			return w.Key + "@" + strconv.FormatInt(w.Window.StartMs, 10)
		}).
		To(stream.Topic[string, int64](app + "-windows"))
	left.Join(right, stream.Within(joinWithin).Grace(grace), func(_, l, r string) string { return l + "+" + r },
		stream.Named("pairs"), stream.As("pairs")).To(stream.Topic[string, string](app + "-joined"))
	return b
}
