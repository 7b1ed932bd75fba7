// Package millrunpeer is Millrun's own library on all workloads, behind the contract of README.md.
package millrunpeer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/bench/internal/peer"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state/pebble"
)

const (
	name   = "millrun"
	window = 10 * time.Second
	grace  = time.Hour
	leave  = 30 * time.Second // for the last commit and the farewell to the group
)

// Main runs the peer with the contract's flags.
func Main(argv []string) {
	a := peer.Parse(name, argv)
	stop, err := profile(a)
	if err != nil {
		peer.Fatal(err)
	}
	defer stop()
	r := &runner{args: a, began: time.Now(), done: make(chan struct{})}
	if err := r.run(context.Background()); err != nil {
		peer.Fatal(err)
	}
	peer.Report(name, a, r.processed.Load(), r.began, r.restored)
}

type runner struct {
	args      peer.Args
	began     time.Time
	restored  time.Duration
	processed atomic.Int64
	done      chan struct{} // closed when all input records are processed
	once      sync.Once
}

func (r *runner) run(ctx context.Context) error {
	b := stream.NewBuilder()
	if err := r.topology(b); err != nil {
		return err
	}
	app, err := stream.NewApp(b, r.config())
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	go func() {
		<-app.Ready()
		r.restored = time.Since(r.began)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("ended early: %w", err)
	case <-r.done:
	}
	closing, cancel := context.WithTimeout(ctx, leave)
	defer cancel()
	if err := app.Close(closing); err != nil {
		return err
	}
	return <-ended
}

func (r *runner) config() stream.Config {
	guarantee := stream.AtLeastOnce
	if r.args.Guarantee == "eos" {
		guarantee = stream.ExactlyOnce
	}
	cfg := stream.Config{
		ApplicationID:     r.args.AppID,
		Brokers:           r.args.Brokers,
		CacheBytes:        -1, // every update reaches changelog and output, as with raw, goka and ks-*
		ClientOptions:     []kgo.Opt{kgo.ProducerBatchCompression(kgo.NoCompression())},
		CommitInterval:    r.args.CommitEvery(),
		Guarantee:         guarantee,
		Log:               slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		ReplicationFactor: 1,
		StateDir:          r.args.StateDir,
		Threads:           r.args.Threads,
	}
	if r.args.Store == "disk" {
		cfg.Stores = pebble.Engine()
	}
	return cfg
}

func (r *runner) topology(b *stream.Builder) error {
	switch r.args.Workload {
	case "W1":
		r.mapEvents(b)
	case "W2", "W5", "W6":
		r.count(b)
	case "W3":
		r.countWindows(b)
	case "W4":
		r.joinTable(b)
	case "W7":
		r.joinStreams(b)
	default:
		return fmt.Errorf("no workload %s", r.args.Workload)
	}
	return nil
}

// counted counts input records and ends the run after the last.
func counted[V any](r *runner) func(string, V) {
	return func(string, V) {
		if r.processed.Add(1) >= r.args.Until {
			r.once.Do(func() { close(r.done) })
		}
	}
}

// event is the input of W1.
type event struct {
	ID     int    `json:"id"`
	User   string `json:"user"`
	Team   string `json:"team"`
	Amount int    `json:"amount"`
}

// total is the output of W1.
type total struct {
	ID    int    `json:"id"`
	User  string `json:"user"`
	Total int    `json:"total"`
}

func (r *runner) in(i int) stream.Topic[string, []byte] {
	return stream.Topic[string, []byte](r.args.In[i])
}

func (r *runner) mapEvents(b *stream.Builder) {
	b.Stream[string, event](stream.Topic[string, event](r.args.In[0])).
		Peek(counted[event](r)).
		Filter(func(_ string, e event) bool { return e.Amount >= 50 }).
		MapValues(func(_ string, e event) total { return total{e.ID, e.User, 2 * e.Amount} }).
		To(stream.Topic[string, total](r.args.Out))
}

func (r *runner) count(b *stream.Builder) {
	b.Stream(r.in(0)).
		Peek(counted[[]byte](r)).
		GroupByKey().
		Count(stream.As("counts")).
		ToStream().
		To(stream.Topic[string, int64](r.args.Out))
}

func (r *runner) countWindows(b *stream.Builder) {
	byTeam := b.Stream(r.in(0)).
		SelectKey(func(_ string, v []byte) string { return decode(v).Team }).
		Repartition(stream.Named("by-team")).
		Peek(counted[[]byte](r))
	stream.Tumbling(window).Grace(grace).
		Over(byTeam.GroupByKey()).
		Count(stream.As("windows")).
		ToStream().
		SelectKey(func(w stream.Windowed[string], _ int64) string {
			return w.Key + "@" + strconv.FormatInt(w.Window.StartMs, 10)
		}).
		To(stream.Topic[string, int64](r.args.Out))
}

func (r *runner) joinTable(b *stream.Builder) {
	rows := b.Table(r.in(1), stream.As("rows"))
	b.Stream(r.in(0)).
		Peek(counted[[]byte](r)).
		JoinTable(rows, func(_ string, v, row []byte) []byte { return concat(v, row) }).
		To(stream.Topic[string, []byte](r.args.Out))
}

func (r *runner) joinStreams(b *stream.Builder) {
	left, right := b.Stream(r.in(0)).Peek(counted[[]byte](r)), b.Stream(r.in(1)).Peek(counted[[]byte](r))
	left.Join(right, stream.Within(window).Grace(grace),
		func(_ string, l, r []byte) []byte { return concat(l, r) }, stream.As("pairs")).
		To(stream.Topic[string, []byte](r.args.Out))
}

func concat(left, right []byte) []byte {
	both := make([]byte, 0, len(left)+1+len(right))
	return append(append(append(both, left...), '|'), right...)
}

func decode(value []byte) (e event) {
	if err := json.Unmarshal(value, &e); err != nil {
		peer.Fatal(err)
	}
	return e
}
