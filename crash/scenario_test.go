package crash

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/real"
)

// The five scenarios in which libraries of this kind have been seen to lose, to double, to skip or to hang. Each prints its
// numbers.

// scenario is a stage on the broker that all tests share.
type scenario struct {
	*stage

	t     *testing.T
	start time.Time
}

// eachGuarantee plays a scenario under all of them.
func eachGuarantee(t *testing.T, workers int, play func(*scenario)) {
	t.Helper()
	t.Parallel()
	brokers := real.Kafka(t)
	for _, guarantee := range []string{ExactlyOnce, AtLeastOnce, ExactState} {
		t.Run(guarantee, func(t *testing.T) {
			t.Parallel()
			o := Defaults()
			o.Guarantee, o.Dir, o.Programs, o.TransactionTimeout, o.Workers = guarantee, workplace(t), programs(t), 3*time.Second, workers
			if err := o.check(); err != nil {
				t.Fatal(err)
			}
			s, err := newStage(t.Context(), &o, real.Name(t, "crash"), brokers[0], slices.Repeat(brokers[:1], workers))
			if err != nil {
				t.Fatal(err)
			}
			c := &scenario{s, t, time.Now()}
			defer func() { c.must(s.close()) }()
			play(c)
		})
	}
}

func (c *scenario) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *scenario) feedAll(n int64) {
	c.feed.flow(c.t.Context(), n, 0)
	c.must(c.feed.client.Flush(c.t.Context()))
}

// pass waits until everything written so far has been processed.
func (c *scenario) pass() { c.must(c.through(c.t.Context(), c.mark(c.t.Context()))) }

// exact ends the scenario: the checker has nothing to say, and under exactly-once nothing is in excess. Without a crash,
// nothing is under the others either.
func (c *scenario) exact(crashed bool) {
	c.t.Helper()
	v, err := c.finish(c.t.Context())
	c.must(err)
	c.t.Logf("%d records in, %d counted, %d joined: %d lost, %d doubled, excess %.3f %% of the counts, %.3f %% of the joined; %s",
		v.Left+v.Right, v.Counts.Expected, v.Joined.Expected, v.Lost, v.Doubled, v.Counts.Excess, v.Joined.Excess, time.Since(c.start).Round(100*time.Millisecond))
	if v.Lost+v.Doubled+v.Strange > 0 || len(c.gone) > 0 {
		c.t.Errorf("%v %v", v.Complaints, c.gone)
	}
	if over := v.Counts.Excess + v.Windows.Excess + v.Joined.Excess; over > 0 && (!crashed || c.o.Guarantee == ExactlyOnce) {
		c.t.Errorf("%.3f %% in excess", over)
	}
}

func TestScenarioAProcessIsKilledInTheMiddle(t *testing.T) {
	eachGuarantee(t, 1, func(c *scenario) {
		c.feedAll(60_000)
		c.must(c.stage.start())
		c.must(c.progress(t.Context(), 20_000))
		c.must(c.fleet.kill(0))
		c.t.Logf("killed after %d records had come out", c.watch.output())
		c.must(c.stage.start())
		c.exact(true)
	})
}

func TestScenarioWhatWasProducedBeforeTheFirstStartIsNotSkipped(t *testing.T) {
	eachGuarantee(t, 1, func(c *scenario) {
		c.feedAll(5_000)
		c.must(c.stage.start())
		c.exact(false)
	})
}

func TestScenarioAnEmptyChangelogAtTheFirstStartIsNoReasonToWait(t *testing.T) {
	eachGuarantee(t, 1, func(c *scenario) {
		client, err := kgo.NewClient(kgo.SeedBrokers(c.broker))
		c.must(err)
		defer client.Close()
		compacted := map[string]*string{"cleanup.policy": new("compact"), "min.compaction.lag.ms": new("86400000")} // ExactState asks for the lag
		resp, err := kadm.NewClient(client).CreateTopics(t.Context(), c.o.Partitions, 1, compacted, c.app+"-counts-changelog")
		c.must(err)
		c.must(resp.Error())
		c.must(c.stage.start()) // there is no input either
		c.feedAll(5_000)
		c.exact(false)
	})
}

func TestScenarioOneProcessHasSeveralPartitions(t *testing.T) {
	eachGuarantee(t, 1, func(c *scenario) {
		c.fleet.args = append(c.fleet.args, "--threads=2")
		c.must(c.stage.start())
		c.feedAll(10_000)
		c.exact(false)
	})
}

func TestScenarioASecondProcessJoinsAndTheFirstIsKilled(t *testing.T) {
	eachGuarantee(t, 2, func(c *scenario) {
		c.must(c.fleet.start(0))
		c.feedAll(20_000)
		c.pass()
		c.must(c.fleet.start(1))
		c.feedAll(20_000)
		c.pass()
		c.must(c.fleet.kill(0))
		died := time.Now()
		c.feedAll(1_000)
		c.pass()
		c.t.Logf("the second process had taken over %s after the first was killed", time.Since(died).Round(100*time.Millisecond))
		c.exact(true)
	})
}
