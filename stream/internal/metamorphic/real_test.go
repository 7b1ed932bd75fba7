package metamorphic

import (
	"context"
	"encoding/binary"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
)

// patience bounds the waits: it is no measurement.
const patience = 3 * time.Minute

// TestApacheKafkaGivesTheDriversAnswer runs each shape by two applications on Apache Kafka, with three partitions, and waits
// for the table that the test driver comes to. Left out is what hangs on the order in which two topics are read.
func TestApacheKafkaGivesTheDriversAnswer(t *testing.T) {
	t.Parallel()
	brokers := real.Kafka(t)
	for seed, sh := range shapes() {
		if sh.may == moments || strings.HasPrefix(sh.name, "left join with a table") {
			continue
		}
		t.Run(strings.ReplaceAll(sh.name, " ", "_"), func(t *testing.T) { onKafka(t, brokers, uint64(seed)) })
	}
}

func onKafka(t *testing.T, brokers []string, seed uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	events := input(rand.New(rand.NewPCG(seed, 2)), 150)[:150] // a span within the retention of every store; nothing has to be closed
	want, _, said := run(t, seed, events, plainly)
	app := real.Name(t, "meta")
	prefix := app + "-"
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ConsumeTopics(prefix+"out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	forever := map[string]*string{"retention.ms": new("-1")} // records of these tests are of 1970
	made, err := kadm.NewClient(cl).CreateTopics(ctx, 3, 1, forever, prefix+"a", prefix+"b", prefix+"out")
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		defer start(ctx, t, seed, prefix, stream.Config{
			ApplicationID: app, Brokers: brokers, CommitInterval: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		})()
	}
	// While tasks move, others go on, and what comes late may be too late for its window.
	real.Steady(ctx, t, kadm.NewClient(cl), app, 2)
	for _, e := range events {
		r := &kgo.Record{Topic: prefix + e.topic, Key: []byte(e.key), Timestamp: time.UnixMilli(e.at)}
		if !e.none {
			r.Value = binary.BigEndian.AppendUint64(nil, uint64(e.value))
		}
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for !maps.Equal(got, want.latest) {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s: after %s the table is not what the driver's is: %s", said, patience, firstDifference("final table", rowLines(want.latest), rowLines(got)))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Value == nil {
				delete(got, string(r.Key))
			} else {
				got[string(r.Key)] = strconv.FormatInt(int64(binary.BigEndian.Uint64(r.Value)), 10)
			}
		})
	}
}

// start runs the topology of a seed; stop waits for its end.
func start(ctx context.Context, t *testing.T, seed uint64, prefix string, c stream.Config) (stop func()) {
	t.Helper()
	b, _, _ := weave(seed, false, prefix)
	a, err := stream.NewApp(b, c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return func() {
		if err := a.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
