package stream_test

import (
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/wall"
	"github.com/millrun/millrun/stream/streamtest"
)

// behind are topologies that give "a" a result only when the wall clock has gone on for a while since it came, and the records
// that let it: what is due by stream time is due then.
var behind = map[string]struct {
	build func(b *stream.Builder)
	first func(in, other *streamtest.TestInput[string, string])
	then  func(in *streamtest.TestInput[string, string])
	waits time.Duration // of the wall clock
	opts  []streamtest.Option
}{
	"windows that emit on close": {
		build: func(b *stream.Builder) {
			stream.Tumbling(milli(10)).Over(b.Stream(textIn).GroupByKey()).Emit(stream.OnClose).Count(retainForLong).ToStream().
				Map(func(w winKey, n int64) (string, string) { return w.Key, strconv.FormatInt(n, 10) }).To(textOut)
			b.Stream(leftTexts).ForEach(func(string, string) {})
		},
		first: func(in, _ *streamtest.TestInput[string, string]) {
			in.PipeAt(at(0), "z", "") // uses the moment
			in.PipeAt(at(1), "a", "")
			in.PipeAt(at(10), "b", "")
		},
		then:  func(in *streamtest.TestInput[string, string]) { in.PipeAt(at(11), "b", "") },
		waits: time.Second, opts: []streamtest.Option{uncached, streamtest.EmitInterval(time.Second)},
	},
	"a left join": {
		build: func(b *stream.Builder) {
			b.Stream(textIn).LeftJoin(b.Stream(leftTexts), stream.Within(milli(10)), func(_, v, _ string, _ bool) string { return v }).To(textOut)
		},
		first: func(in, _ *streamtest.TestInput[string, string]) {
			in.PipeAt(at(0), "z", "z")
			in.PipeAt(at(11), "z", "z") // uses the moment
			in.PipeAt(at(12), "a", "a")
			in.PipeAt(at(30), "b", "b")
		},
		then:  func(in *streamtest.TestInput[string, string]) { in.PipeAt(at(31), "b", "b") },
		waits: time.Second, opts: []streamtest.Option{streamtest.EmitInterval(time.Second)},
	},
	"a time limit with Idle": {
		build: func(b *stream.Builder) {
			b.Table(textIn).Suppress(stream.UntilTimeLimit(milli(10)).Idle(time.Second)).ToStream().To(textOut)
			b.Stream(leftTexts).ForEach(func(string, string) {})
		},
		first: func(in, _ *streamtest.TestInput[string, string]) { in.PipeAt(at(1), "a", "a") },
		waits: time.Second,
	},
	"a task that waits for a topic": {
		build: func(b *stream.Builder) { b.Stream(textIn).Merge(b.Stream(leftTexts)).To(textOut) },
		first: func(in, other *streamtest.TestInput[string, string]) {
			other.PipeAt(at(0), "z", "z")
			in.PipeAt(at(1), "a", "a")
		},
		waits: time.Second, opts: []streamtest.Option{streamtest.WithConfig(stream.Config{MaxTaskIdle: time.Second})},
	},
	"a punctuation": {
		build: func(b *stream.Builder) {
			b.Stream(textIn).Process(func() *ticker { return &ticker{noon, stream.WallClockTime} }).SelectKey(func(string, string) string { return "a" }).To(textOut)
			b.Stream(leftTexts).ForEach(func(string, string) {})
		},
		first: func(*streamtest.TestInput[string, string], *streamtest.TestInput[string, string]) {},
		waits: milli(15),
	},
}

// TestAClockThatIsSetBackHoldsNothingUp: what waits for the wall clock does not wait until it is again what it was.
func TestAClockThatIsSetBackHoldsNothingUp(t *testing.T) {
	t.Parallel()
	for name, c := range behind {
		for by, jump := range map[string]time.Duration{"not set": 0, "back": -10 * time.Hour, "forward and back": 10 * time.Hour} {
			t.Run(name+"/"+by, func(t *testing.T) {
				t.Parallel()
				b := stream.NewBuilder()
				c.build(b)
				d := streamtest.New(t, b, append(c.opts, streamtest.StartAt(noon))...)
				in, out := d.Input(textIn), d.Output(textOut)
				d.Advance(max(jump, 0))
				c.first(in, d.Input(leftTexts))
				for _, r := range out.ReadAll() {
					if r.Key == "a" && jump <= 0 && name != "a punctuation" {
						t.Fatalf("too early: %v", r)
					}
				}
				d.Advance(-max(jump, -jump))
				for range 15 { // in steps, with some to spare: that the clock was set is noticed by the next
					d.Advance(c.waits / 10)
				}
				if c.then != nil {
					c.then(in)
				}
				for _, r := range out.ReadAll() {
					if r.Key == "a" {
						return
					}
				}
				t.Error("nothing has come")
			})
		}
	}
}

// TestAClockThatIsSetForwardIsOneTick: what was missed is one call, and everything goes on from there.
func TestAClockThatIsSetForwardIsOneTick(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, ticking(time.UnixMilli(10), stream.WallClockTime))
	for _, by := range []time.Duration{milli(10), 10 * time.Hour, milli(10), -10 * time.Hour, milli(10), milli(10)} {
		d.Advance(by)
	}
	if got := ticks(d); got != "10 36000010 36000020 30 40" {
		t.Errorf("ticks at %s", got)
	}
}

// TestAnApplicationWhoseClockIsSetLosesNothing sets the clock of one that runs, back and forward.
func TestAnApplicationWhoseClockIsSetLosesNothing(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "in", "out")
	b := stream.NewBuilder()
	b.Stream[string, string]("in").Process(newCensus, stream.Uses(seen)).To("out")
	var by atomic.Int64
	a, _ := c.app(b, stream.Config{ApplicationID: "census", BrokerTimeout: time.Minute, Clock: func() time.Time {
		return time.Now().Add(time.Duration(by.Load()))
	}})
	want := map[string]int64{}
	for _, jump := range []time.Duration{0, -10 * time.Hour, 10 * time.Hour, -time.Minute} {
		by.Store(int64(jump))
		c.produce("in", pair{"a", "1"}, pair{"b", "1"}, pair{"a", "2"})
		want["a"] += 2
		want["b"]++
		c.latest("out", int64Of, want)
	}
	if a.State() != stream.Running {
		t.Errorf("it is %s", a.State())
	}
}

// TestWindowsStayOpenWhenTheClockIsSetForward: an hour that has not passed is no silence in which a window could close.
func TestWindowsStayOpenWhenTheClockIsSetForward(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "sums")
	b := stream.NewBuilder()
	stream.Tumbling(10 * time.Minute).Idle(time.Minute).Over(b.Stream[string, string]("in").GroupByKey()).Emit(stream.OnClose).Count(retainForLong).ToStream().
		Map(func(w winKey, n int64) (string, int64) { return w.Key, n }).To("sums")
	var by atomic.Int64
	a, _ := c.app(b, stream.Config{ApplicationID: "open", Clock: func() time.Time { return wall.Set(time.Now(), time.Duration(by.Load())) }})
	begin := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	send := func(key string, at time.Time) {
		if err := c.client.ProduceSync(c.ctx(), &kgo.Record{Topic: "in", Key: []byte(key), Value: []byte("v"), Timestamp: at}).FirstErr(); err != nil {
			c.t.Fatal(err)
		}
	}
	send("a", begin)
	until(t, func() bool { return measured(a, "millrun_stream_process_total") == 1 })
	by.Store(int64(time.Hour))
	told := measured(a, "millrun_stream_punctuate_total")
	until(t, func() bool { return measured(a, "millrun_stream_punctuate_total") > told+1 }) // one has seen the clock
	send("a", begin.Add(time.Minute))
	send("end", begin.Add(time.Hour))
	c.latest("sums", int64Of, map[string]int64{"a": 2})
}

// TestARecordFromTheFutureTakesStreamTimeAlong: those that come after it are late for windows, and counted as such.
func TestARecordFromTheFutureTakesStreamTimeAlong(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "sums")
	b := stream.NewBuilder()
	stream.Tumbling(time.Minute).Over(b.Stream[string, string]("in").GroupByKey()).Count().ToStream().
		Map(func(w winKey, n int64) (string, int64) { return w.Key, n }).To("sums")
	a, stop := c.app(b, stream.Config{ApplicationID: "future", CacheBytes: -1})
	now := time.Now()
	for _, r := range []kgo.Record{
		{Key: []byte("before"), Timestamp: now}, {Key: []byte("wild"), Timestamp: now.AddDate(10, 0, 0)},
		{Key: []byte("after"), Timestamp: now}, {Key: []byte("end"), Timestamp: now.AddDate(11, 0, 0)},
	} {
		r.Topic, r.Value = "in", []byte("v")
		if err := c.client.ProduceSync(c.ctx(), &r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	c.latest("sums", int64Of, map[string]int64{"before": 1, "wild": 1, "end": 1})
	stop()
	if late := measured(a, "millrun_stream_dropped_records_total", "late"); late != 1 {
		t.Errorf("%v records were late, want 1", late)
	}
}

// set changes a topic's configuration.
func (c *cluster) set(topic, key, value string) {
	c.t.Helper()
	resp, err := c.admin.AlterTopicConfigs(c.ctx(), []kadm.AlterConfig{{Name: key, Value: &value}}, topic)
	if err == nil {
		_, err = resp.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// A broker takes no record that is far ahead of its clock: the error says what to do, and the record is not lost.
func TestApacheKafkaARecordAheadOfTheBrokersClockIsNamed(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "ahead")
	in, out := app+"-in", app+"-out"
	c.topics(1, in, out)
	c.set(in, "message.timestamp.after.max.ms", "31536000000")
	r := &kgo.Record{Topic: in, Key: []byte("k"), Value: []byte("v"), Timestamp: time.Now().Add(48 * time.Hour)}
	if err := c.client.ProduceSync(c.ctx(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	d := func() *stream.Builder {
		b := stream.NewBuilder()
		b.Stream(stream.Topic[string, string](in)).To(stream.Topic[string, string](out))
		return b
	}
	err := c.ended(d(), stream.Config{ApplicationID: app})
	if !errors.Is(err, kerr.InvalidTimestamp) || !strings.Contains(err.Error(), out) || !strings.Contains(err.Error(), "message.timestamp.after.max.ms") {
		t.Fatalf("got %v", err)
	}
	c.set(out, "message.timestamp.after.max.ms", "31536000000")
	c.app(d(), stream.Config{ApplicationID: app})
	c.read(out, func(r *kgo.Record) bool { return string(r.Value) == "v" })
}
