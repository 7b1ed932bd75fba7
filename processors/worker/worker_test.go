package worker

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/host"
)

func TestPhotographIsProcessedWithItsDerivatives(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.steps = []host.Step{testStep(t, "facts", "answer")}
	raw := r.receive(photograph(t, 1))
	r.run()
	eventually(t, "it is processed", func() bool { return len(r.processed(raw.ImageID)) == 1 })
	p := r.processed(raw.ImageID)[0]
	if p.Format != "jpeg" || p.Width != 640 || p.Height != 480 || p.Frames != 1 || p.TenantClass != "gold" || p.Attempt != 1 || p.Blob != raw.Blob {
		t.Errorf("processed %+v", p)
	}
	if len(p.Derivatives) != 2 || len(p.Steps) != 2 {
		t.Fatalf("derivatives %+v, steps %+v", p.Derivatives, p.Steps)
	}
	thumb, facts := p.Derivatives[0], p.Derivatives[1]
	cfg, err := jpeg.DecodeConfig(bytes.NewReader(r.blobs()[thumb.Blob.Name]))
	if err != nil || cfg.Width != 320 || cfg.Height != 240 || thumb.Width != 320 || thumb.Step != "thumbnail" {
		t.Errorf("thumbnail %+v, in staging %v (%v)", thumb, cfg, err)
	}
	if string(r.blobs()[facts.Blob.Name]) != `{"w":640}` || facts.Step != "facts" || facts.Version != "7" {
		t.Errorf("facts %+v hold %s", facts, r.blobs()[facts.Blob.Name])
	}
	if until := r.staging.until[thumb.Blob.Name]; !until.Equal(raw.ExpiresAt) {
		t.Errorf("the thumbnail may stay until %s, the image until %s", until, raw.ExpiresAt)
	}
	eventually(t, "both statuses are said", func() bool { return len(r.statuses(raw.ImageID)) == 2 })
	if got := r.statuses(raw.ImageID); !slices.Equal(got, []string{"accepted", "processing"}) {
		t.Errorf("statuses %v", got)
	}
	eventually(t, "the view shows it", func() bool { v, ok := r.view(raw.ImageID); return ok && v.Processed })
	v, _ := r.view(raw.ImageID)
	if v.Status != events.StatusProcessing || v.Width != 640 || len(v.Derivatives) != 2 || !v.ExpiresAt.Equal(raw.ExpiresAt) || v.First.Blob != raw.Blob.Name {
		t.Errorf("view %+v", v)
	}
	if h := r.records(events.TopicProcessedImages)[0].Headers; len(h) != 1 || string(h[0].Value) != "00-trace" {
		t.Errorf("the trace did not travel: %v", h)
	}
}

func TestDuplicateIsSaidOnceAndOnlyItsOwnBytesGo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := photograph(t, 1)
	first := r.receive(b)
	r.clock.Advance(time.Hour)
	second := r.receive(b)
	r.send(second) // its producer tried twice: the same receipt
	r.run()
	id := first.ImageID
	eventually(t, "the duplicates' bytes are gone", func() bool { return !r.staging.has(second.Blob.Name) && len(r.statuses(id)) >= 4 })
	want := []string{"accepted", "processing", "accepted duplicate", "accepted duplicate"}
	if got := r.statuses(id); !slices.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	if !r.staging.has(first.Blob.Name) {
		t.Error("the first receipt's bytes are gone")
	}
	eventually(t, "the first is processed, which another topic says", func() bool { return len(r.processed(id)) > 0 })
	if len(r.processed(id)) != 1 {
		t.Errorf("processed %d times", len(r.processed(id)))
	}
	eventually(t, "the view shows the first receipt", func() bool { _, ok := r.view(id); return ok })
	if v, _ := r.view(id); !v.ExpiresAt.Equal(first.ExpiresAt) || v.First.Blob != first.Blob.Name {
		t.Errorf("a duplicate changed the view to %+v", v)
	}
	s, err := r.codec.DecodeImageStatus(r.records(events.TopicImageStatus)[2].Value)
	if err != nil || !s.ExpiresAt.Equal(second.ExpiresAt) || s.Receipt != second.Blob.Name {
		t.Errorf("the duplicate's status has not its own expiry: %+v, %v", s, err)
	}
}

func TestImageAtFaultIsRejectedAndTheSameBytesBeginAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	whole := photograph(t, 1)
	for name, c := range map[string]struct {
		bytes []byte
		want  string
	}{
		"truncated": {whole[:len(whole)/2], "rejected truncated"},
		"text":      {[]byte("hello, I am photo.jpg"), "rejected unsupported_format"},
	} {
		first := r.receive(c.bytes)
		stop := r.run()
		eventually(t, name+" is rejected and its bytes are gone", func() bool {
			return slices.Contains(r.statuses(first.ImageID), c.want) && !r.staging.has(first.Blob.Name)
		})
		eventually(t, name+" is rejected in the view, which another topic holds", func() bool {
			v, _ := r.view(first.ImageID)
			return v.Status == events.StatusRejected && "rejected "+v.ErrorCode == c.want && v.Error != ""
		})
		r.clock.Advance(time.Second)
		second := r.receive(c.bytes)
		eventually(t, name+" begins anew", func() bool { return len(r.statuses(first.ImageID)) == 6 && !r.staging.has(second.Blob.Name) })
		want := []string{"accepted", "processing", c.want, "accepted", "processing", c.want}
		if got := r.statuses(first.ImageID); !slices.Equal(got, want) {
			t.Errorf("%s: statuses %v, want %v", name, got, want)
		}
		stop()
	}
	if n := len(r.records(events.TopicProcessedImages)) + len(r.records(events.DLQ(events.TopicRawImages))); n != 0 {
		t.Errorf("%d records went on", n)
	}
}

func TestOurFaultIsADeadLetterWithItsBytesIntactAndARedriveMendsIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := photograph(t, 1)
	raw := r.receipt(b)
	r.send(raw) // nothing in staging
	r.run()
	eventually(t, "the dead letter is written", func() bool { return len(r.records(events.DLQ(events.TopicRawImages))) == 1 })
	letter, source := r.records(events.DLQ(events.TopicRawImages))[0], r.records(events.TopicRawImages)[0]
	if !bytes.Equal(letter.Value, source.Value) || !bytes.Equal(letter.Key, source.Key) {
		t.Error("the dead letter has other bytes")
	}
	i, ok := dlq.Parse(letter.Headers)
	if !ok || i.Topic != events.TopicRawImages || i.Partition != source.Partition || i.Offset != source.Offset || i.Stage != events.CodeStagingMissing || i.Attempts != 1 || i.Message == "" {
		t.Errorf("headers %+v", i)
	}
	eventually(t, "it has failed", func() bool { return slices.Contains(r.statuses(raw.ImageID), "failed staging_missing") })
	r.staging.set(func() { r.staging.blobs[raw.Blob.Name] = b })
	r.produce(events.TopicRawImages, raw.ImageID, letter.Value)
	eventually(t, "the redrive is processed", func() bool { return len(r.processed(raw.ImageID)) == 1 })
	if p := r.processed(raw.ImageID)[0]; p.Attempt != 2 || p.Source != fmt.Sprintf("raw-images/%d/%d", source.Partition, source.Offset) {
		t.Errorf("attempt %d of %s", p.Attempt, p.Source)
	}
	eventually(t, "the view is mended", func() bool {
		v, _ := r.view(raw.ImageID)
		return v.Status == events.StatusProcessing && v.ErrorCode == ""
	})
}

func TestStagingWithOtherBytesIsOurFault(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, b := r.receive(photograph(t, 1)), r.receive(photograph(t, 2))
	r.staging.set(func() {
		r.staging.blobs[a.Blob.Name] = append(r.staging.blobs[a.Blob.Name], 0)
		other := bytes.Clone(r.staging.blobs[b.Blob.Name])
		other[len(other)/2] ^= 1
		r.staging.blobs[b.Blob.Name] = other
	})
	r.run()
	eventually(t, "both have failed", func() bool {
		return slices.Contains(r.statuses(a.ImageID), "failed size_mismatch") && slices.Contains(r.statuses(b.ImageID), "failed sha256_mismatch")
	})
	if !r.staging.has(a.Blob.Name) || !r.staging.has(b.Blob.Name) {
		t.Error("a failed image's bytes are gone")
	}
}

func TestRecordThatCannotBeReadBecomesADeadLetterAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.produce(events.TopicRawImages, "k", []byte("no receipt"))
	raw := r.receipt(photograph(t, 1))
	value, err := r.codec.EncodeRawImage(raw)
	if err != nil {
		t.Fatal(err)
	}
	r.produce(events.TopicRawImages, "another-key", value)
	r.produce(events.TopicImageStatus, "k", []byte("no status"))
	good := r.receive(photograph(t, 2))
	r.run()
	eventually(t, "the good one is processed and the others are kept", func() bool {
		return len(r.processed(good.ImageID)) == 1 && len(r.records(events.DLQ(events.TopicRawImages))) == 2
	})
	for _, l := range r.records(events.DLQ(events.TopicRawImages)) {
		if i, ok := dlq.Parse(l.Headers); !ok || i.Stage != "decode" {
			t.Errorf("headers %+v", i)
		}
	}
	if _, ok := r.view(raw.ImageID); ok {
		t.Error("an image lives in a partition that is not its own")
	}
}

func TestStepThatFailsIsADeadLetterWhileTheImageGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.steps = []host.Step{testStep(t, "dies", "die"), testStep(t, "hangs", "hang"), testStep(t, "facts", "answer")}
	raw := r.receive(photograph(t, 1))
	r.run()
	eventually(t, "it is processed", func() bool {
		return len(r.processed(raw.ImageID)) == 1 && len(r.records(events.DLQ(events.TopicRawImages))) == 2
	})
	p := r.processed(raw.ImageID)[0]
	if len(p.Derivatives) != 2 || p.Steps[1].Error == "" || p.Steps[2].Error == "" || p.Steps[3].Error != "" {
		t.Errorf("derivatives %+v, steps %+v", p.Derivatives, p.Steps)
	}
	var stages []string
	for _, l := range r.records(events.DLQ(events.TopicRawImages)) {
		i, _ := dlq.Parse(l.Headers)
		stages = append(stages, i.Stage)
	}
	if !slices.Equal(stages, []string{"dies", "hangs"}) {
		t.Errorf("stages %v", stages)
	}
	eventually(t, "the view names the step", func() bool {
		v, _ := r.view(raw.ImageID)
		return v.ErrorCode == events.CodeStepFailed && strings.Contains(v.Error, "hangs@7")
	})
}

func TestExpiredImageIsForgottenAndTheSameBytesBeginANewLife(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := photograph(t, 1)
	first := r.receive(b)
	r.run()
	eventually(t, "it is processed", func() bool { return len(r.processed(first.ImageID)) == 1 })
	r.say(events.ImageStatus{ImageID: first.ImageID, Tenant: "demo", Status: events.StatusArchived, At: noon, Attempt: 1, Receipt: first.Blob.Name, ExpiresAt: first.ExpiresAt})
	eventually(t, "it is archived", func() bool { v, _ := r.view(first.ImageID); return v.Status == events.StatusArchived })
	r.clock.Advance(first.ExpiresAt.Sub(noon) - time.Second)
	r.clock.Advance(time.Second)
	eventually(t, "a tombstone is written", func() bool { _, ok := r.view(first.ImageID); return !ok })
	second := r.receive(b)
	eventually(t, "the new life is processed", func() bool { return len(r.processed(first.ImageID)) == 2 })
	if p := r.processed(first.ImageID)[1]; p.Attempt != 1 || !p.ExpiresAt.Equal(second.ExpiresAt) || p.Blob != second.Blob {
		t.Errorf("new life %+v", p)
	}
}

func TestReceiptThatComesAfterItsExpiryIsRejectedUnseen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	raw := r.receive(photograph(t, 1))
	r.clock.Advance(events.Retention + time.Second)
	r.run()
	eventually(t, "it is rejected and its bytes are gone", func() bool {
		return slices.Equal(r.statuses(raw.ImageID), []string{"rejected expired"}) && !r.staging.has(raw.Blob.Name)
	})
	if _, ok := r.view(raw.ImageID); ok || len(r.processed(raw.ImageID)) != 0 {
		t.Error("it lives")
	}
}

func TestWhatIsNotSettledInTimeHasFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	raw := r.receive(photograph(t, 1))
	r.run()
	eventually(t, "it is processed", func() bool { return len(r.processed(raw.ImageID)) == 1 })
	r.clock.Advance(events.SettleLimit + time.Second) // and no archive says anything
	eventually(t, "it has failed", func() bool { return slices.Contains(r.statuses(raw.ImageID), "failed too_late") })
	late := r.receipt(photograph(t, 2))
	late.ReceivedAt = late.ReceivedAt.Add(-events.SettleLimit)
	late.ExpiresAt = events.ExpiresAt(late.ReceivedAt)
	r.send(late)
	eventually(t, "one that comes too late has failed too", func() bool { return slices.Contains(r.statuses(late.ImageID), "failed too_late") })
	if n := len(r.records(events.DLQ(events.TopicRawImages))); n != 0 {
		t.Errorf("%d dead letters that nobody may redrive", n)
	}
}

// What a crash between processing and commit leaves: the same records again, with the state that the changelog has.
func TestReplayGivesTheSameAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	done, open := r.receive(photograph(t, 1)), r.receive(photograph(t, 2))
	bad, gone := r.receive(photograph(t, 3)[:900]), r.receipt(photograph(t, 4))
	r.send(gone)
	stop := r.run()
	eventually(t, "all are through", func() bool {
		return len(r.records(events.TopicProcessedImages)) == 2 && slices.Contains(r.statuses(gone.ImageID), "failed staging_missing") && !r.staging.has(bad.Blob.Name)
	})
	r.say(events.ImageStatus{ImageID: done.ImageID, Tenant: "demo", Status: events.StatusArchived, At: noon, Attempt: 1, Receipt: done.Blob.Name, ExpiresAt: done.ExpiresAt})
	eventually(t, "one is archived", func() bool { v, _ := r.view(done.ImageID); return v.Status == events.StatusArchived })
	before := r.processed(open.ImageID)[0]
	staged := len(r.blobs())
	stop()
	r.forget()
	r.clock.Advance(time.Minute)
	r.run()
	eventually(t, "the open one is said again", func() bool { return len(r.processed(open.ImageID)) == 2 })
	eventually(t, "the others' ends are said again", func() bool { return len(r.statuses(bad.ImageID)) >= 4 && len(r.statuses(gone.ImageID)) >= 4 })
	after := r.processed(open.ImageID)[1]
	if after.Derivatives[0] != before.Derivatives[0] || !after.StartedAt.Equal(before.StartedAt) || after.Source != before.Source {
		t.Errorf("the replay says %+v, before it was %+v", after, before)
	}
	if len(r.processed(done.ImageID)) != 1 || len(r.blobs()) != staged {
		t.Errorf("an archived image was processed %d times; %d blobs in staging, before %d", len(r.processed(done.ImageID)), len(r.blobs()), staged)
	}
	for id, last := range map[string]string{bad.ImageID: "rejected truncated", gone.ImageID: "failed staging_missing"} {
		if got := r.statuses(id); got[len(got)-1] != last {
			t.Errorf("statuses %v", got)
		}
		v, _ := r.view(id)
		if n := len(v.History); n != 3 {
			t.Errorf("a history of %d moments: %v", n, v.History)
		}
	}
}

// The archive was faster than our restart: staging is empty, and the status archived is still to be read.
func TestReplayOfAnImageThatTheArchiveHasAlreadyIsNoFailure(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	raw := r.receive(photograph(t, 1))
	stop := r.run()
	eventually(t, "it is processed", func() bool { v, _ := r.view(raw.ImageID); return v.Processed && len(r.processed(raw.ImageID)) == 1 })
	stop()
	r.forget()
	r.staging.set(func() { clear(r.staging.blobs) })
	r.run()
	eventually(t, "it was looked for", func() bool { return len(r.statuses(raw.ImageID)) == 4 })
	r.say(events.ImageStatus{ImageID: raw.ImageID, Tenant: "demo", Status: events.StatusArchived, At: noon.Add(time.Second), Attempt: 1, Receipt: raw.Blob.Name,
		ExpiresAt: raw.ExpiresAt, Archive: []events.ArchivedBlob{{Name: "raw/x", VersionID: "v1", Bytes: 1}}})
	eventually(t, "it is archived", func() bool { v, _ := r.view(raw.ImageID); return v.Status == events.StatusArchived })
	v, _ := r.view(raw.ImageID)
	if len(v.Archive) != 1 || v.ErrorCode != "" || len(r.records(events.DLQ(events.TopicRawImages))) != 0 {
		t.Errorf("view %+v", v)
	}
}

func TestStatusOfAnotherReceiptOrAttemptChangesNothing(t *testing.T) {
	t.Parallel()
	img := events.Image{ImageID: "img_a", Attempt: 2, Status: events.StatusProcessing, First: events.Receipt{Blob: "b"}}
	img.Reach(events.StatusProcessing, noon)
	for name, e := range map[string]events.ImageStatus{
		"an earlier attempt":  {Status: events.StatusFailed, Attempt: 1},
		"not final":           {Status: events.StatusAccepted, Attempt: 2},
		"what it says itself": {Status: events.StatusProcessing, Attempt: 2},
	} {
		before := img
		if apply(&img, e) || img.Status != before.Status {
			t.Errorf("%s was applied", name)
		}
	}
	if !apply(&img, events.ImageStatus{Status: events.StatusArchived, At: noon, Attempt: 2}) {
		t.Error("archived was not applied")
	}
	if apply(&img, events.ImageStatus{Status: events.StatusFailed, At: noon, Attempt: 2}) {
		t.Error("an archived image has failed")
	}
}

func TestStorageThatIsAwayIsWaitedForAndDoesNotHoldTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	raw := r.receive(photograph(t, 1))
	r.staging.set(func() { r.staging.away = true })
	stop := r.run()
	asked := func() (n int) { r.staging.set(func() { n = r.staging.asked }); return n }
	eventually(t, "it tries again", func() bool { return asked() > 2 })
	stop() // returns, and without an error
	if got := r.statuses(raw.ImageID); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "failed") }) {
		t.Errorf("statuses %v", got)
	}
	r.staging.set(func() { r.staging.away = false })
	r.run()
	eventually(t, "it is processed after all", func() bool { return len(r.processed(raw.ImageID)) == 1 })
}

func TestMarkersAreAppendedToEachPartitionByTheClock(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run()
	markers := func() map[int32]int {
		n := map[int32]int{}
		for _, rec := range r.records(events.TopicImagesChangelog) {
			if string(rec.Key) == events.MarkerKey && rec.Value == nil {
				n[rec.Partition]++
			}
		}
		return n
	}
	eventually(t, "the first markers", func() bool { m := markers(); return m[0] == 1 && m[1] == 1 })
	r.clock.Advance(31 * time.Minute)
	eventually(t, "the second markers", func() bool { m := markers(); return m[0] == 2 && m[1] == 2 })
}

func TestConfigurationNamesAllThatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Steps: []host.Step{{Name: "a"}, {Name: "a"}, {Name: "thumbnail"}}})
	for _, what := range []string{"Kafka", "Codec", "Staging", `"a"`, `"thumbnail"`} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v does not name %s", err, what)
		}
	}
	if _, err := New(Config{Kafka: []kgo.Opt{}}); err == nil {
		t.Error("no brokers accepted")
	}
}
