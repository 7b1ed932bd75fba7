package stream_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
)

// text makes lines of words, the same for every run, and counts them.
type text struct {
	rng  *rand.Rand
	want map[string]int64
}

func newText() *text { return &text{rand.New(rand.NewPCG(1, 2)), map[string]int64{}} }

func (x *text) line() string {
	var words []string
	for range 1 + x.rng.IntN(5) {
		w := fmt.Sprintf("w%d", x.rng.IntN(1000))
		x.want[w]++
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// write sends n lines to the partitions in turn, without waiting for each, and waits for all at the end.
func (c *cluster) write(x *text, topic string, partitions int32, n int) {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(n+1))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	ctx, errs := c.ctx(), make(chan error, 1)
	for i := range n {
		client.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(i) % partitions, Value: []byte(x.line())}, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case errs <- err:
				default:
				}
			}
		})
	}
	if err := client.Flush(c.ctx()); err != nil {
		c.t.Fatal(err)
	}
	select {
	case err := <-errs:
		c.t.Fatal(err)
	default:
	}
}

// shared is the Apache Kafka that all tests share, with topics of this test's own.
func shared(t testing.TB) (c *cluster, app, in, out string) {
	t.Helper()
	c = connect(t, real.Kafka(t))
	app = real.Name(t, "wc")
	in, out = app+"-lines", app+"-counts"
	c.topics(4, in, out)
	return c, app, in, out
}

func TestWordCountOf200000LinesByTwoProcessesIsExact(t *testing.T) {
	t.Parallel()
	c, app, in, out := shared(t)
	x := newText()
	c.write(x, in, 4, 100_000)      // before the first start: the changelog does not exist
	c.process(app, in, out, 2)      // all four partitions in one process
	b := c.process(app, in, out, 1) // tasks move with their state
	c.write(x, in, 4, 50_000)
	b.stop() // and move back while input flows
	c.write(x, in, 4, 50_000)
	start := time.Now()
	c.latest(out, int64Of, x.want)
	t.Logf("%d words of 200000 lines are exact, seen in %s", len(x.want), time.Since(start).Round(time.Millisecond))
}

func TestStateIsRestoredByAnotherMemberAfterARestart(t *testing.T) {
	t.Parallel()
	c, app, in, out := shared(t)
	x := newText()
	a := c.process(app, in, out, 1)
	c.write(x, in, 4, 5_000)
	c.latest(out, int64Of, x.want)
	a.stop()
	// The next owner has nothing but the changelog.
	c.app(countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out)), stream.Config{ApplicationID: app})
	c.write(x, in, 4, 5_000)
	c.latest(out, int64Of, x.want)
}

func TestAfterAKillNothingIsMissing(t *testing.T) {
	t.Parallel()
	c, app, in, out := shared(t)
	x := newText()
	victim := c.process(app, in, out, 1)
	c.write(x, in, 4, 20_000)
	if err := victim.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-victim.done
	victim.cmd = nil
	c.write(x, in, 4, 10_000)
	// The group notices by its session timeout; at least once means that no word is counted too few times.
	c.app(countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out)), stream.Config{ApplicationID: app})
	got := map[string]int64{}
	c.read(out, func(r *kgo.Record) bool {
		got[string(r.Key)] = int64Of(r.Value)
		for w, n := range x.want {
			if got[w] < n {
				return false
			}
		}
		return true
	})
}
