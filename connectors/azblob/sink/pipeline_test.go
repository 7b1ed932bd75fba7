package sink

import (
	"crypto/sha256"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
	parts "github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/processors/images"
	"github.com/millrun/millrun/processors/worker"
)

// photographs are pictures of Go's own tests and of golang.org/x/image that are whole, and some that are not.
func photographs(t *testing.T) (whole, broken [][]byte) {
	t.Helper()
	var dirs []string
	for _, c := range [][]string{{"list", "-m", "-f", "{{.Dir}}/testdata", "golang.org/x/image"}, {"env", "GOROOT"}} {
		out, err := exec.Command("go", c...).Output()
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	dirs[1] = filepath.Join(dirs[1], "src", "image", "png", "testdata")
	seen := map[[32]byte]bool{}
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, "*.*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := images.Sniff(b); !ok || seen[sha256.Sum256(b)] {
				continue
			}
			seen[sha256.Sum256(b)] = true
			switch filepath.Base(name) {
			case "invalid-crc32.png", "invalid-noend.png", "invalid-trunc.png", "invalid-zlib.png":
				broken = append(broken, b)
			default:
				whole = append(whole, b)
			}
		}
	}
	if len(whole) < 60 || len(broken) != 4 {
		t.Fatalf("%d whole and %d broken pictures found", len(whole), len(broken))
	}
	return whole, broken
}

// receive puts bytes into staging and says so, as the API does.
func (r *rig) receive(b []byte) events.RawImage {
	r.t.Helper()
	sha, now := sha256.Sum256(b), r.clock.Now()
	raw := events.RawImage{
		ImageID: events.ImageID("demo", sha), Tenant: "demo", Origin: events.OriginAPI, ReceivedAt: now, ExpiresAt: events.ExpiresAt(now),
		ContentType: "image/jpeg", Bytes: int64(len(b)), SHA256: sha, Trace: events.NewTrace(),
	}
	if f, ok := images.Sniff(b); ok {
		raw.ContentType = f.ContentType()
	}
	raw.Blob = r.stage(b)
	value, err := r.codec.EncodeRawImage(raw)
	if err != nil {
		r.t.Fatal(err)
	}
	r.produce(events.TopicRawImages, raw.ImageID, value)
	return raw
}

func (r *rig) runWorker() (stop func()) {
	r.t.Helper()
	w, err := worker.New(worker.Config{Kafka: r.kafka, Codec: r.codec, Staging: r.staging, Clock: r.clock, Stamp: r.stamp, Threads: 2,
		CommitInterval: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.start(w)
}

// ends are the final statuses of each image.
func (r *rig) ends() map[string]events.ImageStatus {
	r.t.Helper()
	out := map[string]events.ImageStatus{}
	for _, rec := range r.records(events.TopicImageStatus) {
		s, err := r.codec.DecodeImageStatus(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if s.Status.Final() {
			out[s.ImageID] = s
		}
	}
	return out
}

// Real photographs through worker and sink, each twice, with both stopped in the middle and made to read everything
// again: each is in the archive once, byte for byte.
func TestPhotographsReachTheArchiveOnceWhateverIsRepeated(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	whole, broken := photographs(t)
	originals := map[string][]byte{}
	for _, b := range slices.Concat(whole, broken, whole) {
		originals[r.receive(b).ImageID] = b
	}
	stopWorker, stopSink := r.runWorker(), r.run()
	eventually(t, "a third is archived", func() bool { return len(r.ends()) > len(whole)/3 })
	stopWorker()
	stopSink()
	r.forget(events.AppWorker)
	r.forget(events.AppArchive)
	r.runWorker()
	r.run()
	eventually(t, "all have ended", func() bool { return len(r.ends()) == len(whole)+len(broken) })
	archived := 0
	for id, s := range r.ends() {
		if s.Status != events.StatusArchived {
			if s.Status != events.StatusRejected || !slices.ContainsFunc(broken, func(b []byte) bool { return string(b) == string(originals[id]) }) {
				t.Errorf("%s is %s: %s", id, s.Status, s.Error)
			}
			continue
		}
		archived++
		if got := r.content(s.Archive[0]); got != string(originals[id]) {
			t.Errorf("%s has %d bytes in the archive, %d were received", id, len(got), len(originals[id]))
		}
	}
	if archived != len(whole) {
		t.Errorf("%d of %d whole pictures are archived", archived, len(whole))
	}
	versions := map[string]int{}
	for _, e := range r.archived() {
		versions[e.Name]++
	}
	if len(versions) != 3*len(whole) {
		t.Errorf("%d blobs in the archive for %d pictures", len(versions), len(whole))
	}
	for name, n := range versions {
		if n != 1 {
			t.Errorf("%s has %d versions", name, n)
		}
	}
	for _, topic := range []string{events.TopicRawImages, events.TopicProcessedImages} {
		if n := len(r.records(events.DLQ(topic))); n != 0 {
			t.Errorf("%d dead letters of %s", n, topic)
		}
	}
	eventually(t, "staging is empty", func() bool { return r.stagingCount() == 0 })
}

// The same on Apache Kafka: what the embedded one lets pass, such as a topic's configuration, it checks.
func TestPhotographsOnApacheKafka(t *testing.T) {
	t.Parallel()
	brokers := parts.KafkaServer(t)
	admin, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	kafka := kadm.NewClient(admin)
	if _, err := kafka.CreateTopics(t.Context(), 2, 1, nil, topics...); err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, brokers, clock.NewManual(noon), clock.System{}) // nobody moves a broker's clock
	whole, broken := photographs(t)
	whole = whole[:12]
	for _, b := range slices.Concat(whole, broken, whole) {
		r.receive(b)
	}
	r.runWorker()
	r.run()
	eventually(t, "all have ended", func() bool { return len(r.ends()) == len(whole)+len(broken) })
	counts := map[events.Status]int{}
	for _, s := range r.ends() {
		counts[s.Status]++
	}
	if counts[events.StatusArchived] != len(whole) || counts[events.StatusRejected] != len(broken) || len(r.archived()) != 3*len(whole) {
		t.Errorf("ends %v, %d blobs in the archive", counts, len(r.archived()))
	}
	checkChangelog(t, kafka)
	r.clock.Advance(events.Retention + time.Second)
	eventually(t, "each life has its tombstone", func() bool {
		alive := map[string]bool{}
		for _, rec := range r.records(events.TopicImagesChangelog) {
			alive[string(rec.Key)] = rec.Value != nil
		}
		return len(alive) == len(whole)+len(broken)+1 && !slices.Contains(slices.Collect(maps.Values(alive)), true) // 1: the marker
	})
}

// checkChangelog makes sure that what a tombstone deletes is gone from the broker within hours.
func checkChangelog(t *testing.T, kafka *kadm.Client) {
	t.Helper()
	configs, err := kafka.DescribeTopicConfigs(t.Context(), events.TopicImagesChangelog)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		want := map[string]string{"cleanup.policy": "compact", "max.compaction.lag.ms": "3600000", "delete.retention.ms": "3600000", "segment.ms": "3600000"}[c.Key]
		if want != "" && c.MaybeValue() != want {
			t.Errorf("%s of the changelog is %s, want %s", c.Key, c.MaybeValue(), want)
		}
	}
}
