package sink

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
)

func TestImageGoesIntoTheArchiveLockedAndOutOfStaging(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.processed("original", "small")
	r.send(p)
	r.run()
	eventually(t, "it is archived and staging is empty", func() bool {
		return len(r.said(p.ImageID)) == 1 && !r.staged(p.Blob) && !r.staged(p.Derivatives[0].Blob)
	})
	s := r.said(p.ImageID)[0]
	checkArchivedStatus(t, s, p)
	want := []string{
		"derived/2026/11/23/12/" + p.ImageID + "/thumbnail@1/thumbnail.jpg",
		"metadata/2026/11/23/12/" + p.ImageID + ".1.json",
		"raw/2026/11/23/12/" + p.ImageID + ".jpg",
	}
	if got := r.names(); !slices.Equal(got, want) {
		t.Errorf("names %v", got)
	}
	for _, e := range r.archived() {
		if !e.Locked || !e.Until.Equal(p.ExpiresAt) || e.Meta("image_id") != p.ImageID || e.Meta("source") != p.Source ||
			e.Meta("origin") != "feed" || e.Meta("tenant") != "demo" || e.Meta("sha256") == "" || !e.ExpiresAt().Equal(p.ExpiresAt) {
			t.Errorf("%s: locked %t until %s", e.Name, e.Locked, e.Until)
		}
	}
	if r.content(s.Archive[0]) != "original" || r.content(s.Archive[1]) != "small" || s.Archive[0].VersionID == "" {
		t.Errorf("archive %+v", s.Archive)
	}
	var m metadata
	if err := json.Unmarshal([]byte(r.content(s.Archive[2])), &m); err != nil {
		t.Fatal(err)
	}
	if m.ImageID != p.ImageID || m.Blob != want[2] || len(m.Derivatives) != 1 || m.Derivatives[0].Blob != want[0] || m.Derivatives[0].Bytes != 5 || m.Width != 4 {
		t.Errorf("metadata %+v", m)
	}
}

func checkArchivedStatus(t *testing.T, s events.ImageStatus, p events.ProcessedImage) {
	t.Helper()
	if s.ProcessingMS == nil || *s.ProcessingMS <= 0 || len(s.Archive) != 3 {
		t.Fatalf("status %+v", s)
	}
	want := events.ImageStatus{
		ImageID: p.ImageID, Tenant: "demo", Status: events.StatusArchived, At: s.At, Attempt: 1, Receipt: p.Blob.Name, ExpiresAt: p.ExpiresAt,
		TenantClass: "gold", Origin: events.OriginFeed, Format: "jpeg", Bytes: &p.Bytes, Width: &p.Width, Height: &p.Height,
		ProcessingMS: s.ProcessingMS, Archive: s.Archive,
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("status\n %+v, want\n %+v", s, want)
	}
}

// A crash after the archive and before the commit, with and without what staging held.
func TestReplayChangesNothingAndSaysTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, q := r.processed("original", "small"), r.processed("second", "tiny")
	r.send(p)
	r.send(q)
	stop := r.run()
	eventually(t, "both are archived", func() bool {
		return len(r.said(p.ImageID)) == 1 && len(r.said(q.ImageID)) == 1 && !r.staged(p.Blob) && !r.staged(q.Blob)
	})
	stop()
	r.forget(events.AppArchive)
	before := r.archived()
	again, err := r.codec.DecodeProcessedImage(r.records(events.TopicProcessedImages)[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	restaged := map[string]string{p.ImageID: "original", q.ImageID: "second"}[again.ImageID]
	if err := r.staging.Put(t.Context(), again.Blob.Name, "image/jpeg", strings.NewReader(restaged), -1); err != nil {
		t.Fatal(err) // one of the two still has its original in staging
	}
	r.clock.Advance(time.Hour)
	r.run()
	eventually(t, "both are said again", func() bool {
		return len(r.said(p.ImageID)) == 2 && len(r.said(q.ImageID)) == 2 && !r.staged(again.Blob)
	})
	for _, id := range []string{p.ImageID, q.ImageID} {
		if s := r.said(id); s[1].Status != events.StatusArchived || !slices.Equal(s[0].Archive, s[1].Archive) {
			t.Errorf("said first %+v, then %+v", s[0], s[1])
		}
	}
	after := r.archived()
	if len(before) != 6 || len(after) != 6 {
		t.Fatalf("%d entries became %d", len(before), len(after))
	}
	for i := range before {
		if before[i].VersionID != after[i].VersionID || before[i].Meta("archived_at") != after[i].Meta("archived_at") {
			t.Errorf("%s was written again", before[i].Name)
		}
	}
}

func TestImageThatHasExpiredIsRejectedAndNothingIsArchived(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.processed("original", "small")
	p.ExpiresAt = noon.Add(time.Hour)
	r.send(p)
	r.clock.Advance(time.Hour)
	r.run()
	eventually(t, "it is rejected and its bytes are gone", func() bool {
		return len(r.said(p.ImageID)) == 1 && !r.staged(p.Blob) && !r.staged(p.Derivatives[0].Blob)
	})
	if s := r.said(p.ImageID)[0]; s.Status != events.StatusRejected || *s.ErrorCode != events.CodeExpired {
		t.Errorf("status %+v", s)
	}
	if n := r.names(); len(n) != 0 {
		t.Errorf("archived %v", n)
	}
}

func TestOtherBytesUnderTheRawNameAreADeadLetter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.processed("original", "small")
	o := object(p, events.RawName(p.ReceivedAt, p.ImageID, p.ContentType), p.ContentType, [32]byte{})
	o.SHA256, o.Body = "", strings.NewReader("somebody else's")
	if _, err := r.archive.Put(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	r.send(p)
	r.run()
	letters := func() int { return len(r.records(events.DLQ(events.TopicProcessedImages))) }
	eventually(t, "the dead letter is written", func() bool { return letters() == 1 && len(r.said(p.ImageID)) == 1 })
	if s := r.said(p.ImageID)[0]; s.Status != events.StatusFailed || *s.ErrorCode != events.CodeConflict {
		t.Errorf("status %+v", s)
	}
	letter, source := r.records(events.DLQ(events.TopicProcessedImages))[0], r.records(events.TopicProcessedImages)[0]
	i, ok := dlq.Parse(letter.Headers)
	if !ok || i.Stage != "archive" || i.Offset != source.Offset || !bytes.Equal(letter.Value, source.Value) || !bytes.Equal(letter.Key, source.Key) {
		t.Errorf("headers %+v", i)
	}
	if !r.staged(p.Blob) {
		t.Error("staging has lost what a redrive needs")
	}
}

func TestBytesThatAreNowhereAreADeadLetter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	lost, changed := r.processed("original", "small"), r.processed("second", "tiny")
	if err := r.staging.Delete(t.Context(), lost.Derivatives[0].Blob.Name); err != nil {
		t.Fatal(err)
	}
	if err := r.staging.Put(t.Context(), changed.Blob.Name, "image/jpeg", strings.NewReader("sEcond"), -1); err != nil {
		t.Fatal(err)
	}
	r.send(lost)
	r.send(changed)
	r.run()
	eventually(t, "both have failed", func() bool {
		return len(r.said(lost.ImageID)) == 1 && len(r.said(changed.ImageID)) == 1 && len(r.records(events.DLQ(events.TopicProcessedImages))) == 2
	})
	if got := *r.said(lost.ImageID)[0].ErrorCode + " " + *r.said(changed.ImageID)[0].ErrorCode; got != "staging_missing sha256_mismatch" {
		t.Errorf("codes %s", got)
	}
}

// The first writer of a derivative wins; the metadata tells what is really there.
func TestDerivativeThatIsThereAlreadyIsRecordedAsItIs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.processed("original", "small")
	o := object(p, events.DerivedName(p.ReceivedAt, p.ImageID, p.Derivatives[0]), "image/jpeg", [32]byte{})
	o.SHA256, o.Body = "", strings.NewReader("older")
	stored, err := r.archive.Put(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.send(p)
	r.run()
	eventually(t, "it is archived", func() bool { return len(r.said(p.ImageID)) == 1 })
	s := r.said(p.ImageID)[0]
	if s.Status != events.StatusArchived || s.Archive[1] != stored.Blob {
		t.Fatalf("status %+v", s)
	}
	var m metadata
	if err := json.Unmarshal([]byte(r.content(s.Archive[2])), &m); err != nil || m.Derivatives[0].SHA256 != stored.SHA256 {
		t.Errorf("metadata %+v (%v), stored is %s", m.Derivatives, err, stored.SHA256)
	}
}

func TestImageIsArchivedAlthoughAStepFailed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.processed("original", "small")
	p.Steps = append(p.Steps, events.StepResult{Step: "watermark", Version: "2", Error: "host: step watermark@2: died"})
	r.send(p)
	r.run()
	eventually(t, "it is archived", func() bool { return len(r.said(p.ImageID)) == 1 })
	if s := r.said(p.ImageID)[0]; s.Status != events.StatusArchived || *s.ErrorCode != events.CodeStepFailed || !strings.Contains(s.Error, "watermark") {
		t.Errorf("status %+v", s)
	}
}

func TestRecordThatCannotBeReadIsADeadLetterAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.produce(events.TopicProcessedImages, "k", []byte("nothing"))
	p := r.processed("original", "small")
	evil := p
	evil.Derivatives = []events.Derivative{{Name: "../../x", Step: "s", Version: "1", Blob: events.Blob{Name: "b"}}}
	r.send(evil)
	r.send(p)
	r.run()
	eventually(t, "the good one is archived", func() bool {
		return len(r.said(p.ImageID)) == 1 && len(r.records(events.DLQ(events.TopicProcessedImages))) == 2
	})
}

func TestArchiveThatIsAwayIsWaitedForAndDoesNotHoldTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.processed("original", "small")
	stop := r.run()
	r.archive.away.Store(true)
	r.send(p)
	eventually(t, "it tries again", func() bool { return r.archive.asked.Load() > 2 })
	stop()
	if n := len(r.said(p.ImageID)); n != 0 {
		t.Errorf("%d statuses", n)
	}
	r.archive.away.Store(false)
	r.run()
	eventually(t, "it is archived after all", func() bool { return len(r.said(p.ImageID)) == 1 })
}

// An archive that forgets policies must stop the role: going on would store what anybody may delete.
func TestBrokenPromiseStopsTheRole(t *testing.T) {
	t.Parallel()
	if !final(&azblob.PromiseError{}) {
		t.Error("a broken promise is tried again")
	}
}

func TestConfigurationNamesAllThatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := New(Config{})
	for _, what := range []string{"Kafka", "Codec", "Staging", "Archive"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v does not name %s", err, what)
		}
	}
}
