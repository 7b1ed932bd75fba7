package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/internal/blobd"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// door is an Archive that can be away.
type door struct {
	*azblob.Archive

	away  atomic.Bool
	asked atomic.Int64
}

// Put fails while the archive is away.
func (d *door) Put(ctx context.Context, o azblob.Object) (azblob.Stored, error) {
	d.asked.Add(1)
	if d.away.Load() {
		return azblob.Stored{}, errors.New("503 server busy")
	}
	return d.Archive.Put(ctx, o)
}

// rig is a broker, a Blob server with staging and an immutable archive, a clock that stands, and everything ever said.
type rig struct {
	t       *testing.T
	kafka   []kgo.Opt
	client  *kgo.Client
	codec   *events.Codec
	clock   *clock.Manual
	stamp   clock.Clock // of records
	staging *azblob.Staging
	blobs   *container.Client // staging's container
	archive *door

	mu   sync.Mutex
	seen map[string][]*kgo.Record
}

// topics are those that the two roles read and write.
var topics = []string{events.TopicRawImages, events.DLQ(events.TopicRawImages), events.TopicImageStatus,
	events.TopicProcessedImages, events.DLQ(events.TopicProcessedImages)}

func newRig(t *testing.T) *rig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	manual := clock.NewManual(noon)
	return newRigOn(t, cluster.ListenAddrs(), manual, manual)
}

// newRigOn is a rig on brokers that have the topics. Their own clock must be near stamp's.
func newRigOn(t *testing.T, brokers []string, now *clock.Manual, stamp clock.Clock) *rig {
	t.Helper()
	r := &rig{t: t, clock: now, stamp: stamp, kafka: []kgo.Opt{kgo.SeedBrokers(brokers...)}, seen: map[string][]*kgo.Record{}}
	var err error
	if r.codec, err = events.NewCodec(""); err != nil {
		t.Fatal(err)
	}
	r.openBlobs()
	r.consume(append([]string{events.TopicImagesChangelog}, topics...))
	return r
}

func (r *rig) openBlobs() {
	r.t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("a key for tests, thirty-two byte"))
	s, err := blobd.Open(blobd.Config{Dir: r.t.TempDir(), Account: "test", Key: key, Clock: r.clock, Log: slog.New(slog.DiscardHandler), Versioning: true,
		Containers: []blobd.ContainerConfig{{Name: "staging"}, {Name: "archive", ImmutableWithVersioning: true, DefaultDays: 1, DefaultLocked: true}}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
	})
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	account, err := azblob.Connect(azblob.Options{ConnectionString: s.ConnectionString(addr)})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(account.Close)
	if r.blobs, err = container.NewClientFromConnectionString(s.ConnectionString(addr), "staging", nil); err != nil {
		r.t.Fatal(err)
	}
	r.staging = azblob.NewStaging(account, azblob.StagingConfig{Container: "staging", Clock: r.clock})
	a, err := azblob.OpenArchive(r.t.Context(), account, azblob.ArchiveConfig{Container: "archive", Clock: r.clock})
	if err != nil {
		r.t.Fatal(err)
	}
	r.archive = &door{Archive: a}
}

func (r *rig) consume(topics []string) {
	r.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ConsumeTopics(topics...), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.MetadataMaxAge(200 * time.Millisecond)}, r.kafka...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.client = cl
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
}

// role is what a rig runs: a Sink or a Worker.
type role interface {
	Run(ctx context.Context) error
	Ready() <-chan struct{}
}

// start starts a role; stop ends it and waits.
func (r *rig) start(w role) (stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("the role ended with %v", err)
		}
	})
	r.t.Cleanup(stop)
	select {
	case <-w.Ready():
	case err := <-done:
		done <- nil
		r.t.Fatalf("the role ended at once: %v", err)
	}
	return stop
}

func (r *rig) run() (stop func()) {
	r.t.Helper()
	s, err := New(Config{Kafka: r.kafka, Codec: r.codec, Staging: r.staging, Archive: r.archive, Clock: r.clock, Stamp: r.stamp,
		Threads: 1, CommitInterval: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.start(s)
}

// stage puts bytes into staging.
func (r *rig) stage(b []byte) events.Blob {
	r.t.Helper()
	name := events.StagingName(r.clock.Now(), uuid.NewString())
	if err := r.staging.Put(r.t.Context(), name, "application/octet-stream", bytes.NewReader(b), int64(len(b))); err != nil {
		r.t.Fatal(err)
	}
	return events.Blob{Container: "staging", Name: name}
}

// processed is an image with one derivative, both in staging.
func (r *rig) processed(original, derivative string) events.ProcessedImage {
	r.t.Helper()
	sha, now := sha256.Sum256([]byte(original)), r.clock.Now()
	return events.ProcessedImage{
		ImageID: events.ImageID("demo", sha), Tenant: "demo", Origin: events.OriginFeed, ReceivedAt: now, ExpiresAt: events.ExpiresAt(now),
		ContentType: "image/jpeg", Bytes: int64(len(original)), SHA256: sha, Blob: r.stage([]byte(original)), TenantClass: "gold",
		Source: "raw-images/0/7", Attempt: 1, StartedAt: now, Format: "jpeg", Width: 4, Height: 3, Frames: 1,
		Derivatives: []events.Derivative{{Name: "thumbnail", Step: "thumbnail", Version: "1", ContentType: "image/jpeg", Bytes: int64(len(derivative)),
			SHA256: sha256.Sum256([]byte(derivative)), Width: 2, Height: 1, Blob: r.stage([]byte(derivative))}},
		Steps: []events.StepResult{{Step: "thumbnail", Version: "1"}},
	}
}

func (r *rig) send(p events.ProcessedImage) {
	r.t.Helper()
	b, err := r.codec.EncodeProcessedImage(p)
	if err != nil {
		r.t.Fatal(err)
	}
	r.produce(events.TopicProcessedImages, p.ImageID, b)
}

func (r *rig) produce(topic, key string, value []byte) {
	r.t.Helper()
	rec := &kgo.Record{Topic: topic, Key: []byte(key), Value: value, Timestamp: r.stamp.Now()}
	if err := r.client.ProduceSync(r.t.Context(), rec).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) records(topic string) []*kgo.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen[topic])
}

// said are the statuses of an image.
func (r *rig) said(id string) []events.ImageStatus {
	r.t.Helper()
	var out []events.ImageStatus
	for _, rec := range r.records(events.TopicImageStatus) {
		s, err := r.codec.DecodeImageStatus(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if s.ImageID == id {
			out = append(out, s)
		}
	}
	return out
}

// archived are the entries of the archive.
func (r *rig) archived() []azblob.Entry {
	r.t.Helper()
	var out []azblob.Entry
	if err := r.archive.List(r.t.Context(), "", func(e azblob.Entry) error { out = append(out, e); return nil }); err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *rig) names() (names []string) {
	for _, e := range r.archived() {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return names
}

// content is what the archive gives for a blob's version.
func (r *rig) content(b events.ArchivedBlob) string {
	r.t.Helper()
	body, err := r.archive.Open(r.t.Context(), b, 0, -1)
	if err != nil {
		r.t.Fatal(err)
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(content)
}

func (r *rig) staged(b events.Blob) bool {
	r.t.Helper()
	_, err := r.staging.Read(r.t.Context(), b.Name, 1<<30)
	if err != nil && !errors.Is(err, azblob.ErrNotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

// stagingCount is how many blobs staging holds.
func (r *rig) stagingCount() (n int) {
	r.t.Helper()
	for pages := r.blobs.NewListBlobsFlatPager(nil); pages.More(); {
		page, err := pages.NextPage(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		n += len(page.Segment.BlobItems)
	}
	return n
}

func (r *rig) forget(group string) {
	r.t.Helper()
	eventually(r.t, "the group is empty and can be deleted", func() bool {
		_, err := kadm.NewClient(r.client).DeleteGroup(r.t.Context(), group)
		return err == nil
	})
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
