package stream_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// ended runs an application that is expected to fail by itself, and returns why.
func (c *cluster) ended(d stream.Definition, cfg stream.Config) error {
	c.t.Helper()
	cfg.Brokers = c.brokers
	a, err := stream.NewApp(d, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	err = a.Run(c.ctx())
	if a.State() != stream.Failed {
		c.t.Errorf("the state is %s", a.State())
	}
	return err
}

func TestMissingTopicsAreNamedWithTheRemedy(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "present")
	b := stream.NewBuilder()
	b.Stream[string, string]("present").Merge(b.Stream[string, string]("absent")).To("nowhere")
	err := c.ended(b, stream.Config{ApplicationID: "missing", DeadLetterTopic: "no-dlq"})
	if !errors.Is(err, stream.ErrTopics) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{`source topic "absent"`, `sink topic "nowhere"`, `dead letter topic "no-dlq"`, "create it before"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "present") {
		t.Errorf("what is there is blamed: %v", err)
	}
}

func TestStoppingBeforeBrokersAnswerIsNoError(t *testing.T) {
	t.Parallel()
	a, err := stream.NewApp(wordCount(), stream.Config{ApplicationID: "nobody", Brokers: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := a.Run(ctx); err != nil {
		t.Errorf("got %v", err)
	}
	if err := a.Run(ctx); err == nil {
		t.Error("a second Run must be refused")
	}
}

func TestAnInternalTopicOfAnotherSizeIsRefused(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "lines", "word-counts")
	c.topics(3, "sized-counts-repartition")
	err := c.ended(wordCount(), stream.Config{ApplicationID: "sized"})
	if !errors.Is(err, stream.ErrTopics) || !strings.Contains(err.Error(), `"sized-counts-repartition" has 3 partitions`) {
		t.Fatalf("got %v", err)
	}
}

func TestInternalTopicsHaveJavasConfiguration(t *testing.T) {
	t.Parallel()
	c, app, in, out := shared(t)
	b := stream.NewBuilder()
	b.Stream(stream.Topic[string, string](in)).GroupBy(func(_, v string) string { return v }).
		Count(stream.As("n"), state.Logging(map[string]string{"segment.ms": "60000"})).
		ToStream().To(stream.Topic[string, int64](out))
	c.app(b, stream.Config{ApplicationID: app, TopicConfig: map[string]string{"max.message.bytes": "2000000"}})
	for topic, want := range map[string]map[string]string{
		app + "-n-changelog":   {"cleanup.policy": "compact", "message.timestamp.type": "CreateTime", "segment.ms": "60000", "max.message.bytes": "2000000"},
		app + "-n-repartition": {"cleanup.policy": "delete", "segment.bytes": "52428800", "retention.ms": "-1", "message.timestamp.type": "CreateTime"},
	} {
		resp, err := c.admin.DescribeTopicConfigs(c.ctx(), topic)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, r := range resp {
			for _, cfg := range r.Configs {
				if _, asked := want[cfg.Key]; asked {
					got[cfg.Key] = cfg.MaybeValue()
				}
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", topic, got, want)
		}
	}
}

func TestDeadLettersKeepBytesAndHeaders(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "in", "out", "in.dlq")
	bad := &kgo.Record{Topic: "in", Key: []byte("k"), Value: []byte{0xff, 0, 1}, Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("t1")}}}
	if err := c.client.ProduceSync(c.ctx(), bad).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b := stream.NewBuilder()
	b.Stream[string, int64]("in").To("out")
	c.app(b, stream.Config{ApplicationID: "dlq", DeserializationErrors: func(_ context.Context, f stream.Failure) stream.Response {
		if f.Stage != "deserialization" || f.Offset != 0 || f.Task.Partition != bad.Partition {
			t.Errorf("failure: %+v", f)
		}
		return stream.DeadLetter("in.dlq")
	}})
	c.read("in.dlq", func(r *kgo.Record) bool {
		if !bytes.Equal(r.Value, bad.Value) || string(r.Key) != "k" {
			t.Errorf("bytes changed: %q %x", r.Key, r.Value)
		}
		got := map[string]string{}
		for _, h := range r.Headers {
			got[h.Key] = string(h.Value)
		}
		if got["trace"] != "t1" || got["__streams.errors.topic"] != "in" || got["__streams.errors.offset"] != "0" || got["__streams.errors.message"] == "" {
			t.Errorf("headers: %v", got)
		}
		return true
	})
}

func TestARecordTheBrokerRefusesIsTheProductionHandlers(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out", "in.dlq")
	c.produce("in", pair{"k", "small"}, pair{"k", "big"}, pair{"k", "small again"})
	b := stream.NewBuilder()
	b.Stream[string, string]("in").MapValues(func(_, v string) string {
		if v == "big" {
			return strings.Repeat("x", 5_000_000)
		}
		return v
	}).To("out")
	c.app(b, stream.Config{
		ApplicationID: "refused", DeadLetterTopic: "in.dlq", ClientOptions: []kgo.Opt{kgo.ProducerBatchCompression(kgo.NoCompression())},
		ProductionErrors: func(_ context.Context, f stream.Failure) stream.Response {
			if f.Stage != "production" || string(f.Value) != "big" {
				t.Errorf("failure: %s %.20q", f.Stage, f.Value)
			}
			return stream.DeadLetter("")
		},
	})
	var got []string
	c.read("out", func(r *kgo.Record) bool {
		got = append(got, string(r.Value))
		return len(got) == 2
	})
	if !slices.Equal(got, []string{"small", "small again"}) {
		t.Errorf("got %.60q", got)
	}
	c.read("in.dlq", func(r *kgo.Record) bool { return string(r.Value) == "big" })
}

func TestAFailureStopsTheApplicationAndIsNotCommitted(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	c.produce("in", pair{"k", "1"}, pair{"k", "0"})
	divide := func(fixed bool) *stream.Builder {
		b := stream.NewBuilder()
		b.Stream[string, string]("in").MapValues(func(_, v string) string {
			if v == "0" && !fixed {
				panic("division by zero")
			}
			return v
		}, stream.Named("divide")).To("out")
		return b
	}
	err := c.ended(divide(false), stream.Config{ApplicationID: "stops"})
	var e *stream.TaskError
	if !errors.As(err, &e) || e.Node != "divide" || e.Topic != "in" || e.Offset != 1 || e.Task != (stream.TaskID{}) {
		t.Fatalf("got %+v: %v", e, err)
	}
	// Mended, it goes on with the record that failed; the one before was done and is committed.
	c.app(divide(true), stream.Config{ApplicationID: "stops"})
	var got []string
	c.read("out", func(r *kgo.Record) bool {
		got = append(got, string(r.Value))
		return string(r.Value) == "0"
	})
	if !slices.Equal(got, []string{"1", "0"}) {
		t.Errorf("got %v", got)
	}
}

func TestStartFrom(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "old", "new", "recent", "out")
	for _, topic := range []string{"old", "new"} {
		c.produce(topic, pair{"k", topic + " before"})
	}
	then := &kgo.Record{Topic: "recent", Value: []byte("two hours ago"), Timestamp: time.Now().Add(-2 * time.Hour)}
	now := &kgo.Record{Topic: "recent", Value: []byte("a minute ago"), Timestamp: time.Now().Add(-time.Minute)}
	if err := c.client.ProduceSync(c.ctx(), then, now).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b := stream.NewBuilder()
	b.Stream[string, string]("old").
		Merge(b.Stream[string, string]("new", stream.StartFrom(stream.Latest()))).
		Merge(b.Stream[string, string]("recent", stream.StartFrom(stream.Ago(time.Hour)))).To("out")
	c.app(b, stream.Config{ApplicationID: "from"})
	c.produce("new", pair{"k", "new after"})
	got := map[string]bool{}
	c.read("out", func(r *kgo.Record) bool {
		got[string(r.Value)] = true
		return got["new after"] && got["old before"] && got["a minute ago"]
	})
	if len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

func TestNoResetWithoutAnOffsetSaysWhatToDo(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	err := c.ended(b, stream.Config{ApplicationID: "noreset", OffsetReset: stream.NoReset()})
	var e *stream.TaskError
	if !errors.As(err, &e) || e.Topic != "in" || e.Hint == "" {
		t.Fatalf("got %v", err)
	}
}

func TestQueriesReadWhatThisInstanceHolds(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(4, "lines", "word-counts")
	c.produce("lines", pair{"", "a b a c"})
	a, stop := c.app(wordCount(), stream.Config{ApplicationID: "query", Threads: 2})
	c.latest("word-counts", int64Of, map[string]int64{"a": 2, "b": 1, "c": 1})
	h := state.TimestampedKeyValue[string, int64]("counts")
	c.steady("query", 2) // tasks move from the first thread to the second while both work
	until(t, func() bool { return a.State() == stream.Running })
	store, err := a.Query(h)
	if err != nil {
		t.Fatal(err)
	}
	if n, ok, err := store.Get("a"); n != 2 || !ok || err != nil {
		t.Errorf("got %d %v %v", n, ok, err)
	}
	if _, ok, err := store.Get("nothing"); ok || err != nil {
		t.Errorf("got %v %v", ok, err)
	}
	var keys []string
	rows := store.ReverseAll()
	for k := range rows.All() {
		keys = append(keys, k)
	}
	if !slices.Equal(keys, []string{"c", "b", "a"}) || rows.Err() != nil {
		t.Errorf("got %v %v", keys, rows.Err())
	}
	if _, err := a.Query(state.TimestampedKeyValue[string, int64]("other")); !errors.Is(err, stream.ErrUnknownStore) {
		t.Errorf("got %v", err)
	}
	if _, err := a.Query(state.TimestampedKeyValue[string, string]("counts")); !errors.Is(err, stream.ErrUnknownStore) {
		t.Errorf("of another type: %v", err)
	}
	stop()
	if _, _, err := store.Get("a"); !errors.Is(err, stream.ErrStoreUnavailable) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := a.Query(h); !errors.Is(err, stream.ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

func TestRepartitionTopicsArePurgedAfterACommit(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	c.produce("lines", pair{"", "a b c"})
	c.app(wordCount(), stream.Config{ApplicationID: "purge"})
	until(t, func() bool {
		offsets, err := c.admin.ListStartOffsets(c.ctx(), "purge-counts-repartition")
		if err != nil {
			t.Fatal(err)
		}
		o, _ := offsets.Lookup("purge-counts-repartition", 0)
		return o.Offset == 3
	})
}

// until asks again and again, and fails when it lasts too long.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s", patience)
		}
	}
}

func TestTheCommittedOffsetPassesTransactionMarkers(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "markers")
	in, out := app+"-in", app+"-out"
	c.topics(1, in, out)
	tx, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.TransactionalID(app+"-tx"))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	for i, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Topic: in, Value: []byte{byte('a' + i)}, Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i))}
		if err := tx.ProduceSync(c.ctx(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := tx.EndTransaction(c.ctx(), how); err != nil {
			t.Fatal(err)
		}
	}
	b := stream.NewBuilder()
	b.Stream(stream.Topic[string, string](in)).To(stream.Topic[string, string](out))
	c.app(b, stream.Config{ApplicationID: app})
	var got string
	c.read(out, func(r *kgo.Record) bool {
		got += string(r.Value)
		return strings.HasSuffix(got, "c")
	})
	if got != "ac" {
		t.Errorf("got %q: what was aborted must not be read", got)
	}
	// Three records and three markers: the lag becomes 0, and the partition's time stands beside the offset.
	var o kadm.OffsetResponse
	until(t, func() bool {
		offsets, err := c.admin.FetchOffsets(c.ctx(), app)
		if err != nil {
			t.Fatal(err)
		}
		o, _ = offsets.Lookup(in, 0)
		return o.At == 6
	})
	if o.Metadata != "AgAAAYvP5WgC" {
		t.Errorf("metadata %q", o.Metadata)
	}
}

func TestStatesAndRestorationAreTold(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	c.produce("lines", pair{"", "a b"})
	_, stop := c.app(wordCount(), stream.Config{ApplicationID: "told"})
	c.latest("word-counts", int64Of, map[string]int64{"a": 1, "b": 1})
	stop()
	var mu sync.Mutex
	var states []stream.State
	var restored stream.RestoreEvent
	_, stop = c.app(wordCount(), stream.Config{
		ApplicationID: "told",
		OnState: func(_, now stream.State) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, now)
		},
		OnRestore: func(e stream.RestoreEvent) {
			mu.Lock()
			defer mu.Unlock()
			restored = e
		},
	})
	stop()
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(states, []stream.State{stream.Rebalancing, stream.Running, stream.PendingShutdown, stream.NotRunning}) {
		t.Errorf("states: %v", states)
	}
	if !restored.Done || restored.Restored != 2 || restored.Store != "counts" || restored.Task.String() != "1_0" || restored.Rate <= 0 || restored.Left != 0 {
		t.Errorf("restored: %+v", restored)
	}
}

func TestSeveralTopicsAreReadInTheOrderOfTheirTimes(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "left", "right", "empty", "out")
	var records []*kgo.Record
	for i := range int64(100) {
		records = append(records,
			&kgo.Record{Topic: "left", Value: []byte("x"), Timestamp: time.UnixMilli(1_000_000 + 2*i)},
			&kgo.Record{Topic: "right", Value: []byte("x"), Timestamp: time.UnixMilli(1_000_001 + 2*i)})
	}
	if err := c.client.ProduceSync(c.ctx(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b := stream.NewBuilder()
	b.Stream[string, string]("left").Merge(b.Stream[string, string]("right")).Merge(b.Stream[string, string]("empty")).To("out")
	c.app(b, stream.Config{ApplicationID: "order"})
	var last int64
	n := 0
	c.read("out", func(r *kgo.Record) bool {
		if at := r.Timestamp.UnixMilli(); at < last {
			t.Errorf("%d came after %d", at, last)
		} else {
			last = at
		}
		n++
		return n == 200
	})
}

func TestMetricsTellWhatWasDone(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	c.produce("lines", pair{"", "a b"})
	a, stop := c.app(wordCount(), stream.Config{ApplicationID: "measured"})
	c.latest("word-counts", int64Of, map[string]int64{"a": 1, "b": 1})
	stop()
	got := map[string]float64{}
	a.Metrics().Each(func(name string, labels map[string]string, x float64) {
		if labels["application"] == "measured" {
			got[name] += x
		}
	})
	if got["millrun_stream_process_total"] != 3 || got["millrun_stream_commit_latency_seconds_count"] == 0 {
		t.Errorf("got %v", got)
	}
	if len(a.Topology().Graph().Nodes) == 0 || a.Topology().Describe() == "" {
		t.Error("the topology is not there")
	}
}

func TestAMemberTheGroupHasGivenUpJoinsAgain(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "lines", "word-counts")
	c.produce("lines", pair{"", "a b"})
	c.app(wordCount(), stream.Config{ApplicationID: "fenced"})
	c.latest("word-counts", int64Of, map[string]int64{"a": 1, "b": 1})
	refused := make(chan struct{})
	c.fake.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		commit := req.(*kmsg.OffsetCommitRequest)
		resp := commit.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range commit.Topics {
			rt := kmsg.NewOffsetCommitResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewOffsetCommitResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.IllegalGeneration.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		close(refused)
		return resp, nil, true
	})
	c.produce("lines", pair{"", "c"})
	<-refused
	// What was not committed is processed again, by a task restored from the changelog; then it goes on.
	c.produce("lines", pair{"", "d"})
	c.read("word-counts", func(r *kgo.Record) bool { return string(r.Key) == "d" })
}
