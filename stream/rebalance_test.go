package stream_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
)

// TestTasksThatStayWorkWhileAnotherMemberJoins holds a rebalance up until a record that was written after its beginning has
// come out, whatever partition it is on.
func TestTasksThatStayWorkWhileAnotherMemberJoins(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(4, "in", "out")
	build := func() *stream.Builder {
		b := stream.NewBuilder()
		b.Stream[string, string]("in").To("out")
		return b
	}
	c.app(build(), stream.Config{ApplicationID: "progress"})
	began, seen := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c.fake.ControlKey(int16(kmsg.SyncGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.KeepControl()
		once.Do(func() { close(began) })
		c.fake.SleepControl(func() { <-seen })
		return nil, nil, false
	})
	done := make(chan error, 1)
	go func() {
		defer close(seen)
		<-began
		done <- passes(c)
	}()
	c.app(build(), stream.Config{ApplicationID: "progress"})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// passes writes a record to each partition of in and waits until all are in out.
func passes(c *cluster) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	for p := range int32(4) {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: "in", Partition: p, Value: []byte("v")}).FirstErr(); err != nil {
			return err
		}
	}
	for n := 0; n < 4; {
		n += len(client.PollFetches(ctx).Records())
		if ctx.Err() != nil {
			return fmt.Errorf("%d of 4 records came through while the group was rebalancing", n)
		}
	}
	return nil
}

// comings lets members join, leave and lose their network while lines come in, and expects each to be counted once.
func comings(t *testing.T, c *cluster, app, in, out string) {
	t.Helper()
	lines, one := letters(1000)
	want := map[string]int64{}
	feed := func() {
		c.produce(in, lines...)
		for k, n := range one {
			want[k] += n
		}
	}
	config := func(more ...kgo.Opt) stream.Config {
		cfg := once(app)
		cfg.ClientOptions = append(more, kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(time.Second))
		return cfg
	}
	d := func() *stream.Builder {
		return countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out))
	}
	var w wire
	feed()
	a, stopA := c.app(d(), config())
	feed()
	cfg := config(kgo.Dialer(w.dial))
	cfg.Threads = 2
	c.app(d(), cfg)
	feed()
	_, stopB := c.app(d(), config())
	feed()
	c.ledger(out, want)
	feed()
	c.steady(app, 4) // the embedded broker never lets a member go that is cut off while it joins
	w.set(true)
	feed()
	stopB()
	feed()
	c.ledger(out, want)
	w.set(false)
	feed()
	c.ledger(out, want)
	var rebalances, moved float64
	a.Metrics().Each(func(name string, _ map[string]string, x float64) {
		switch name {
		case "millrun_stream_rebalance_total":
			rebalances += x
		case "millrun_stream_tasks_moved_total":
			moved += x
		}
	})
	if rebalances < 3 || moved == 0 {
		t.Errorf("%v rebalances and %v moved tasks were counted", rebalances, moved)
	}
	stopA()
	feed()
	c.ledger(out, want)
}

func TestMembersComeAndGoAndEachLineCountsOnce(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(6, "lines", "word-counts")
	comings(t, c, "comings", "lines", "word-counts")
}

func TestApacheKafkaThreeInstancesComeAndGoAndEachLineCountsOnce(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "comings")
	c.topics(6, app+"-in", app+"-out")
	comings(t, c, app, app+"-in", app+"-out")
}

// before is the protocol of our last release.
type before struct{ kgo.GroupBalancer }

func (before) ProtocolName() string { return "millrun-tasks" }

// TestAMemberOfTheLastReleaseGetsItsShare lets one join a group that works cooperatively. It processes nothing, so all that
// it was given is left to the others when it has gone.
func TestAMemberOfTheLastReleaseGetsItsShare(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(4, "lines", "word-counts")
	lines, want := letters(500)
	c.produce("lines", lines...)
	c.app(wordCount(), once("mixed"))
	c.ledger("word-counts", want)
	got := make(chan int, 100)
	old, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.ConsumerGroup("mixed"), kgo.DisableAutoCommit(),
		kgo.ConsumeTopics("lines", "mixed-counts-repartition"), kgo.Balancers(before{kgo.RoundRobinBalancer()}),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			n := 0
			for _, ps := range m {
				n += len(ps)
			}
			got <- n
		}))
	if err != nil {
		t.Fatal(err)
	}
	c.produce("lines", lines...)
	for n, ctx := 0, c.ctx(); n == 0; {
		select {
		case n = <-got:
		case <-ctx.Done():
			t.Fatal("the old member got nothing")
		}
	}
	old.Close()
	c.ledger("word-counts", twice(want))
}

// TestApacheKafkaAStaticMemberComesBackWithoutARebalance restarts one of two instances; the other one is told of nothing.
func TestApacheKafkaAStaticMemberComesBackWithoutARebalance(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "static")
	in, out := app+"-in", app+"-out"
	c.topics(4, in, out)
	config := func(name string) stream.Config {
		cfg := once(app)
		cfg.InstanceID = name
		return cfg
	}
	d := func() *stream.Builder {
		return countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out))
	}
	lines, want := letters(500)
	c.produce(in, lines...)
	a, _ := c.app(d(), config("a"))
	_, stop := c.app(d(), config("b"))
	c.ledger(out, want)
	c.steady(app, 2)
	before := rebalances(a)
	stop()
	c.app(d(), config("b"))
	c.produce(in, lines...)
	c.ledger(out, twice(want))
	if after := rebalances(a); after != before {
		t.Errorf("%v rebalances before the restart, %v after it", before, after)
	}
}

func rebalances(a *stream.App) float64 { return measured(a, "millrun_stream_rebalance_total") }

// steady waits until a group of so many members shares tasks out no more.
func (c *cluster) steady(group string, members int) {
	c.t.Helper()
	real.Steady(c.ctx(), c.t, c.admin, group, members)
}

func TestTwoInstancesOfOneNameAreToldApart(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "lines", "word-counts")
	cfg := once("named")
	cfg.InstanceID = "same"
	cfg.Brokers = c.brokers
	first, err := stream.NewApp(wordCount(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- first.Run(context.Background()) }()
	<-first.Ready()
	second := once("named")
	second.InstanceID = "same"
	c.app(wordCount(), second)
	select {
	case err = <-done:
	case <-time.After(patience):
		t.Fatal("the first instance works on")
	}
	if err == nil || !strings.Contains(err.Error(), "Config.InstanceID") {
		t.Errorf("the first instance ended with %v", err)
	}
	lines, want := letters(100)
	c.produce("lines", lines...)
	c.ledger("word-counts", want)
}
