package httpin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; nothing takes that long unless it is broken.
const patience = 20 * time.Second

// door is a server on loopback with an in-process Kafka, storages in memory and a clock that stands.
type door struct {
	t       *testing.T
	server  *Server
	url     string
	kafka   *kfake.Cluster
	staging *memStaging
	archive *memArchive
	purged  *memPurged
	clock   *clock.Manual
	log     *syncBuffer
	client  *http.Client
	stop    func()
}

// Keys of the test's callers.
const (
	demoKey   = "mr_demo-key-0123456789abcdef"
	otherKey  = "mr_other-key-0123456789abcdef"
	readKey   = "mr_read-key-0123456789abcdef"
	salesKey  = "mr_sales-key-0123456789abcdef"
	lostKey   = "mr_lost-key-0123456789abcdef" // a team's key without any scope
	operKey   = "mr_oper-key-0123456789abcdef"
	strayKey  = "mr_stray-key-0123456789abcdef" // sales, with the scope of a topic that is checkout's
	nobodyKey = "mr_nobody-key-0123456789abcde"
)

func digestOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func testKeys() []Key {
	return []Key{
		{Name: "demo", Tenant: "demo", Scopes: []string{ScopeRead, ScopeWrite}, SHA256: digestOf(demoKey)},
		{Name: "other", Tenant: "other", Scopes: []string{ScopeRead, ScopeWrite}, SHA256: digestOf(otherKey)},
		{Name: "reader", Tenant: "demo", Scopes: []string{ScopeRead}, SHA256: digestOf(readKey)},
		{Name: "sales", Team: "sales", Scopes: []string{ScopeChanges + "items.changes"}, SHA256: digestOf(salesKey)},
		{Name: "lost", Team: "sales", SHA256: digestOf(lostKey)},
		{Name: "stray", Team: "sales", Scopes: []string{ScopeChanges + "orders.placed"}, SHA256: digestOf(strayKey)},
		{Name: "operator", Scopes: []string{ScopeOperate, ScopeAdmin}, SHA256: digestOf(operKey)},
	}
}

// openDoor starts a door. change may alter its configuration.
func openDoor(t *testing.T, change func(*Config)) *door {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1),
		kfake.SeedTopics(3, events.TopicRawImages, events.TopicImagesChangelog),
		kfake.SeedTopics(1, "items.changes", "orders.placed", "orders.completed", "members.changes"))
	if err != nil {
		t.Fatal(err)
	}
	d := &door{
		t: t, kafka: cluster, staging: &memStaging{blobs: map[string][]byte{}}, archive: &memArchive{blobs: map[string][]byte{}},
		purged: &memPurged{at: map[string]time.Time{}}, clock: clock.NewManual(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)), log: &syncBuffer{},
	}
	in, err := intake.New(intake.Config{Staging: d.staging})
	if err != nil {
		t.Fatal(err)
	}
	codec, err := events.NewCodec("")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Archive: d.archive, Clock: d.clock, Codec: codec, Intake: in, Kafka: []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)},
		Keys: testKeys(), Tenants: map[string]string{"demo": "standard", "other": "standard"}, Purged: d.purged,
		Limits: Limits{RequestsPerMinute: 1 << 30, CatchUp: patience / 2}, // tests poll, and machines are busy
		Log:    slog.New(slog.NewJSONHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	d.start(cfg)
	return d
}

func (d *door) start(cfg Config) {
	d.t.Helper()
	s, err := New(cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	transport := &http.Transport{}
	d.server, d.url, d.client = s, "http://"+ln.Addr().String(), &http.Client{Transport: transport, Timeout: patience}
	d.stop = sync.OnceFunc(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			d.t.Errorf("serve: %v", err)
		}
	})
	d.t.Cleanup(func() {
		d.stop()
		d.kafka.Close()
	})
	d.until("the server is ready", func() bool { return s.Ready() == nil })
}

// until waits for a condition.
func (d *door) until(what string, cond func() bool) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			log := d.log.String()
			d.t.Fatalf("%s: not within %s; log:\n%s", what, patience, log[max(0, len(log)-4000):])
		}
	}
}

// reply is an answer that was read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.body, &m); err != nil {
		t.Fatalf("status %d, not JSON: %q", r.status, r.body)
	}
	return m
}

// do sends a request with the key (none when empty) and header pairs.
func (d *door) do(method, path, key string, body io.Reader, header ...string) reply {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("X-Api-Key", key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := d.client.Do(r)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{resp.StatusCode, resp.Header, b}
}

// upload sends bytes as an image and returns its id.
func (d *door) upload(key string, b []byte) string {
	d.t.Helper()
	r := d.do("POST", "/v1/images", key, bytes.NewReader(b), "Content-Type", "image/png")
	if r.status != http.StatusAccepted {
		d.t.Fatalf("upload: %d %s", r.status, r.body)
	}
	return r.json(d.t)["image_id"].(string)
}

// produce writes records as the worker would.
func (d *door) produce(records ...*kgo.Record) {
	d.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.kafka.ListenAddrs()...))
	if err != nil {
		d.t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(d.t.Context(), records...).FirstErr(); err != nil {
		d.t.Fatal(err)
	}
}

// say writes the worker's word on images.
func (d *door) say(images ...events.Image) {
	d.t.Helper()
	var records []*kgo.Record
	for _, i := range images {
		v, err := events.MarshalImage(i)
		if err != nil {
			d.t.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: events.TopicImagesChangelog, Key: []byte(i.ImageID), Value: v})
	}
	d.produce(records...)
}

// image is the life of those bytes, received now, as the worker would begin it.
func (d *door) image(tenant string, b []byte) events.Image {
	now := d.clock.Now()
	sum := sha256.Sum256(b)
	return events.Image{
		ImageID: events.ImageID(tenant, sum), Tenant: tenant, Origin: events.OriginAPI, Status: events.StatusAccepted, Attempt: 1,
		History:     []events.Moment{{Status: events.StatusAccepted, At: now}},
		ContentType: "image/png", Bytes: int64(len(b)), SHA256: hex.EncodeToString(sum[:]), ReceivedAt: now, ExpiresAt: events.ExpiresAt(now),
	}
}

// records reads a topic from its beginning to its end as of now.
func (d *door) records(topic string) []*kgo.Record {
	d.t.Helper()
	var n int64
	for _, p := range d.kafka.PartitionInfos(topic) {
		n += p.HighWatermark - p.LogStartOffset
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.kafka.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		d.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	var got []*kgo.Record
	for int64(len(got)) < n {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			d.t.Fatalf("%s has %d records, %d came", topic, n, len(got))
		}
		got = append(got, f.Records()...)
	}
	return got
}

// memStaging is a staging container in memory that can be away.
type memStaging struct {
	mu      sync.Mutex
	blobs   map[string][]byte
	away    bool
	discard bool          // bytes are read and not kept
	late    bool          // Put waits behind the bytes, not before
	slow    chan struct{} // when set, Put receives from it twice
}

var errAway = errors.New("the storage is away")

func (m *memStaging) Container() string { return "staging" }

func (m *memStaging) Put(ctx context.Context, name, _ string, body io.Reader, _ int64) error {
	m.mu.Lock()
	away, slow, late, discard := m.away, m.slow, m.late, m.discard
	m.mu.Unlock()
	if away {
		return errAway
	}
	if slow != nil && !late {
		if err := wait(ctx, slow); err != nil {
			return err
		}
	}
	var b []byte
	var err error
	if discard {
		_, err = io.Copy(io.Discard, body)
	} else {
		b, err = io.ReadAll(body)
	}
	if err == nil && slow != nil && late {
		err = wait(ctx, slow)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[name] = b
	return nil
}

// wait receives twice: once to say that it is here, once to go on.
func wait(ctx context.Context, gate chan struct{}) error {
	for range 2 {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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

func (m *memStaging) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.blobs)
}

func (m *memStaging) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// memArchive holds blobs by name and version.
type memArchive struct {
	mu    sync.Mutex
	blobs map[string][]byte
	away  bool
}

func (m *memArchive) put(b events.ArchivedBlob, v []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[b.Name+"@"+b.VersionID] = v
}

func (m *memArchive) Open(_ context.Context, b events.ArchivedBlob, offset, length int64) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.blobs[b.Name+"@"+b.VersionID]
	if !ok || m.away {
		return nil, fmt.Errorf("%w: %s", errAway, b.Name)
	}
	return io.NopCloser(bytes.NewReader(v[offset : offset+length])), nil
}

// memPurged is a memory of purges.
type memPurged struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (m *memPurged) PurgedAt(tenant, id string) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.at[tenant+"/"+id]
	return at, ok
}

func (m *memPurged) add(tenant, id string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at[tenant+"/"+id] = at
}

// syncBuffer is a buffer that a log may be written to while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
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

// photograph is a JPEG.
func photograph() []byte {
	m := image.NewGray(image.Rect(0, 0, 64, 48))
	for i := range m.Pix {
		m.Pix[i] = uint8(i * 7)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}
