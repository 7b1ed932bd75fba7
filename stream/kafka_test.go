package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream"
)

// patience bounds every wait of these tests. It is no measurement: nothing depends on how long things take.
const patience = 90 * time.Second

// cluster is a broker and what tests do with it.
type cluster struct {
	t       testing.TB
	brokers []string
	client  *kgo.Client
	admin   *kadm.Client
	fake    *kfake.Cluster // nil: a real one
}

// fake starts an embedded broker.
func fake(t testing.TB) *cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	out := connect(t, c.ListenAddrs())
	out.fake = c
	return out
}

func connect(t testing.TB, brokers []string, opts ...kgo.Opt) *cluster {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.MaxBufferedRecords(300_000))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &cluster{t: t, brokers: brokers, client: client, admin: kadm.NewClient(client)}
}

func (c *cluster) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *cluster) topics(partitions int32, names ...string) {
	c.t.Helper()
	// Records of these tests carry timestamps of the past, which must not be forgotten while they run.
	forever := map[string]*string{"retention.ms": new("-1")}
	resp, err := c.admin.CreateTopics(c.ctx(), partitions, 1, forever, names...)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// pair is a record to send.
type pair struct{ key, value string }

func (c *cluster) produce(topic string, pairs ...pair) {
	c.t.Helper()
	records := make([]*kgo.Record, len(pairs))
	for i, p := range pairs {
		records[i] = &kgo.Record{Topic: topic, Value: []byte(p.value)}
		if p.key != "" {
			records[i].Key = []byte(p.key)
		}
	}
	if err := c.client.ProduceSync(c.ctx(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// read calls f for each record of a topic, from its beginning, until f says that it has seen enough.
func (c *cluster) read(topic string, f func(*kgo.Record) (enough bool)) {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	ctx := c.ctx()
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("topic %s did not show what was waited for within %s", topic, patience)
		}
		if slices.ContainsFunc(fetches.Records(), f) {
			return
		}
	}
}

// toEnd visits all records of a topic that are committed, from its beginning.
func (c *cluster) toEnd(topic string, visit func(*kgo.Record)) {
	c.t.Helper()
	ends, err := c.admin.ListCommittedOffsets(c.ctx(), topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		c.t.Fatal(err)
	}
	left := map[int32]int64{}
	for p, o := range ends[topic] {
		if o.Offset > 0 {
			left[p] = o.Offset
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	for ctx := c.ctx(); len(left) > 0; {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				visit(r)
			}
		})
		if ctx.Err() != nil {
			c.t.Fatalf("topic %s was not read to its end within %s: %v is left", topic, patience, left)
		}
	}
}

// latest reads a topic until the latest value of each key, as the decoder reads it, is what is wanted.
func (c *cluster) latest(topic string, decode func([]byte) int64, want map[string]int64) {
	c.t.Helper()
	got := map[string]int64{}
	c.read(topic, func(r *kgo.Record) bool {
		got[string(r.Key)] = decode(r.Value)
		return maps.Equal(got, want)
	})
}

// app starts an application and waits until it is running. It is closed when the test ends, and must end without error.
func (c *cluster) app(d stream.Definition, cfg stream.Config) (a *stream.App, stop func()) {
	c.t.Helper()
	cfg.Brokers = c.brokers
	if cfg.CommitInterval == 0 {
		cfg.CommitInterval = 100 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	a, err := stream.NewApp(d, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(context.Background()) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := a.Close(c.ctx()); err != nil {
			c.t.Error(err)
		}
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	}
	c.t.Cleanup(stop)
	select {
	case <-a.Ready():
	case err := <-done:
		done <- err
		stopped = true
		c.t.Fatalf("the application ended: %v", err)
	case <-time.After(patience):
		c.t.Fatalf("the application is not running after %s, but %s", patience, a.State())
	}
	return a, stop
}
