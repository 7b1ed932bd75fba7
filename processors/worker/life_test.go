package worker

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image"
	"image/png"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// failer is what testing.T and rapid.T share here.
type failer interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// world is the topology on the library's test driver, a staging in memory, and an archive that answers when it is told to.
type world struct {
	t        failer
	driver   *streamtest.Driver
	receipts *streamtest.TestInput[string, []byte]
	statuses *streamtest.TestInput[string, []byte]
	out      *streamtest.TestOutput[string, []byte]
	handed   *streamtest.TestOutput[string, []byte]
	letters  *streamtest.TestOutput[string, []byte]
	clock    *clock.Manual
	staging  *shelf
	codec    *events.Codec
	pictures [][]byte // the last one is broken

	sent  []events.RawImage
	done  []events.ProcessedImage
	taken map[string]bool // staging blobs that somebody but the worker has deleted
	n     int
}

func newWorld(t *testing.T, rt failer) *world {
	t.Helper()
	w := &world{t: rt, clock: clock.NewManual(noon), taken: map[string]bool{},
		staging: &shelf{blobs: map[string][]byte{}, until: map[string]time.Time{}}}
	var err error
	if w.codec, err = events.NewCodec(""); err != nil {
		rt.Fatal(err)
	}
	p, err := newPipeline(Config{Codec: w.codec, Staging: w.staging, Clock: w.clock, Log: slog.New(slog.DiscardHandler)}.withDefaults())
	if err != nil {
		rt.Fatal(err)
	}
	w.driver = streamtest.New(t, p.build(), streamtest.StartAt(noon), streamtest.WithConfig(stream.Config{CommitInterval: time.Hour, Log: slog.New(slog.DiscardHandler)}))
	w.receipts, w.statuses = w.driver.Input(rawImages), w.driver.Input(imageStatus)
	w.out, w.handed, w.letters = w.driver.Output(imageStatus), w.driver.Output(processedImages), w.driver.Output(deadLetters)
	for side := range 2 {
		var b bytes.Buffer
		if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, side+1, 1))); err != nil {
			rt.Fatal(err)
		}
		w.pictures = append(w.pictures, b.Bytes())
	}
	w.pictures = append(w.pictures, w.pictures[0][:40])
	return w
}

func (w *world) send(raw events.RawImage) {
	b, err := w.codec.EncodeRawImage(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	w.receipts.Pipe(raw.ImageID, b)
}

// receive is a new receipt of one of the pictures.
func (w *world) receive(which int) {
	w.pass(time.Millisecond)
	b, now := w.pictures[which], w.clock.Now()
	sha := sha256.Sum256(b)
	w.n++
	raw := events.RawImage{
		ImageID: events.ImageID("demo", sha), Tenant: "demo", Origin: events.OriginAPI, ReceivedAt: now, ExpiresAt: events.ExpiresAt(now),
		ContentType: "image/png", Bytes: int64(len(b)), SHA256: sha, Blob: events.Blob{Container: "staging", Name: fmt.Sprintf("receipt-%d", w.n)},
	}
	w.staging.blobs[raw.Blob.Name] = b
	w.sent = append(w.sent, raw)
	w.send(raw)
}

// repeatable are the receipts that may come once more, by a redrive or a producer that tries twice: not those whose bytes
// the worker has deleted, which were duplicates or rejected and have no dead letter.
func (w *world) repeatable() (out []events.RawImage) {
	for _, raw := range w.sent {
		if w.taken[raw.Blob.Name] || w.staging.has(raw.Blob.Name) {
			out = append(out, raw)
		}
	}
	return out
}

func (w *world) pass(d time.Duration) {
	w.clock.Advance(d)
	w.driver.Advance(d)
}

// answer is the archive's word on a processed image; archived ones leave staging, as the sink does it.
func (w *world) answer(p events.ProcessedImage, s events.Status) {
	at := w.clock.Now()
	if !at.After(p.StartedAt) {
		at = p.StartedAt.Add(time.Millisecond)
	}
	e := events.ImageStatus{ImageID: p.ImageID, Tenant: p.Tenant, Status: s, At: at, Attempt: p.Attempt, Receipt: p.Blob.Name, ExpiresAt: p.ExpiresAt}
	if s == events.StatusFailed {
		code := events.CodeConflict
		e.ErrorCode = &code
	} else {
		w.take(p.Blob.Name)
	}
	b, err := w.codec.EncodeImageStatus(e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.statuses.Pipe(p.ImageID, b)
}

func (w *world) take(blob string) {
	w.taken[blob] = true
	delete(w.staging.blobs, blob)
}

// collect reads what was said and hands statuses back, as Kafka does.
func (w *world) collect() {
	for range 10 {
		back := w.out.ReadAll()
		for _, r := range w.handed.ReadAll() {
			p, err := w.codec.DecodeProcessedImage(r.Value)
			if err != nil {
				w.t.Fatal(err)
			}
			w.done = append(w.done, p)
		}
		if len(back) == 0 {
			return
		}
	}
	w.t.Fatal("statuses beget statuses without end")
}

// holds are the rules that must be true at any time.
func (w *world) holds() {
	now := w.clock.Now()
	store := w.driver.Store(lives)
	alive := map[string]events.Image{}
	rows := store.All()
	for id, img := range rows.All() {
		alive[id] = img
		if !now.Before(img.ExpiresAt) {
			w.t.Fatalf("%s has expired and is known still", id)
		}
		for i := 1; i < len(img.History); i++ {
			if !img.History[i].At.After(img.History[i-1].At) {
				w.t.Fatalf("the history goes back: %v", img.History)
			}
		}
		if last := img.History[len(img.History)-1].Status; last != img.Status {
			w.t.Fatalf("status %s, the history ends with %s", img.Status, last)
		}
		if !img.Status.Final() && !now.Before(img.ReceivedAt.Add(events.SettleLimit)) {
			w.t.Fatalf("not settled for %s", now.Sub(img.ReceivedAt))
		}
		_, there := w.staging.blobs[img.First.Blob]
		if needed := img.Status != events.StatusRejected && img.Status != events.StatusArchived; needed && !there && !w.taken[img.First.Blob] {
			w.t.Fatalf("the bytes of a %s image are gone", img.Status)
		}
		if img.Status == events.StatusRejected && there {
			w.t.Fatal("the bytes of a rejected image are there still")
		}
	}
	if rows.Err() != nil {
		w.t.Fatal(rows.Err())
	}
	for _, raw := range w.sent {
		img, known := alive[raw.ImageID]
		if _, there := w.staging.blobs[raw.Blob.Name]; there && known && img.Status == events.StatusArchived && img.First.Blob != raw.Blob.Name && raw.ReceivedAt.After(img.ReceivedAt) {
			w.t.Fatal("a duplicate's bytes are there still")
		}
	}
}

// Whatever happens in whatever order, with crashes in between: one life at a time, nothing needed is deleted, nothing
// expired is known, and the history makes sense.
func TestLifeHoldsItsRulesWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt)
		rt.Repeat(map[string]func(*rapid.T){
			"receive": func(rt *rapid.T) { w.receive(rapid.IntRange(0, len(w.pictures)-1).Draw(rt, "picture")) },
			"send again": func(rt *rapid.T) {
				if again := w.repeatable(); len(again) > 0 {
					w.send(rapid.SampledFrom(again).Draw(rt, "receipt"))
				}
			},
			"archive answers": func(rt *rapid.T) {
				if len(w.done) > 0 {
					p := rapid.SampledFrom(w.done).Draw(rt, "image")
					w.answer(p, rapid.SampledFrom([]events.Status{events.StatusArchived, events.StatusArchived, events.StatusFailed}).Draw(rt, "status"))
				}
			},
			"staging loses": func(rt *rapid.T) {
				if len(w.sent) > 0 {
					w.take(rapid.SampledFrom(w.sent).Draw(rt, "receipt").Blob.Name)
				}
			},
			"time passes": func(rt *rapid.T) {
				w.pass(time.Duration(rapid.IntRange(1, 100).Draw(rt, "hours")) * time.Hour)
			},
			"commit": func(*rapid.T) { w.driver.Commit() },
			"crash":  func(*rapid.T) { w.driver.Crash() },
			"":       func(*rapid.T) { w.collect(); w.holds() },
		})
	})
}

// A duplicate's bytes are deleted. Read again after a crash, when the image has failed in between, it must not begin a
// life without bytes, which would also make the first receipt's dead letter worthless.
func TestDuplicateThatIsReadAgainBeginsNoLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t)
	w.receive(0)
	w.receive(0)
	w.collect()
	w.answer(w.done[0], events.StatusFailed)
	w.driver.Crash()
	w.collect()
	w.holds()
	img, ok, err := w.driver.Store(lives).Get(w.sent[0].ImageID)
	if err != nil || !ok || img.First.Blob != "receipt-1" || img.Status != events.StatusFailed || img.ErrorCode != events.CodeConflict {
		t.Errorf("the image is %+v (%v)", img, err)
	}
	w.send(w.sent[0]) // the redrive
	w.collect()
	if last := w.done[len(w.done)-1]; last.Attempt != 2 || last.Blob.Name != "receipt-1" {
		t.Errorf("the redrive gave %+v", last)
	}
}

// The dead letter of an earlier life must not take the place of what was received since.
func TestOldDeadLetterIsRefusedOnceTheSameBytesHaveBegunAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t)
	w.receive(0)
	w.collect()
	w.answer(w.done[0], events.StatusFailed)
	w.receive(0)
	w.collect()
	w.answer(w.done[1], events.StatusFailed)
	w.send(w.sent[0])
	w.collect()
	img, ok, err := w.driver.Store(lives).Get(w.sent[0].ImageID)
	if err != nil || !ok || img.First.Blob != "receipt-2" || len(w.done) != 2 {
		t.Errorf("the image is %+v (%v)", img, err)
	}
}

// The topology is a promise to operators: its changelog's name is what the API reads.
func TestTopologyIsOneTaskOverOneStore(t *testing.T) {
	t.Parallel()
	d, err := Topology(Config{})
	if err != nil {
		t.Fatal(err)
	}
	built, err := d.(*stream.Builder).Build(stream.Config{ApplicationID: events.AppWorker, Brokers: []string{"localhost:1"}})
	if err != nil {
		t.Fatal(err)
	}
	text := built.Describe()
	if strings.Count(text, "Sub-topology:") != 1 {
		t.Errorf("receipts and statuses do not meet in one task:\n%s", text)
	}
	var sinks []string
	for _, n := range built.Graph().Nodes {
		if n.Kind == "Sink" {
			sinks = append(sinks, n.Topics...)
		}
	}
	slices.Sort(sinks)
	if want := []string{"image-status", "processed-images", "raw-images.dlq"}; !slices.Equal(sinks, want) {
		t.Errorf("it writes %v, want %v", sinks, want)
	}
}
