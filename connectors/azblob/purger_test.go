package azblob

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/internal/real"
)

const week = 168 * time.Hour

// fillArchive stores an original with an overwrite by somebody else, a snapshot and a metadata document.
func fillArchive(r *rig, a *Archive) Object {
	r.t.Helper()
	o := r.object("the-very-bytes-" + r.clock.Now().String())
	r.put(a, o)
	r.put(a, r.metadata(o, `{"width":"the-very-metadata"}`))
	r.overwrite("archive", o.Name, "the-intruders-bytes")
	_, err := a.c.NewBlobClient(o.Name).CreateSnapshot(ctx, nil)
	ok(r.t, err)
	return o
}

func TestPurgeLeavesNothingAndProvesIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, p := r.archive(), r.purger(nil)
	o := fillArchive(r, a)
	if s := r.pass(p); s.Stored != 1 || s.Purged != 0 || s.Images != 1 {
		t.Fatalf("before it is due: %+v", s)
	}
	r.clock.Advance(week - time.Second)
	if s := r.pass(p); s.Purged != 0 {
		t.Fatalf("a second before it is due: %+v", s)
	}
	before := len(r.onDisk("the-very-bytes"))
	r.clock.Advance(time.Second)
	s := r.pass(p)
	if s.Gone != 1 || s.Overdue != 0 || s.Failed != 0 {
		t.Fatalf("when it is due: %+v", s)
	}
	if e := r.entries("archive"); len(e) != 0 {
		t.Fatalf("left: %+v", e)
	}
	for _, text := range []string{"the-very-bytes", "the-very-metadata", "the-intruders-bytes", o.ImageID, o.SHA256} {
		if files := r.onDisk(text); before == 0 || len(files) != 0 {
			t.Errorf("%q is in %v (the bytes were in %d files before)", text, files, before)
		}
	}
	set := NewPurgedSet(r.account, r.ledgerConfig())
	ok(t, set.Refresh(ctx))
	if at, ok := set.PurgedAt("demo", o.ImageID); !ok || !at.Equal(origin.Add(week)) {
		t.Fatalf("purged at %s, %t", at, ok)
	}
	if _, ok := set.PurgedAt("other", o.ImageID); ok {
		t.Fatal("another tenant's image of that name is called purged")
	}
	if c := r.check(); len(c.Problems) != 0 || c.Purged != 1 || c.Open != 0 {
		t.Fatalf("check: %+v", c)
	}
	r.clock.Advance(remember + time.Hour)
	if _, ok := set.PurgedAt("demo", o.ImageID); ok {
		t.Fatal("the purge is remembered for more than 30 days")
	}
}

// A crash between the two deletes leaves a version that an ordinary list does not show.
func TestPurgeGoesOnAfterACrashAnywhere(t *testing.T) {
	t.Parallel()
	for cutAt := int64(1); ; cutAt++ {
		r := newRig(t)
		a, p := r.archive(), r.purger(nil)
		o := fillArchive(r, a)
		r.clock.Advance(time.Hour)
		r.overwrite("archive", o.Name, "later than the image's receipt") // alone, it would not be due yet
		r.pass(p)
		r.clock.Advance(week - time.Hour)
		var n atomic.Int64
		count := func(q *http.Request) bool {
			write := q.Method == http.MethodDelete || q.Method == http.MethodPut
			return write && n.Add(1) >= cutAt
		}
		r.cut.after.Store(&count) // the server did it, nobody hears of it, and nothing works any more
		_, err := p.Pass(ctx)
		r.cut.after.Store(nil)
		if err == nil {
			if cutAt < 6 {
				t.Fatalf("the pass needed only %d writes: the test shows little", cutAt-1)
			}
			return
		}
		r.pass(r.purger(nil)) // another process
		if e := r.entries("archive"); len(e) != 0 {
			t.Fatalf("cut at write %d: %d entries are left", cutAt, len(e))
		}
		if c := r.check(); len(c.Problems) != 0 || c.Purged != 1 || c.Open != 0 {
			t.Fatalf("cut at write %d: %+v", cutAt, c)
		}
	}
}

func TestLegalHoldStopsThePurgeUntilItEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	a, p := r.archive(), r.purger(func(c *PurgerConfig) { c.Metrics = m })
	o := fillArchive(r, a)
	n, err := a.SetHold(ctx, "demo", o.ImageID, true)
	ok(t, err)
	if n != 2 {
		t.Fatalf("%d blobs are held, want the original and its metadata", n)
	}
	if _, err := a.SetHold(ctx, "other", o.ImageID, true); !errors.Is(err, ErrNotFound) {
		t.Fatalf("another tenant's hold: %v", err)
	}
	r.pass(p)
	r.clock.Advance(week + time.Hour)
	before := len(r.entries("archive"))
	if s := r.pass(p); s.Purged != 0 || s.Held != before || s.Overdue != 0 {
		t.Fatalf("under hold: %+v of %d entries", s, before)
	}
	if got := testutil.ToFloat64(m.held); got != float64(before) {
		t.Fatalf("the gauge says %v", got)
	}
	held, err := a.Holds(ctx)
	ok(t, err)
	if len(held) != 1 || held[0].ImageID != o.ImageID || held[0].Blobs != 2 {
		t.Fatalf("held: %+v", held)
	}
	if c := r.check(); len(c.Problems) != 0 || c.Held != 1 {
		t.Fatalf("check under hold: %+v", c)
	}
	_, err = a.SetHold(ctx, "demo", o.ImageID, false)
	ok(t, err)
	if s := r.pass(p); s.Gone != 1 {
		t.Fatalf("after the hold: %+v", s)
	}
	c := r.check()
	if len(c.Problems) != 0 || c.Purged != 1 || c.Late != 0 {
		t.Fatalf("check: %+v", c)
	}
	if got := actions(t, r); got != "stored held released purged" {
		t.Fatalf("the ledger says %q", got)
	}
}

// actions are the ledger's actions in order.
func actions(t *testing.T, r *rig) string {
	t.Helper()
	var out []string
	var end chain
	ok(t, readLedger(ctx, r.account.Container("ledger"), "", func(name string, content []byte) error {
		return end.check(name, content, func(l Line) { out = append(out, string(l.Action)) })
	}))
	return strings.Join(out, " ")
}

func TestOldAndNewLifeOfTheSameBytesAreApart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, p := r.archive(), r.purger(nil)
	o := r.object("bytes")
	r.put(a, o)
	r.pass(p)
	r.clock.Advance(week)
	again := o
	again.Name, again.ExpiresAt = events.RawName(r.clock.Now(), o.ImageID, "image/jpeg"), events.ExpiresAt(r.clock.Now())
	r.put(a, again) // before the purger has come
	if s := r.pass(p); s.Gone != 1 || s.Stored != 1 {
		t.Fatalf("%+v", s)
	}
	e := r.entries("archive")
	if len(e) != 1 || e[0].Name != again.Name {
		t.Fatalf("left: %+v", e)
	}
	if c := r.check(); len(c.Problems) != 0 || c.Purged != 1 || c.Open != 1 {
		t.Fatalf("check: %+v", c)
	}
}

func TestStagingIsSweptByExpiryClaimAndAge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.staging()
	name := func(n string) string { return events.StagingName(origin, n) }
	for _, n := range []string{"claimed", "unclaimed"} {
		ok(t, s.Put(ctx, name(n), "image/png", strings.NewReader("staged-"+n), -1))
	}
	ok(t, s.PutUntil(ctx, name("short"), "image/png", strings.NewReader("staged-short"), -1, origin.Add(time.Hour)))
	_, err := s.c.NewBlockBlobClient(name("begun")).StageBlock(ctx, "AAAA", streaming.NopCloser(strings.NewReader("staged-begun")), nil)
	ok(t, err)
	asked := map[string]bool{}
	p := r.purger(func(c *PurgerConfig) {
		c.Claimed = func(_ context.Context, n string) (bool, error) {
			asked[n] = true
			return strings.HasSuffix(n, "/claimed"), nil
		}
	})
	left := func() string {
		var out []string
		for _, e := range r.entries("staging") {
			out = append(out, e.Name[strings.LastIndex(e.Name, "/")+1:])
		}
		return strings.Join(out, " ")
	}
	for _, step := range []struct {
		advance time.Duration
		want    string
	}{{0, "begun claimed short unclaimed"}, {time.Hour, "begun claimed unclaimed"}, {24 * time.Hour, "claimed"}, {week, ""}} {
		r.clock.Advance(step.advance)
		r.pass(p)
		if got := left(); got != step.want {
			t.Fatalf("after %s more: %q is left, want %q", step.advance, got, step.want)
		}
	}
	if len(r.onDisk("staged-")) != 0 || !asked[name("unclaimed")] || asked[name("short")] {
		t.Fatalf("bytes are left, or the wrong names were asked about: %v", asked)
	}
}

func TestAnalyticsFilesGoAtTheirEarliestExpiry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.account.Container("analytics")
	put := func(name string, meta map[string]*string) {
		_, err := c.NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(strings.NewReader("PAR1")), &blockblob.UploadOptions{Metadata: meta})
		ok(t, err)
	}
	put("image_events/dt=2026-11-23/hr=10/part-a-0-0.parquet", map[string]*string{"expires_at": new("2026-11-30T10:30:00Z")})
	put("sales/dt=2026-11-23/part-a-0-0.parquet", nil)
	p := r.purger(nil)
	r.clock.Advance(week - time.Second)
	r.pass(p)
	if len(r.entries("analytics")) != 2 {
		t.Fatal("a file went before its time")
	}
	r.clock.Advance(time.Second)
	if s := r.pass(p); s.Analytics != 1 {
		t.Fatalf("%+v", s)
	}
	if e := r.entries("analytics"); len(e) != 1 || !strings.HasPrefix(e[0].Name, "sales/") {
		t.Fatalf("left: %+v", e)
	}
}

func TestWhatCannotBePurgedIsCountedAndDoesNotStopTheRest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	a, p := r.archive(), r.purger(func(c *PurgerConfig) { c.Metrics = m })
	stuck := r.object("stuck")
	r.put(a, stuck)
	r.put(a, r.object("free"))
	// Somebody locks an overwrite for longer than we may keep the image.
	_, err := a.c.NewBlockBlobClient(stuck.Name).Upload(ctx, streaming.NopCloser(strings.NewReader("theirs")), &blockblob.UploadOptions{
		ImmutabilityPolicyExpiryTime: new(origin.Add(2 * week)), ImmutabilityPolicyMode: new(blob.ImmutabilityPolicySettingLocked),
	})
	ok(t, err)
	r.pass(p)
	r.clock.Advance(week + grace + time.Second)
	s, err := p.Pass(ctx)
	if err == nil || s.Gone != 1 || s.Overdue == 0 || s.Failed != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if strings.Contains(err.Error(), stuck.ImageID) {
		t.Fatalf("the error names the image: %v", err)
	}
	if testutil.ToFloat64(m.overdue) == 0 {
		t.Fatal("the gauge says that nothing is overdue")
	}
	if c := r.check(); c.Overdue != 1 || len(c.Problems) != 1 {
		t.Fatalf("check: %+v", c)
	}
	r.clock.Advance(week)
	r.pass(p)
	if e := r.entries("archive"); len(e) != 0 || testutil.ToFloat64(m.overdue) != 0 {
		t.Fatalf("left: %+v", e)
	}
}

func TestRunNoticesAMovedClock(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.archive()
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	p := r.purger(func(c *PurgerConfig) { c.Poll, c.Metrics = 5*time.Millisecond, m })
	r.put(a, r.object("bytes"))
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(run) }()
	waitFor(t, func() bool { return testutil.ToFloat64(m.images) == 1 })
	r.clock.Advance(week)
	waitFor(t, func() bool { return len(r.entries("archive")) == 0 })
	stop()
	ok(t, <-done)
}

// waitFor polls until the condition holds.
func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-limit.C:
			t.Fatal("it did not come about within 20 s")
		case <-tick.C:
		}
	}
}

func TestPurgeOnAzuriteWhenItIsAllowed(t *testing.T) {
	t.Parallel()
	account, name := azurite(t)
	ledger := real.Name(t, "ledger")
	ok(t, account.EnsureContainer(ctx, ledger))
	c := clock.NewManual(origin)
	r := &rig{t: t, clock: c, account: account}
	a, err := OpenArchive(ctx, account, ArchiveConfig{Container: name, Clock: c, AllowMutable: true})
	ok(t, err)
	l, err := OpenLedger(ctx, account, LedgerConfig{Container: ledger, Key: hmacKey, Clock: c})
	ok(t, err)
	p, err := NewPurger(PurgerConfig{Account: account, Archive: a, Ledger: l, Clock: c})
	ok(t, err)
	o := r.object("a photograph")
	r.put(a, o)
	r.put(a, r.metadata(o, "{}"))
	r.pass(p)
	c.Advance(week)
	if s := r.pass(p); s.Gone != 1 || s.Purged != 2 {
		t.Fatalf("%+v", s)
	}
	if e := entriesOf(t, a.c); len(e) != 0 {
		t.Fatalf("left: %+v", e)
	}
}

func TestStagingSweepOnAzurite(t *testing.T) {
	t.Parallel()
	account, name := azurite(t)
	ledger := real.Name(t, "ledger")
	ok(t, account.EnsureContainer(ctx, ledger))
	archive := real.Name(t, "archive")
	ok(t, account.EnsureContainer(ctx, archive))
	c := clock.NewManual(origin)
	a, err := OpenArchive(ctx, account, ArchiveConfig{Container: archive, Clock: c, AllowMutable: true})
	ok(t, err)
	l, err := OpenLedger(ctx, account, LedgerConfig{Container: ledger, Key: hmacKey, Clock: c})
	ok(t, err)
	s := NewStaging(account, StagingConfig{Container: name, Clock: c})
	ok(t, s.Put(ctx, events.StagingName(origin, "whole"), "image/png", strings.NewReader("staged"), -1))
	_, err = s.c.NewBlockBlobClient(events.StagingName(origin, "begun")).StageBlock(ctx, "AAAA", streaming.NopCloser(strings.NewReader("x")), nil)
	ok(t, err)
	p, err := NewPurger(PurgerConfig{Account: account, Archive: a, Staging: s, Ledger: l, Clock: c})
	ok(t, err)
	(&rig{t: t}).pass(p)
	if e := entriesOf(t, s.c); len(e) != 2 {
		t.Fatalf("%d entries before they are due", len(e))
	}
	// Azurite dates blobs by the machine's clock, which the blocks' end is counted from.
	c.Advance(time.Until(origin).Abs() + 2*week)
	(&rig{t: t}).pass(p)
	if e := entriesOf(t, s.c); len(e) != 0 {
		t.Fatalf("left: %+v", e)
	}
}

// Who may write could otherwise keep an image for ever, or have it told under another's name, by metadata alone.
func TestForgedMetadataNeitherDelaysNorRenames(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, p := r.archive(), r.purger(nil)
	o := r.object("bytes")
	r.put(a, o)
	r.put(a, r.metadata(o, "{}"))
	forged := map[string]*string{"expires_at": new("2036-01-01T00:00:00Z"), "tenant": new("other"), "image_id": new("img_other"), "sha256": new("00")}
	for _, name := range []string{o.Name, strings.Replace(o.Name, ".jpg", ".png", 1), events.MetadataName(origin, o.ImageID, 1), events.MetadataName(origin, o.ImageID, 2)} {
		_, err := a.c.NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(strings.NewReader("x")), &blockblob.UploadOptions{Metadata: forged})
		ok(t, err)
	}
	r.pass(p)
	r.clock.Advance(week)
	if s := r.pass(p); s.Gone != 1 || s.Failed != 0 {
		t.Fatalf("%+v", s)
	}
	if e := r.entries("archive"); len(e) != 0 {
		t.Fatalf("left: %+v", e)
	}
	set := NewPurgedSet(r.account, r.ledgerConfig())
	ok(t, set.Refresh(ctx))
	_, ours := set.PurgedAt("demo", o.ImageID)
	_, theirs := set.PurgedAt("other", "img_other")
	if !ours || theirs {
		t.Fatalf("told as ours: %t, as another's: %t", ours, theirs)
	}
}
