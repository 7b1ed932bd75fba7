package parquet

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/blobd"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// rig is a broker with image-status, a Blob server with the container analytics, and a clock that stands.
type rig struct {
	t         *testing.T
	clock     *clock.Manual
	kafka     []kgo.Opt
	client    *kgo.Client
	container *container.Client
	codec     *events.Codec
	offline   atomic.Bool // the storage is away
	refused   atomic.Int64
	stolen    atomic.Pointer[func(name string)]
}

func newRig(t *testing.T, partitions int32) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewManual(noon)}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, events.TopicImageStatus, events.DLQ(events.TopicImageStatus)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	r.kafka = []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}
	if r.client, err = kgo.NewClient(append(r.kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	if r.codec, err = events.NewCodec(""); err != nil {
		t.Fatal(err)
	}
	r.openBlobs()
	return r
}

func (r *rig) openBlobs() {
	r.t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("a key for tests, thirty-two byte"))
	s, err := blobd.Open(blobd.Config{Dir: r.t.TempDir(), Account: "test", Key: key, Clock: r.clock, Log: slog.New(slog.DiscardHandler),
		Containers: []blobd.ContainerConfig{{Name: "analytics"}}})
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
	transport := &http.Transport{}
	r.t.Cleanup(transport.CloseIdleConnections)
	c, err := service.NewClientFromConnectionString(s.ConnectionString(addr), &service.ClientOptions{
		Transport: door{r, transport}, Retry: policy.RetryOptions{MaxRetries: -1},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.container = c.NewContainerClient("analytics")
}

// door is the way to the storage: it can be closed, and it can let somebody else in first.
type door struct {
	r    *rig
	next http.RoundTripper
}

func (d door) Do(q *http.Request) (*http.Response, error) {
	if d.r.offline.Load() {
		d.r.refused.Add(1)
		return nil, errors.New("the storage is away")
	}
	if first := d.r.stolen.Load(); first != nil && q.Method == http.MethodPut && d.r.stolen.CompareAndSwap(first, nil) {
		(*first)(strings.TrimPrefix(q.URL.Path, "/test/analytics/"))
	}
	return d.next.RoundTrip(q)
}

// say writes a status of image n to a partition, stamped at.
func (r *rig) say(partition int32, n int, at time.Time, change func(*events.ImageStatus)) {
	r.t.Helper()
	s := events.ImageStatus{ImageID: fmt.Sprintf("img_%d", n), Tenant: "demo", Status: events.StatusAccepted, At: at, Attempt: 1,
		Receipt: "incoming/x", ExpiresAt: events.ExpiresAt(at), TenantClass: "standard", Origin: events.OriginAPI}
	if change != nil {
		change(&s)
	}
	b, err := r.codec.EncodeImageStatus(s)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(partition, b, at)
}

func (r *rig) write(partition int32, value []byte, at time.Time) {
	r.t.Helper()
	rec := &kgo.Record{Topic: events.TopicImageStatus, Partition: partition, Key: []byte("k"), Value: value, Timestamp: at}
	if err := r.client.ProduceSync(r.t.Context(), rec).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// run starts the role; stop ends it and waits.
func (r *rig) run(change func(*Config)) (stop func()) {
	r.t.Helper()
	c := Config{Kafka: append(slices.Clone(r.kafka), kgo.HeartbeatInterval(100*time.Millisecond)), Codec: r.codec, Analytics: r.container, Clock: r.clock, Quiet: time.Hour * 24, Poll: 10 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	w, err := New(c)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	var once atomic.Bool
	stop = func() {
		cancel()
		if once.CompareAndSwap(false, true) {
			if err := <-done; err != nil {
				r.t.Error(err)
			}
		}
	}
	r.t.Cleanup(stop)
	return stop
}

// committed is the group's offset, -1 if there is none.
func (r *rig) committed(partition int32) int64 {
	r.t.Helper()
	offsets, err := kadm.NewClient(r.client).FetchOffsets(r.t.Context(), events.GroupAnalytics)
	if err != nil {
		return -1
	}
	o, ok := offsets.Lookup(events.TopicImageStatus, partition)
	if !ok {
		return -1
	}
	return o.At
}

// members is how many members of a group that has settled own partitions.
func (r *rig) members() (n int) {
	r.t.Helper()
	groups, err := kadm.NewClient(r.client).DescribeGroups(r.t.Context(), events.GroupAnalytics)
	if err != nil || groups[events.GroupAnalytics].State != "Stable" {
		return 0
	}
	for _, m := range groups[events.GroupAnalytics].Members {
		if a, ok := m.Assigned.AsConsumer(); ok && len(a.Topics) > 0 {
			n++
		}
	}
	return n
}

// setCommit puts the group's offset back, as a crash between file and commit leaves it.
func (r *rig) setCommit(partition int32, at int64) {
	r.t.Helper()
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: events.TopicImageStatus, Partition: partition, At: at, LeaderEpoch: -1})
	eventually(r.t, "the group is empty and takes an offset", func() bool {
		_, err := kadm.NewClient(r.client).CommitOffsets(r.t.Context(), events.GroupAnalytics, o)
		return err == nil && r.committed(partition) == at
	})
}

// files are the names and contents in the container.
func (r *rig) files() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	for pages := r.container.NewListBlobsFlatPager(nil); pages.More(); {
		page, err := pages.NextPage(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		for _, i := range page.Segment.BlobItems {
			d, err := r.container.NewBlobClient(*i.Name).DownloadStream(r.t.Context(), nil)
			if err != nil {
				r.t.Fatal(err)
			}
			b, err := io.ReadAll(d.Body)
			if err != nil {
				r.t.Fatal(err)
			}
			d.Body.Close()
			out[*i.Name] = string(b)
		}
	}
	return out
}

func (r *rig) names() []string {
	var names []string
	for n := range r.files() {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (r *rig) images(name string) []string {
	r.t.Helper()
	rows, err := decode([]byte(r.files()[name]))
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, row := range rows {
		ids = append(ids, row.ImageID)
	}
	return ids
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
