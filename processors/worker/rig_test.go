package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/host"
	"github.com/millrun/millrun/processors/host/step"
)

// asStep makes this test binary a step program.
const asStep = "MILLRUN_TEST_STEP"

func TestMain(m *testing.M) {
	if os.Getenv(asStep) != "" {
		err := step.Serve(func(q step.Request, _ []byte) ([]step.Output, error) {
			switch os.Getenv(asStep) {
			case "die":
				os.Exit(3)
			case "hang":
				<-time.After(time.Hour)
			}
			return []step.Output{{Name: "facts", ContentType: "application/json", Bytes: []byte(`{"w":` + fmt.Sprint(q.Width) + `}`)}}, nil
		})
		if err != nil {
			os.Exit(9)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func testStep(t *testing.T, name, mode string) host.Step {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	timeout := 20 * time.Second // programs begin slowly on a busy machine
	if mode == "hang" {
		timeout = 2 * time.Second
	}
	return host.Step{Name: name, Version: "7", Command: []string{self}, Env: []string{asStep + "=" + mode}, Timeout: timeout}
}

// shelf is a Staging in memory that can be away.
type shelf struct {
	mu    sync.Mutex
	blobs map[string][]byte
	until map[string]time.Time
	away  bool
	asked int
}

func (s *shelf) Container() string { return "staging" }

func (s *shelf) Read(_ context.Context, name string, limit int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	b, ok := s.blobs[name]
	switch {
	case s.away:
		return nil, errors.New("503 server busy")
	case !ok:
		return nil, fmt.Errorf("read %s: %w", name, azblob.ErrNotFound)
	case int64(len(b)) > limit:
		return nil, &azblob.TooLargeError{Name: name, Size: int64(len(b)), Limit: limit}
	}
	return b, nil
}

func (s *shelf) PutUntil(_ context.Context, name, _ string, body io.Reader, _ int64, until time.Time) error {
	b, err := io.ReadAll(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errors.New("503 server busy")
	}
	s.blobs[name], s.until[name] = b, until
	return err
}

func (s *shelf) Delete(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, name)
	return nil
}

func (s *shelf) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.blobs[name]
	return ok
}

func (s *shelf) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// rig is a broker with the topics, a staging in memory, a clock that stands, and everything that was ever written.
type rig struct {
	t       *testing.T
	kafka   []kgo.Opt
	client  *kgo.Client
	codec   *events.Codec
	clock   *clock.Manual
	staging *shelf
	steps   []host.Step

	mu   sync.Mutex
	seen map[string][]*kgo.Record // by topic
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const partitions = 2

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewManual(noon), seen: map[string][]*kgo.Record{},
		staging: &shelf{blobs: map[string][]byte{}, until: map[string]time.Time{}}}
	topics := []string{events.TopicRawImages, events.TopicImageStatus, events.TopicProcessedImages, events.DLQ(events.TopicRawImages)}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	r.kafka = []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}
	if r.codec, err = events.NewCodec(""); err != nil {
		t.Fatal(err)
	}
	r.client = r.consume(append(topics, events.TopicImagesChangelog))
	return r
}

// consume reads everything into seen until the test ends. The changelog is made by the application, so its topic is
// awaited.
func (r *rig) consume(topics []string) *kgo.Client {
	r.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ConsumeTopics(topics...), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.MetadataMaxAge(200 * time.Millisecond)}, r.kafka...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
				r.mu.Lock()
				r.seen[rec.Topic] = append(r.seen[rec.Topic], rec)
				r.mu.Unlock()
			})
		}
	}()
	r.t.Cleanup(func() { cancel(); <-done; cl.Close() })
	return cl
}

// run starts a worker; stop ends it and waits.
func (r *rig) run() (stop func()) {
	r.t.Helper()
	w, err := New(r.config())
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("the worker ended with %v", err)
		}
	})
	r.t.Cleanup(stop)
	select {
	case <-w.Ready():
	case err := <-done:
		done <- nil
		r.t.Fatalf("the worker ended at once: %v", err)
	}
	return stop
}

func (r *rig) config() Config {
	return Config{Kafka: r.kafka, Codec: r.codec, Staging: r.staging, Tenants: map[string]string{"demo": "gold"}, Steps: r.steps,
		Clock: r.clock, Stamp: r.clock, Threads: 1, CommitInterval: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
}

// receive puts bytes into staging and says so, as the API does.
func (r *rig) receive(b []byte) events.RawImage {
	r.t.Helper()
	raw := r.receipt(b)
	r.staging.set(func() { r.staging.blobs[raw.Blob.Name] = b })
	r.send(raw)
	return raw
}

func (r *rig) receipt(b []byte) events.RawImage {
	sha, now := sha256.Sum256(b), r.clock.Now()
	return events.RawImage{
		ImageID: events.ImageID("demo", sha), Tenant: "demo", Origin: events.OriginAPI, ReceivedAt: now, ExpiresAt: events.ExpiresAt(now),
		ContentType: "image/jpeg", Bytes: int64(len(b)), SHA256: sha,
		Blob: events.Blob{Container: "staging", Name: events.StagingName(now, uuid.NewString())}, Trace: events.NewTrace(),
	}
}

func (r *rig) send(raw events.RawImage) {
	r.t.Helper()
	b, err := r.codec.EncodeRawImage(raw)
	if err != nil {
		r.t.Fatal(err)
	}
	r.produce(events.TopicRawImages, raw.ImageID, b)
}

func (r *rig) say(s events.ImageStatus) {
	r.t.Helper()
	b, err := r.codec.EncodeImageStatus(s)
	if err != nil {
		r.t.Fatal(err)
	}
	r.produce(events.TopicImageStatus, s.ImageID, b)
}

func (r *rig) produce(topic, key string, value []byte) {
	r.t.Helper()
	rec := &kgo.Record{Topic: topic, Key: []byte(key), Value: value, Timestamp: r.clock.Now(),
		Headers: []kgo.RecordHeader{{Key: events.TraceHeader, Value: []byte("00-trace")}}}
	if err := r.client.ProduceSync(r.t.Context(), rec).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) records(topic string) []*kgo.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen[topic])
}

// statuses are all that was said about an image, like "accepted", "accepted duplicate", "rejected truncated".
func (r *rig) statuses(id string) []string {
	r.t.Helper()
	var out []string
	for _, rec := range r.records(events.TopicImageStatus) {
		s, err := r.codec.DecodeImageStatus(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if s.ImageID != id {
			continue
		}
		text := string(s.Status)
		if s.Duplicate {
			text += " duplicate"
		}
		if s.ErrorCode != nil {
			text += " " + *s.ErrorCode
		}
		out = append(out, text)
	}
	return out
}

func (r *rig) processed(id string) []events.ProcessedImage {
	r.t.Helper()
	var out []events.ProcessedImage
	for _, rec := range r.records(events.TopicProcessedImages) {
		p, err := r.codec.DecodeProcessedImage(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if p.ImageID == id {
			out = append(out, p)
		}
	}
	return out
}

// view is what the API would show: the changelog's latest value, false after a tombstone.
func (r *rig) view(id string) (img events.Image, ok bool) {
	r.t.Helper()
	for _, rec := range r.records(events.TopicImagesChangelog) {
		if string(rec.Key) != id {
			continue
		}
		if ok = rec.Value != nil; ok {
			var err error
			if img, err = events.UnmarshalImage(rec.Value); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	return img, ok
}

// forget takes the group's offsets away, so that the next worker reads everything again.
func (r *rig) forget() {
	r.t.Helper()
	eventually(r.t, "the group is empty and can be deleted", func() bool {
		_, err := kadm.NewClient(r.client).DeleteGroup(r.t.Context(), events.AppWorker)
		return err == nil
	})
}

func (r *rig) blobs() map[string][]byte {
	r.staging.mu.Lock()
	defer r.staging.mu.Unlock()
	return maps.Clone(r.staging.blobs)
}

// eventually waits until what holds, at most half a minute.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not within half a minute: %s", what)
		case <-tick.C:
		}
	}
}

// photograph is a JPEG that differs by n.
func photograph(t *testing.T, n int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 640, 480))
	for y := range 480 {
		for x := range 640 {
			m.Set(x, y, color.RGBA{uint8(x + n), uint8(y), uint8(x * y), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
