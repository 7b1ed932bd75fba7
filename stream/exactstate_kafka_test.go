package stream_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state/pebble"
)

// stamped is an application whose state counts nothing twice.
func stamped(id string, commit time.Duration) stream.Config {
	return stream.Config{ApplicationID: id, Guarantee: stream.ExactState, CommitInterval: commit,
		ClientOptions: []kgo.Opt{kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(time.Second)}}
}

// whole reads a topic to its end and returns the last value of each key.
func (c *cluster) whole(topic string) (last map[string]int64, records int64) {
	c.t.Helper()
	last = map[string]int64{}
	c.toEnd(topic, func(r *kgo.Record) {
		last[string(r.Key)] = int64Of(r.Value)
		records++
	})
	return last, records
}

// done waits until a group has committed all of its input.
func (c *cluster) done(group string) {
	c.t.Helper()
	until(c.t, func() bool {
		lags, err := c.admin.Lag(c.ctx(), group)
		if err != nil || lags.Error() != nil {
			return false
		}
		all := lags[group].Lag.Sorted()
		for _, l := range all {
			if l.Lag != 0 {
				return false
			}
		}
		return len(all) > 0
	})
}

// killed lets an application work that does not commit anything but the first third of its input, and cuts it off. Meanwhile is
// done before the next one begins.
func killed(t *testing.T, c *cluster, app, in, out string, change func(*stream.Config), meanwhile func()) {
	t.Helper()
	d := func() *stream.Builder {
		return countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out))
	}
	run := func(commit time.Duration, w *wire) func() {
		cfg := stamped(app, commit)
		if w != nil {
			cfg.ClientOptions = append(cfg.ClientOptions, kgo.Dialer(w.dial))
		}
		change(&cfg)
		_, stop := c.app(d(), cfg)
		return stop
	}
	lines, want := letters(500)
	c.produce(in, lines...)
	stop := run(50*time.Millisecond, nil)
	c.done(app)
	stop()
	var w wire
	run(time.Minute, &w)
	c.produce(in, lines...)
	c.latest(out, int64Of, twice(want))
	c.produce(in, lines...) // so that what comes before is not at the end of the changelog, where brokers do not compact
	for k := range want {
		want[k] = want[k] / 2 * 3
	}
	c.latest(out, int64Of, want)
	w.set(true)
	meanwhile()
	run(50*time.Millisecond, nil)
	c.done(app)
	got, records := c.whole(out)
	if !maps.Equal(got, want) {
		t.Errorf("counts end at %v, want %v", got, want)
	}
	var most int64
	for _, n := range want {
		most += n
	}
	if records <= most {
		t.Errorf("%d results for %d words: nothing was processed again, so nothing was tried", records, most)
	}
}

// homes are configurations by where they keep stores.
func homes(t *testing.T) map[string]func(*stream.Config) {
	return map[string]func(*stream.Config){
		"memory": func(*stream.Config) {},
		"disk": func(cfg *stream.Config) {
			cfg.Stores, cfg.StateDir = pebble.Engine(pebble.CacheBytes(1<<20)), t.TempDir()
		},
	}
}

func TestAKilledProcessLeavesItsStateExact(t *testing.T) {
	t.Parallel()
	for name, change := range homes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fake(t)
			c.topics(3, "lines", "word-counts")
			killed(t, c, "stamped", "lines", "word-counts", change, func() {})
		})
	}
}

// TestWhatAKilledWriterSendsAgainIsCountedOnce kills a process that has sent to a repartition topic and not committed what it
// made that of, while the topic's readers have committed all they had read: what they know of the writer is in their commits.
func TestWhatAKilledWriterSendsAgainIsCountedOnce(t *testing.T) {
	t.Parallel()
	for guarantee, times := range map[stream.Guarantee]int64{stream.ExactState: 2, stream.AtLeastOnce: 3} {
		t.Run(guarantee.String(), func(t *testing.T) {
			t.Parallel()
			c := fake(t)
			c.topics(2, "lines", "word-counts")
			run := func(w *wire) {
				cfg := stamped("hops", 50*time.Millisecond)
				cfg.Guarantee, cfg.CacheBytes, cfg.Threads = guarantee, -1, 4 // a task each, so that each is committed by itself
				if w != nil {
					cfg.ClientOptions = append(cfg.ClientOptions, kgo.Dialer(w.dial))
				}
				c.app(wordCount(), cfg)
			}
			lines, want := letters(500)
			var w wire
			run(&w)
			c.produce("lines", lines...)
			until(t, func() bool { return c.committed("hops", "lines") == 500 })
			c.steady("hops", 4) // the embedded broker never lets a member go that is cut off while it joins
			fault := c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, When: ofLines})
			c.produce("lines", lines...)
			until(t, func() bool { return c.committed("hops", "hops-counts-repartition") == 2000 })
			w.set(true)
			run(nil)
			until(t, func() bool { return c.committed("hops", "hops-counts-repartition") == 3000 }) // all were sent again
			fault.Remove()                                                                          // what the first one had on its way was refused
			until(t, func() bool { return c.committed("hops", "lines") == 1000 })
			for k := range want {
				want[k] *= times
			}
			if got, _ := c.whole("word-counts"); !maps.Equal(got, want) {
				t.Errorf("counts end at %v, want %v", got, want)
			}
		})
	}
}

// ofLines says whether a commit has anything of the topic of lines.
func ofLines(req kmsg.Request) bool {
	commit, ok := req.(*kmsg.OffsetCommitRequest)
	return ok && slices.ContainsFunc(commit.Topics, func(of kmsg.OffsetCommitRequestTopic) bool { return of.Topic == "lines" })
}

// forgotten lets an application count, takes the group's offsets away as brokers do with those of groups that are idle for long,
// and expects that the application says so instead of losing or doubling what it has. At least once it goes on.
func forgotten(t *testing.T, c *cluster, app string, program func(in stream.Topic[string, string], out stream.Topic[string, int64]) *stream.Builder, change func(*stream.Config), forget func(in string)) {
	t.Helper()
	in, out := app+"-in", app+"-out"
	c.topics(2, in, out)
	d := func() *stream.Builder {
		return program(stream.Topic[string, string](in), stream.Topic[string, int64](out))
	}
	config := func(g stream.Guarantee) stream.Config {
		cfg := stamped(app, 50*time.Millisecond)
		cfg.Guarantee = g
		change(&cfg)
		return cfg
	}
	lines, _ := letters(100)
	for i, l := range lines {
		lines[i].key = l.value[:2]
	}
	for range 2 { // what was sent before the first commit proves nothing
		_, stop := c.app(d(), config(stream.ExactState))
		c.produce(in, lines...)
		c.done(app)
		stop()
	}
	forget(in)
	err := c.ended(d(), config(stream.ExactState))
	failed, ok := errors.AsType[*stream.TaskError](err)
	if !ok || !strings.Contains(err.Error(), "no committed offset any more") || !strings.Contains(failed.Hint, "kafka-streams-application-reset") {
		t.Fatalf("got %v", err)
	}
	before, _ := c.whole(out)
	_, stop := c.app(d(), config(stream.AtLeastOnce))
	c.produce(in, lines...)
	c.done(app)
	stop()
	now, _ := c.whole(out)
	if len(before) == 0 {
		t.Error("nothing was counted")
	}
	for key, n := range before {
		if now[key] <= n {
			t.Errorf("%s was counted %d times before, and %d with what came since", key, n, now[key])
		}
	}
}

// countKeys counts records by their keys.
func countKeys(in stream.Topic[string, string], out stream.Topic[string, int64]) *stream.Builder {
	b := stream.NewBuilder()
	b.Stream(in).GroupByKey().Count(stream.As("counts")).ToStream().To(out)
	return b
}

func TestExactStateWithoutItsOffsetsIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range homes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fake(t)
			forgotten(t, c, "stamped", countWords, change, func(string) { c.forget("stamped") })
		})
	}
}

// A topic that is made again takes its offsets with it. State that is made of it directly is refused; results that came through a
// repartition topic are told from those of the topic that was.
func TestApacheKafkaExactStateOfATopicMadeAgain(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	again := func(topic string, partitions int32) {
		if _, err := c.admin.DeleteTopics(c.ctx(), topic); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool {
			_, err := c.admin.CreateTopic(c.ctx(), partitions, 1, nil, topic)
			return err == nil
		})
		c.client.PurgeTopicsFromClient(topic) // which knows the one that was
	}
	forgotten(t, c, real.Name(t, "direct"), countKeys, func(*stream.Config) {}, func(in string) { again(in, 2) })

	app := real.Name(t, "hops")
	in, out := app+"-in", app+"-out"
	c.topics(1, in, out) // so that offsets are the same again
	lines, want := letters(100)
	for range 2 {
		_, stop := c.app(countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out)), stamped(app, 50*time.Millisecond))
		c.produce(in, lines...)
		c.done(app)
		stop()
		again(in, 1)
	}
	c.latest(out, int64Of, twice(want))
}

// forget deletes a group once it is empty.
func (c *cluster) forget(group string) {
	c.t.Helper()
	until(c.t, func() bool {
		_, err := c.admin.DeleteGroup(c.ctx(), group)
		return err == nil
	})
}

// TestApacheKafkaCompactionLeavesStateExact kills a process and lets the broker clean what it can before another one begins with
// nothing. That it cleans is seen from a topic that is configured like the changelog, but for the lag: it is cleaned several
// times, so that everything has had its turn. Without the lag the counts that were committed are gone.
func TestApacheKafkaCompactionLeavesStateExact(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "stamped")
	eager := map[string]string{"segment.ms": "1", "min.cleanable.dirty.ratio": "0.001"}
	c.topics(3, app+"-in", app+"-out")
	control := map[string]*string{"cleanup.policy": new("compact")}
	for k, v := range eager {
		control[k] = &v
	}
	if _, err := c.admin.CreateTopic(c.ctx(), 1, 1, control, app+"-control"); err != nil {
		t.Fatal(err)
	}
	killed(t, c, app, app+"-in", app+"-out", func(cfg *stream.Config) { cfg.TopicConfig = eager }, func() {
		for range 4 {
			c.cleaned(app + "-control")
		}
	})
}

// cleaned waits until nothing is left of what a compacted topic holds now, of which all has one key.
func (c *cluster) cleaned(topic string) {
	c.t.Helper()
	ends, err := c.admin.ListEndOffsets(c.ctx(), topic)
	if err != nil {
		c.t.Fatal(err)
	}
	now, _ := ends.Lookup(topic, 0)
	until(c.t, func() bool {
		c.produce(topic, pair{"key", "12345678"})
		first := int64(-1)
		c.toEnd(topic, func(r *kgo.Record) {
			if first < 0 {
				first = r.Offset
			}
		})
		return first >= now.Offset && first > 0
	})
}

// A changelog that may be compacted before a recovery is over is refused.
func TestApacheKafkaAChangelogIsToBeKeptForARecovery(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "stamped")
	in, out, log := app+"-in", app+"-out", app+"-counts-changelog"
	c.topics(3, in, out)
	if _, err := c.admin.CreateTopic(c.ctx(), 3, 1, map[string]*string{"cleanup.policy": new("compact"), "min.compaction.lag.ms": new("1000")}, log); err != nil {
		t.Fatal(err)
	}
	err := c.ended(countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out)), stamped(app, 50*time.Millisecond))
	if !errors.Is(err, stream.ErrTopics) || !strings.Contains(err.Error(), log) || !strings.Contains(err.Error(), "min.compaction.lag.ms=86400000") {
		t.Errorf("got %v", err)
	}
}
