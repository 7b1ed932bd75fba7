package feed

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; nothing takes that long unless it is broken.
const patience = 20 * time.Second

// rig is a bridge between two in-process Kafkas, with a staging container in memory.
type rig struct {
	t       *testing.T
	theirs  *kfake.Cluster
	ours    *kfake.Cluster
	staging *memStaging
	bridge  *Bridge
	metrics *prometheus.Registry
	cfg     Config
	feed    *kgo.Client
	stop    func()
}

func openRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	large := kfake.BrokerConfigs(map[string]string{"message.max.bytes": "9437184"})
	theirs, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, events.TopicCompanyImages), large)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(theirs.Close)
	ours, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, events.TopicRawImages), kfake.SeedTopics(1, dlq.Topic(events.TopicCompanyImages)),
		large)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ours.Close)
	r := &rig{t: t, theirs: theirs, ours: ours, staging: &memStaging{blobs: map[string][]byte{}}, metrics: prometheus.NewRegistry()}
	codec, err := events.NewCodec("")
	if err != nil {
		t.Fatal(err)
	}
	in, err := intake.New(intake.Config{Staging: r.staging, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = Config{
		Codec: codec, Intake: in, From: []kgo.Opt{kgo.SeedBrokers(theirs.ListenAddrs()...)}, Kafka: []kgo.Opt{kgo.SeedBrokers(ours.ListenAddrs()...)},
		Log: slog.New(slog.DiscardHandler), Metrics: r.metrics, Patience: 20 * time.Millisecond, Tenants: map[string]string{"demo": "standard", "other": "standard"},
		Clock: clock.System{},
	}
	if change != nil {
		change(&r.cfg)
	}
	if r.feed, err = kgo.NewClient(kgo.SeedBrokers(theirs.ListenAddrs()...), kgo.DefaultProduceTopic(events.TopicCompanyImages), kgo.ProducerBatchMaxBytes(9<<20)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.feed.Close)
	r.start()
	return r
}

func (r *rig) start() {
	r.t.Helper()
	cfg := r.cfg
	b, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.cfg.Metrics = nil // the next bridge of this rig counts for itself
	r.bridge = b
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("run: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

// send feeds records and returns them as they lie.
func (r *rig) send(records ...*kgo.Record) {
	r.t.Helper()
	if err := r.feed.ProduceSync(r.t.Context(), records...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func value(b []byte, headers ...string) *kgo.Record {
	rec := &kgo.Record{Value: b}
	for i := 0; i+1 < len(headers); i += 2 {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return rec
}

// await reads n records of one of our topics from its beginning.
func (r *rig) await(topic string, n int) []*kgo.Record {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.ours.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	var got []*kgo.Record
	for len(got) < n {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			r.t.Fatalf("%s: %d of %d records within %s", topic, len(got), n, patience)
		}
		got = append(got, f.Records()...)
	}
	return got
}

// receipts are the first n records of raw-images by image id.
func (r *rig) receipts(n int) []events.RawImage {
	r.t.Helper()
	var all []events.RawImage
	for _, rec := range r.await(events.TopicRawImages, n) {
		raw, err := r.cfg.Codec.DecodeRawImage(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, raw)
	}
	return all
}

// committed is how far the feed is done with.
func (r *rig) committed() int64 {
	r.t.Helper()
	o, err := kadm.NewClient(r.feed).FetchOffsets(r.t.Context(), "millrun-feed")
	if err != nil {
		r.t.Fatal(err)
	}
	at, ok := o.Lookup(events.TopicCompanyImages, 0)
	if !ok {
		return 0
	}
	return at.At
}

// until waits for a condition.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func (r *rig) restarts() float64 { return testutil.ToFloat64(r.bridge.metrics.restarts) }

// memStaging is a staging container in memory that can be away.
type memStaging struct {
	mu    sync.Mutex
	blobs map[string][]byte
	puts  int
	away  bool
}

func (m *memStaging) Container() string { return "staging" }

func (m *memStaging) Put(_ context.Context, name, _ string, body io.Reader, _ int64) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.puts++; m.away {
		return errors.New("the storage is away")
	}
	m.blobs[name] = b
	return nil
}

func (m *memStaging) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, name)
	return nil
}

func (m *memStaging) get(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.blobs[name]
}

func (m *memStaging) setAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *memStaging) tried() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.puts
}

// picture is a PNG of its own for each n.
func picture(n int) []byte {
	m := image.NewRGBA(image.Rect(0, 0, 8, 8))
	for i := range 16 {
		m.Set(i%8, i/8, color.RGBA{uint8(n >> 16), uint8(n >> 8), uint8(n), uint8(255 - i)})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}
