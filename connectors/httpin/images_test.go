package httpin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/events"
)

// archived is an image in the archive with a thumbnail.
func (d *door) archived(tenant string, b []byte) events.Image {
	i := d.image(tenant, b)
	i.Width, i.Height, i.Format = 8, 8, "png"
	i.Reach(events.StatusProcessing, d.clock.Now())
	i.Reach(events.StatusArchived, d.clock.Now())
	i.Derivatives = []events.DerivativeView{{Name: "thumbnail", Step: "thumbnail", Version: "1", ContentType: "image/jpeg", Bytes: 5, Width: 4, Height: 4}}
	raw := events.ArchivedBlob{Name: events.RawName(i.ReceivedAt, i.ImageID, i.ContentType), VersionID: "v1", Bytes: int64(len(b))}
	thumb := events.ArchivedBlob{
		Name:      events.DerivedName(i.ReceivedAt, i.ImageID, events.Derivative{Name: "thumbnail", Step: "thumbnail", Version: "1", ContentType: "image/jpeg"}),
		VersionID: "v2", Bytes: 5,
	}
	i.Archive = []events.ArchivedBlob{raw, thumb}
	d.archive.put(raw, b)
	d.archive.put(thumb, []byte("thumb"))
	return i
}

// shows waits until the view has an image at a status.
func (d *door) shows(i events.Image) {
	d.t.Helper()
	d.until("the view shows "+string(i.Status), func() bool {
		it := d.server.view.look(i.Tenant, i.ImageID).item
		return it != nil && it.status == i.Status
	})
}

func TestStatusFollowsTheWorkersWord(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	b := picture(1)
	id := d.upload(demoKey, b)
	got := d.do("GET", "/v1/images/"+id, demoKey, nil).json(t)
	if got["status"] != "accepted" || got["image_id"] != id || got["bytes"] != float64(len(b)) || fmt.Sprint(got["derivatives"]) != "[]" {
		t.Errorf("before the worker: %v", got)
	}
	image := d.archived("demo", b)
	d.say(image)
	d.shows(image)
	r := d.do("GET", "/v1/images/"+id, demoKey, nil)
	var view imageView
	if err := json.Unmarshal(r.body, &view); err != nil {
		t.Fatal(err)
	}
	if view.Status != "archived" || len(view.History) != 3 || view.Width != 8 || view.Format != "png" || len(view.Derivatives) != 1 || view.Derivatives[0].Width != 4 {
		t.Errorf("%s", r.body)
	}
	if !view.ExpiresAt.Equal(events.ExpiresAt(image.ReceivedAt)) || view.Error != "" {
		t.Errorf("%s", r.body)
	}
	d.clock.Advance(time.Second)
	image.Reach(events.StatusRejected, d.clock.Now())
	image.ErrorCode, image.Error = events.CodeUndecodable, "the scan is damaged"
	d.say(image)
	d.shows(image)
	if got := d.do("GET", "/v1/images/"+id, demoKey, nil).json(t); got["error_code"] != "undecodable" || got["error"] != "the scan is damaged" {
		t.Errorf("rejected: %v", got)
	}
}

func TestContentIsServedOnceArchivedInRangesToo(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	b := picture(2)
	id := d.upload(demoKey, b)
	if r := d.do("GET", "/v1/images/"+id+"/content", demoKey, nil); r.status != 409 || r.header.Get("Retry-After") == "" {
		t.Errorf("before it is archived: %d %s", r.status, r.body)
	}
	if r := d.do("GET", "/v1/images/"+id+"/derivatives/thumbnail", demoKey, nil); r.status != 409 {
		t.Errorf("derivative before it is archived: %d", r.status)
	}
	image := d.archived("demo", b)
	d.say(image)
	d.shows(image)
	path := "/v1/images/" + id + "/content"
	r := d.do("GET", path, demoKey, nil)
	if r.status != 200 || !bytes.Equal(r.body, b) || r.header.Get("Content-Type") != "image/png" || r.header.Get("Cache-Control") != "private, max-age=300" {
		t.Fatalf("%d %v", r.status, r.header)
	}
	tag := r.header.Get("ETag")
	for _, row := range []struct {
		name   string
		header []string
		status int
		body   []byte
	}{
		{"the first bytes", []string{"Range", "bytes=0-3"}, 206, b[:4]},
		{"from the middle", []string{"Range", "bytes=10-"}, 206, b[10:]},
		{"the last ones", []string{"Range", "bytes=-7"}, 206, b[len(b)-7:]},
		{"behind the end", []string{"Range", "bytes=100000-"}, 416, nil},
		{"a range of other bytes", []string{"Range", "bytes=0-3", "If-Range", `"other"`}, 200, b},
		{"what is known", []string{"If-None-Match", tag}, 304, []byte{}},
	} {
		r := d.do("GET", path, demoKey, nil, row.header...)
		if r.status != row.status || (row.body != nil && !bytes.Equal(r.body, row.body)) {
			t.Errorf("%s: %d, %d bytes", row.name, r.status, len(r.body))
		}
		if row.status == 416 {
			checkProblem(t, r, "range-not-satisfiable", path)
			if r.header.Get("Content-Range") != fmt.Sprintf("bytes */%d", len(b)) {
				t.Errorf("Content-Range %q", r.header.Get("Content-Range"))
			}
		}
	}
	if r := d.do("HEAD", path, demoKey, nil); r.status != 200 || len(r.body) != 0 || r.header.Get("Content-Length") != fmt.Sprint(len(b)) {
		t.Errorf("HEAD: %d %v", r.status, r.header)
	}
	if r := d.do("GET", "/v1/images/"+id+"/derivatives/thumbnail", demoKey, nil); r.status != 200 || string(r.body) != "thumb" || r.header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("derivative: %d %s", r.status, r.body)
	}
	if r := d.do("GET", "/v1/images/"+id+"/derivatives/..%2fcontent", demoKey, nil); r.status != 404 {
		t.Errorf("a derivative of no name: %d", r.status)
	}
}

func TestContentOfAnArchiveThatIsAwayIsAProblem(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	image := d.archived("demo", picture(3))
	d.say(image)
	d.shows(image)
	d.archive.mu.Lock()
	d.archive.away = true
	d.archive.mu.Unlock()
	path := "/v1/images/" + image.ImageID + "/content"
	r := d.do("GET", path, demoKey, nil)
	if r.status != 503 || r.header.Get("Retry-After") == "" || r.header.Get("Cache-Control") != "no-store" || r.header.Get("ETag") != "" {
		t.Fatalf("%d %v", r.status, r.header)
	}
	checkProblem(t, r, "unavailable", path)
	if strings.Contains(string(r.body), "storage is away") {
		t.Errorf("the cause is told outside: %s", r.body)
	}
	if !strings.Contains(d.log.String(), "storage is away") {
		t.Error("the cause is not in the log")
	}
}

func TestNobodySeesAnotherTenantsImages(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	b := picture(4)
	mine, theirs := d.archived("demo", b), d.archived("other", b)
	d.say(mine)
	d.say(theirs)
	d.shows(mine)
	d.shows(theirs)
	d.purged.add("other", "img_purgedpurgedpurgedpurged22", d.clock.Now())
	for _, path := range []string{"", "/content", "/derivatives/thumbnail"} {
		if r := d.do("GET", "/v1/images/"+theirs.ImageID+path, demoKey, nil); r.status != 404 {
			t.Errorf("another's %s: %d", path, r.status)
		}
		if r := d.do("GET", "/v1/images/"+theirs.ImageID+path, otherKey, nil); r.status != 200 {
			t.Errorf("its owner's %s: %d", path, r.status)
		}
	}
	if r := d.do("GET", "/v1/images/img_purgedpurgedpurgedpurged22", demoKey, nil); r.status != 404 {
		t.Errorf("another's purged image: %d", r.status)
	}
	if r := d.do("GET", "/v1/images", demoKey, nil); strings.Contains(string(r.body), theirs.ImageID) || !strings.Contains(string(r.body), mine.ImageID) {
		t.Errorf("the page shows %s", r.body)
	}
}

func TestAfterItsDaysAnImageIsGoneThenForgotten(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	image := d.archived("demo", picture(5))
	d.say(image)
	d.shows(image)
	path := "/v1/images/" + image.ImageID
	d.clock.Advance(events.Retention - time.Second)
	if r := d.do("GET", path+"/content", demoKey, nil); r.status != 200 || r.header.Get("Cache-Control") != "private, max-age=1" {
		t.Errorf("a second before its end: %d %v", r.status, r.header)
	}
	d.clock.Advance(time.Second)
	for _, p := range []string{path, path + "/content", path + "/derivatives/thumbnail"} {
		r := d.do("GET", p, demoKey, nil)
		checkProblem(t, r, "gone", p)
		if got := r.json(t); r.status != 410 || got["purged_at"] != nil {
			t.Errorf("%s at its end: %d %v", p, r.status, got)
		}
	}
	if r := d.do("GET", "/v1/images", demoKey, nil); strings.Contains(string(r.body), image.ImageID) {
		t.Errorf("the page still shows it: %s", r.body)
	}
	d.purged.add("demo", image.ImageID, d.clock.Now())
	d.produce(&kgo.Record{Topic: events.TopicImagesChangelog, Key: []byte(image.ImageID)})
	if got := d.do("GET", path, demoKey, nil).json(t); got["purged_at"] != "2026-11-30T10:00:00Z" {
		t.Errorf("after the purge: %v", got)
	}
	d.purged.mu.Lock()
	clear(d.purged.at) // 30 days later the ledger's memory has let go of it
	d.purged.mu.Unlock()
	d.clock.Advance(30 * 24 * time.Hour)
	d.until("the image is forgotten", func() bool { return d.do("GET", path, demoKey, nil).status == 404 })
}

func TestNamesThatAreNoneAreNotFound(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	for _, id := range []string{"x", "img_", "img_AAAAAAAAAAAAAAAAAAAAAAAAAA", "img_aaaaaaaaaaaaaaaaaaaaaaaaa1", "%00", strings.Repeat("a", 4096), "img_aaaaaaaaaaaaaaaaaaaaaaaaaa%2f..%2fx", "%c0%ae%c0%ae", "con", "..%5c..%5cx"} {
		if r := d.do("GET", "/v1/images/"+id, demoKey, nil); r.status != 404 {
			t.Errorf("%.40q: %d", id, r.status)
		}
	}
	if r := d.do("GET", "/v1/images/img_aaaaaaaaaaaaaaaaaaaaaaaaaa", demoKey, nil); r.status != 404 {
		t.Errorf("an image that never was: %d %s", r.status, r.body)
	}
}

func TestPagesWalkOverAllImagesOnce(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	want := map[string]bool{}
	var all []events.Image
	for n := range 250 {
		i := d.image("demo", picture(n))
		if n%2 == 0 {
			i.Reach(events.StatusArchived, d.clock.Now())
		}
		all = append(all, i)
		want[i.ImageID] = true
		if n%3 == 0 {
			d.clock.Advance(time.Second)
		}
	}
	d.say(all...)
	d.until("all are seen", func() bool { return d.server.view.size() == 250 })
	seen, path, last := map[string]bool{}, "/v1/images", time.Time{}
	for pages := 1; path != ""; pages++ {
		var page pageView
		if err := json.Unmarshal(d.do("GET", path, demoKey, nil).body, &page); err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Images {
			if seen[i.ImageID] || (!last.IsZero() && i.ReceivedAt.After(last)) {
				t.Fatalf("%s comes twice or out of order", i.ImageID)
			}
			seen[i.ImageID], last = true, i.ReceivedAt
		}
		if path = ""; page.NextCursor != "" {
			path = "/v1/images?cursor=" + url.QueryEscape(page.NextCursor)
		}
		if pages > 3 {
			t.Fatal("more than three pages of 250 images")
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d of %d images", len(seen), len(want))
	}
	for query, count := range map[string]int{
		"status=archived&from=2026-11-23T10:01:00Z": 36, "status=rejected": 0, "to=2026-11-23T10:00:01Z": 1, "from=2026-11-23T10:00:01Z&to=2026-11-23T10:00:03Z": 6,
	} {
		var page pageView
		r := d.do("GET", "/v1/images?"+query, demoKey, nil)
		if err := json.Unmarshal(r.body, &page); err != nil || len(page.Images) != count {
			t.Errorf("%s: %d images, want %d (%v)", query, len(page.Images), count, err)
		}
	}
	for _, bad := range []string{"status=gone", "from=yesterday", "to=1", "cursor=x", "cursor=e30x", "limit=5", "status=archived&status=failed"} {
		if r := d.do("GET", "/v1/images?"+bad, demoKey, nil); r.status != 400 {
			t.Errorf("%s: %d", bad, r.status)
		}
	}
}

// TestAnotherProcessesUploadIsFoundAtOnce reads by one process what another has just accepted.
func TestAnotherProcessesUploadIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	a := openDoor(t, nil)
	b := &door{t: t, kafka: a.kafka, staging: a.staging, archive: a.archive, purged: a.purged, clock: a.clock, log: &syncBuffer{}}
	cfg := a.server.cfg
	cfg.Registry = nil
	b.start(cfg)
	for n := range 20 {
		id := a.upload(demoKey, picture(n))
		if r := b.do("GET", "/v1/images/"+id, demoKey, nil); r.status != 200 {
			t.Fatalf("upload %d is not found by the other process: %d %s", n, r.status, r.body)
		}
	}
}

func TestWhatIsNotKnownIsNotCalledMissing(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.CatchUp = 200 * time.Millisecond })
	d.kafka.Close()
	r := d.do("GET", "/v1/images/img_aaaaaaaaaaaaaaaaaaaaaaaaaa", demoKey, nil)
	if r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("with Kafka away: %d %s", r.status, r.body)
	}
}

func TestTopicsThatComeLaterArePickedUp(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	if err := d.kafka.DeleteTopic(events.TopicImagesChangelog); err != nil {
		t.Fatal(err)
	}
	if err := d.kafka.CreateTopic(events.TopicImagesChangelog, 5, nil); err != nil {
		t.Fatal(err)
	}
	image := d.archived("demo", picture(1))
	d.say(image)
	d.shows(image)
}

// TestReceiptsThatTheWorkerHasDealtWithDoNotComeBack is a restart of the door after a duplicate of an image that was
// purged since: the receipt is still in raw-images, and nothing speaks for it any more.
func TestReceiptsThatTheWorkerHasDealtWithDoNotComeBack(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	done, open := picture(1), picture(2)
	id := d.upload(demoKey, done)
	record := d.records(events.TopicRawImages)[0]
	admin, err := kgo.NewClient(kgo.SeedBrokers(d.kafka.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: events.TopicRawImages, Partition: record.Partition, At: record.Offset + 1, LeaderEpoch: -1})
	if err := kadm.NewClient(admin).CommitAllOffsets(t.Context(), events.AppWorker, offsets); err != nil {
		t.Fatal(err)
	}
	d.until("the receipt is let go of", func() bool { return d.do("GET", "/v1/images/"+id, demoKey, nil).status == 404 })
	waiting := d.upload(demoKey, open)
	d.stop()
	cfg := d.server.cfg
	cfg.Registry = nil
	d.start(cfg)
	if r := d.do("GET", "/v1/images/"+id, demoKey, nil); r.status != 404 {
		t.Errorf("after a restart the old receipt is %d %s", r.status, r.body)
	}
	if r := d.do("GET", "/v1/images/"+waiting, demoKey, nil); r.status != 200 {
		t.Errorf("after a restart the open receipt is %d", r.status)
	}
}

func TestMarkersAndNonsenseInTheChangelogAreLeftOut(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	d.produce(
		&kgo.Record{Topic: events.TopicImagesChangelog, Key: []byte(events.MarkerKey)},
		&kgo.Record{Topic: events.TopicImagesChangelog, Key: []byte("img_x"), Value: []byte("{")},
		&kgo.Record{Topic: events.TopicImagesChangelog, Key: []byte("img_y"), Value: []byte(`{"image_id":"img_z"}`)},
		&kgo.Record{Topic: events.TopicRawImages, Key: []byte("img_x"), Value: []byte("no avro")},
		&kgo.Record{Topic: events.TopicRawImages, Key: []byte("img_x")},
	)
	image := d.image("demo", picture(1))
	d.say(image)
	d.shows(image)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := d.server.view.catchUp(ctx); err != nil {
		t.Errorf("the view is stuck: %v", err)
	}
	if n := d.server.view.size(); n != 1 {
		t.Errorf("%d images, want 1", n)
	}
	if n := strings.Count(d.log.String(), "leaves a record out"); n != 3 {
		t.Errorf("%d records told in the log, want 3:\n%s", n, d.log)
	}
}

// TestTransactionsDoNotHoldTheViewBack: the worker may write its changelog in transactions, whose markers take offsets.
func TestTransactionsDoNotHoldTheViewBack(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	cl, err := kgo.NewClient(kgo.SeedBrokers(d.kafka.ListenAddrs()...), kgo.TransactionalID("worker"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	write := func(i events.Image, end kgo.TransactionEndTry) {
		v, err := events.MarshalImage(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: events.TopicImagesChangelog, Key: []byte(i.ImageID), Value: v}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	kept, dropped := d.image("demo", picture(1)), d.image("demo", picture(2))
	write(kept, kgo.TryCommit)
	write(dropped, kgo.TryAbort)
	if r := d.do("GET", "/v1/images/"+kept.ImageID, demoKey, nil); r.status != 200 {
		t.Errorf("what was committed: %d %s", r.status, r.body)
	}
	if r := d.do("GET", "/v1/images/"+dropped.ImageID, demoKey, nil); r.status != 404 {
		t.Errorf("what was aborted: %d %s", r.status, r.body)
	}
}
