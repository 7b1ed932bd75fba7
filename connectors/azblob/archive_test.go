package azblob

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

func TestMutableContainerIsRefusedByName(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := OpenArchive(ctx, r.account, ArchiveConfig{Container: "plain", Clock: r.clock})
	var mutable *MutableError
	if !errors.As(err, &mutable) || mutable.Container != "plain" || !strings.Contains(err.Error(), "--allow-mutable-archive") {
		t.Fatalf("got %v", err)
	}
	a, err := OpenArchive(ctx, r.account, ArchiveConfig{Container: "plain", Clock: r.clock, AllowMutable: true})
	ok(t, err)
	if !a.Mutable() {
		t.Fatal("the archive does not say that it is mutable")
	}
	if _, err := OpenArchive(ctx, r.account, ArchiveConfig{Container: "absent", Clock: r.clock, AllowMutable: true}); err == nil {
		t.Fatal("a container that does not exist was accepted")
	}
}

func TestPutLocksUntilExpiryAndSaysWhatItStored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	r.clock.Advance(300 * time.Millisecond) // expiry is rounded up to the second
	o := r.object("a photograph")
	s := r.put(a, o)
	want := origin.Add(168*time.Hour + time.Second)
	if s.Existed || s.SHA256 != o.SHA256 || !s.ExpiresAt.Equal(want) || s.Blob.VersionID == "" || s.Blob.Bytes != 12 {
		t.Fatalf("stored %+v", s)
	}
	e := r.entries("archive")
	if len(e) != 1 || !e[0].Locked || !e[0].Until.Equal(want) || !e[0].Current {
		t.Fatalf("the archive holds %+v", e)
	}
	for name, value := range map[string]string{
		"image_id": o.ImageID, "sha256": o.SHA256, "tenant": "demo", "origin": "api", "source": "raw-images/0/7",
		"archived_at": "2026-11-23T10:30:00Z", "expires_at": "2026-11-30T10:30:01Z",
	} {
		if got := e[0].Meta(name); got != value {
			t.Errorf("metadata %s is %q, want %q", name, got, value)
		}
	}
	props, err := a.c.NewBlobClient(o.Name).GetProperties(ctx, nil)
	ok(t, err)
	if val(props.ContentType) != "image/jpeg" || len(props.ContentMD5) != 16 {
		t.Fatalf("content type %q, %d bytes of MD5", val(props.ContentType), len(props.ContentMD5))
	}
	if _, err := a.c.NewBlobClient(o.Name).Delete(ctx, nil); !bloberror.HasCode(err, bloberror.BlobImmutableDueToPolicy) {
		t.Fatalf("a delete answered %v", err)
	}
}

func TestPutOfLargeObjectGoesByBlocksAndIsLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	o := r.object(strings.Repeat("x", singlePut+3*archiveBlock/2))
	s := r.put(a, o)
	e := r.entries("archive")
	if len(e) != 1 || !e[0].Locked || e[0].Bytes != singlePut+3*archiveBlock/2 || e[0].Uncommitted {
		t.Fatalf("the archive holds %+v", e)
	}
	again := r.put(a, o)
	if !again.Existed || again.Blob != s.Blob {
		t.Fatalf("the second time: %+v", again)
	}
}

func TestFirstWriterWins(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	o := r.object("first")
	s := r.put(a, o)
	if again := r.put(a, o); !again.Existed || again.Blob != s.Blob || again.SHA256 != o.SHA256 {
		t.Fatalf("the same bytes again: %+v", again)
	}
	other := o
	other.Body, other.SHA256 = strings.NewReader("other"), ""
	var wrong *DigestError
	if _, err := a.Put(ctx, other); !errors.As(err, &wrong) || wrong.Have != o.SHA256 || !IsFinal(err) {
		t.Fatalf("an original of other bytes: %v", err)
	}
	m := r.metadata(o, `{"width":1}`)
	first := r.put(a, m)
	m.Body = strings.NewReader(`{"width":2}`)
	if second := r.put(a, m); !second.Existed || second.SHA256 != first.SHA256 || second.Blob != first.Blob {
		t.Fatalf("other metadata under the same name: %+v, want the stored digest", second)
	}
}

func TestOverwriteBySomebodyElseIsNotServed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	o := r.object("ours")
	s := r.put(a, o)
	r.overwrite("archive", o.Name, "theirs")
	rc, err := a.Open(ctx, s.Blob, 0, -1)
	if got := text(t, rc, err); got != "ours" {
		t.Fatalf("served %q", got)
	}
	if again := r.put(a, o); !again.Existed || again.Blob != s.Blob {
		t.Fatalf("after the overwrite: %+v, want our version", again)
	}
}

func TestOpenReadsRanges(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	s := r.put(a, r.object("0123456789"))
	for _, c := range []struct {
		offset, length int64
		want           string
	}{{0, -1, "0123456789"}, {3, 4, "3456"}, {8, -1, "89"}, {4, 0, ""}, {9, 1, "9"}} {
		rc, err := a.Open(ctx, s.Blob, c.offset, c.length)
		if got := text(t, rc, err); got != c.want {
			t.Errorf("%d+%d: %q, want %q", c.offset, c.length, got, c.want)
		}
	}
	if _, err := a.Open(ctx, events.ArchivedBlob{Name: "raw/absent"}, 0, -1); !errors.Is(err, ErrNotFound) {
		t.Fatalf("an absent blob: %v", err)
	}
}

func TestWhatHasExpiredIsNotArchived(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	o := r.object("late")
	r.clock.Advance(168 * time.Hour)
	if _, err := a.Put(ctx, o); !errors.Is(err, ErrExpired) || !IsFinal(err) {
		t.Fatalf("got %v", err)
	}
	if e := r.entries("archive"); len(e) != 0 {
		t.Fatalf("the archive holds %d blobs", len(e))
	}
}

// Azurite accepts a policy and forgets it: what is not read back is no promise.
func TestPolicyThatIsNotKeptIsFound(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(http.Header){
		"no policy": func(h http.Header) {
			h.Del("X-Ms-Immutability-Policy-Until-Date")
			h.Del("X-Ms-Immutability-Policy-Mode")
		},
		"unlocked": func(h http.Header) { h.Set("X-Ms-Immutability-Policy-Mode", "unlocked") },
		"shorter": func(h http.Header) {
			h.Set("X-Ms-Immutability-Policy-Until-Date", origin.Add(24*time.Hour).Format(http.TimeFormat))
		},
		"no version": func(h http.Header) { h.Del("X-Ms-Version-Id") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			a := r.archive()
			lie := func(resp *http.Response) { forget(resp.Header) }
			r.cut.answer.Store(&lie)
			var broken *PromiseError
			if _, err := a.Put(ctx, r.object("bytes")); !errors.As(err, &broken) || !IsFinal(err) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// An overwrite that looks like ours in everything is still the later one.
func TestOldestProtectedVersionIsOurs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	o := r.object("first")
	s := r.put(a, o)
	forged := r.object("forged")
	_, err := a.c.NewBlockBlobClient(o.Name).Upload(ctx, streaming.NopCloser(forged.Body), &blockblob.UploadOptions{
		Metadata:                     a.metadata(o, forged.SHA256),
		ImmutabilityPolicyExpiryTime: &o.ExpiresAt, ImmutabilityPolicyMode: new(blob.ImmutabilityPolicySettingLocked),
	})
	ok(t, err)
	if again := r.put(a, o); again.Blob != s.Blob || again.SHA256 != o.SHA256 {
		t.Fatalf("got %+v, want the first version %+v", again, s)
	}
}

func TestLostAnswerIsFoundAsExisting(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	o := r.object("once")
	lose := func(q *http.Request) bool { return q.Method == http.MethodPut }
	r.cut.after.Store(&lose)
	if _, err := a.Put(ctx, o); err == nil || IsFinal(err) {
		t.Fatalf("a lost answer: %v, want an error that may pass", err)
	}
	r.cut.after.Store(nil)
	if s := r.put(a, o); !s.Existed || s.SHA256 != o.SHA256 || s.Blob.VersionID == "" {
		t.Fatalf("the second time: %+v", s)
	}
}

func TestSameBytesWithinTheHourExtendTheProtection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	r.put(a, r.object("again"))
	r.clock.Advance(10 * time.Minute)
	o := r.object("again")
	s := r.put(a, o)
	if !s.Existed || !s.ExpiresAt.Equal(o.ExpiresAt) {
		t.Fatalf("got %+v, want locked until %s", s, o.ExpiresAt)
	}
}

func TestWrongDigestIsRefusedBeforeTheTransfer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	o := r.object("bytes")
	o.Body = strings.NewReader("other bytes")
	if _, err := a.Put(ctx, o); err == nil {
		t.Fatal("other bytes passed for those of the digest")
	}
	if e := r.entries("archive"); len(e) != 0 {
		t.Fatal("they were stored")
	}
}

func TestArchiveOnAzuriteWhenItIsAllowed(t *testing.T) {
	t.Parallel()
	account, name := azurite(t)
	c := clock.NewManual(origin)
	if _, err := OpenArchive(ctx, account, ArchiveConfig{Container: name, Clock: c}); !errors.As(err, new(*MutableError)) {
		t.Fatalf("Azurite passes for immutable: %v", err)
	}
	a, err := OpenArchive(ctx, account, ArchiveConfig{Container: name, Clock: c, AllowMutable: true})
	ok(t, err)
	r := &rig{t: t, clock: c, account: account}
	o := r.object("a photograph")
	s := r.put(a, o)
	if again := r.put(a, o); !again.Existed || again.SHA256 != o.SHA256 {
		t.Fatalf("the second time: %+v", again)
	}
	rc, err := a.Open(ctx, s.Blob, 2, 5)
	if got := text(t, rc, err); got != "photo" {
		t.Fatalf("read %q", got)
	}
	other := o
	other.Body, other.SHA256 = strings.NewReader("other"), ""
	if _, err := a.Put(ctx, other); !errors.As(err, new(*DigestError)) {
		t.Fatalf("other bytes: %v", err)
	}
}

func TestSoftDeleteIsNoSurePurge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.account.service.SetProperties(ctx, &service.SetPropertiesOptions{DeleteRetentionPolicy: &service.RetentionPolicy{Enabled: new(true), Days: new(int32(7))}})
	ok(t, err)
	var mutable *MutableError
	if _, err := OpenArchive(ctx, r.account, ArchiveConfig{Container: "archive", Clock: r.clock}); !errors.As(err, &mutable) || !strings.Contains(err.Error(), "7 days") {
		t.Fatalf("got %v", err)
	}
}

func TestPutsAreCountedByResult(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	m := NewMetrics(prometheus.NewRegistry())
	a, err := OpenArchive(ctx, r.account, ArchiveConfig{Container: "archive", Clock: r.clock, Metrics: m})
	ok(t, err)
	o := r.object("bytes")
	r.put(a, o)
	r.put(a, o)
	wrong := o
	wrong.Body, wrong.SHA256 = strings.NewReader("other"), ""
	_, err = a.Put(ctx, wrong)
	broken := o
	broken.SHA256 = "not this"
	_, err2 := a.Put(ctx, broken)
	if err == nil || err2 == nil {
		t.Fatalf("%v, %v", err, err2)
	}
	for result, want := range map[string]float64{"stored": 1, "existed": 1, "refused": 1, "failed": 1} {
		if got := testutil.ToFloat64(m.puts.WithLabelValues(result)); got != want {
			t.Errorf("%s: %v, want %v", result, got, want)
		}
	}
	if got := testutil.ToFloat64(m.bytes); got != 5 {
		t.Errorf("%v bytes, want 5", got)
	}
	_, err = NewPurger(PurgerConfig{})
	if err == nil {
		t.Error("a purger of nothing was made")
	}
}

func TestListByHourOfReceipt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	early := r.object("early")
	r.put(a, early)
	r.clock.Advance(time.Hour)
	r.put(a, r.object("late"))
	var names []string
	ok(t, a.List(ctx, HourPrefix("raw", origin), func(e Entry) error {
		names = append(names, e.Name)
		return nil
	}))
	if len(names) != 1 || names[0] != early.Name {
		t.Fatalf("got %v", names)
	}
}
