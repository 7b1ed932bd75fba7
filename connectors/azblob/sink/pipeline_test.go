package sink

import (
	"crypto/sha256"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/internal/events"
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
	w, err := worker.New(worker.Config{Kafka: r.kafka, Codec: r.codec, Staging: r.staging, Clock: r.clock, Stamp: r.clock, Threads: 2,
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
