package parquet

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
)

const (
	file0  = "image_events/dt=2026-11-23/hr=12/part-image-status-0-0.parquet"
	file3  = "image_events/dt=2026-11-23/hr=12/part-image-status-0-3.parquet"
	file3b = "image_events/dt=2026-11-23/hr=13/part-image-status-0-3.parquet"
)

// The columns and types are those that outsiders' SQL relies on.
func TestColumnsHaveTheContractsTypes(t *testing.T) {
	t.Parallel()
	format, code, n, w := "jpeg", events.CodeTruncated, int64(7), int32(3)
	b, err := encode([]ImageEvent{{ImageID: "img_a", EventTime: noon, Format: &format, Bytes: &n, Width: &w, ErrorCode: &code}, {}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	want := `message ImageEvent {
	required binary image_id (STRING);
	required int64 event_time (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
	required binary tenant_class (STRING);
	required binary origin (STRING);
	required binary status (STRING);
	optional binary format (STRING);
	optional int64 bytes;
	optional int32 width;
	optional int32 height;
	optional int32 processing_ms;
	required boolean duplicate;
	optional binary error_code (STRING);
}`
	got := strings.NewReplacer(" (INT(64,true))", "", " (INT(32,true))", "").Replace(f.Schema().String())
	if got != want {
		t.Errorf("schema is\n%s\nwant\n%s", got, want)
	}
	rows, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if r := rows[0]; !r.EventTime.Equal(noon) || *r.Format != "jpeg" || *r.Bytes != 7 || *r.Width != 3 || r.Height != nil || *r.ErrorCode != code {
		t.Errorf("read back %+v", r)
	}
	if r := rows[1]; r.Format != nil || r.ErrorCode != nil || r.Bytes != nil {
		t.Errorf("what is not known is not NULL: %+v", r)
	}
}

func TestSameRowsGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	var rows []ImageEvent
	for i := range 5000 {
		rows = append(rows, ImageEvent{ImageID: strings.Repeat("x", i%40), EventTime: noon.Add(time.Duration(i) * time.Millisecond)})
	}
	a, err1 := encode(rows)
	b, err2 := encode(slices.Clone(rows))
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("%d and %d bytes differ (%v, %v)", len(a), len(b), err1, err2)
	}
}

func TestFileRollsAtTheHourOfRecordsAndNeverGoesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.say(0, 0, noon.Add(59*time.Minute), nil)
	r.say(0, 1, noon.Add(-time.Minute), nil) // an older record stays in the open file
	r.say(0, 2, noon.Add(59*time.Minute+59*time.Second), nil)
	r.say(0, 3, noon.Add(time.Hour), nil)
	r.run(nil)
	eventually(t, "the first file is written and committed", func() bool { return r.committed(0) == 3 })
	if got := r.names(); !slices.Equal(got, []string{file0}) {
		t.Errorf("files %v", got)
	}
	if got := r.images(file0); !slices.Equal(got, []string{"img_0", "img_1", "img_2"}) {
		t.Errorf("rows %v", got)
	}
}

func TestFileRollsAtTheNumberOfRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for i := range 7 {
		r.say(0, i, noon, nil)
	}
	r.run(func(c *Config) { c.MaxRows = 3 })
	eventually(t, "two files are committed", func() bool { return r.committed(0) == 6 })
	if got := r.names(); !slices.Equal(got, []string{file0, file3}) {
		t.Errorf("files %v", got)
	}
}

func TestQuietFileIsClosedByTheClockAndSaysWhereItEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.say(0, 0, noon, nil)
	r.say(1, 1, noon, func(s *events.ImageStatus) { s.ExpiresAt = noon.Add(3*time.Hour + 999*time.Millisecond) })
	r.say(1, 2, noon, func(s *events.ImageStatus) { s.ExpiresAt = noon.Add(4 * time.Hour) })
	r.run(func(c *Config) { c.Quiet = 10 * time.Minute })
	eventually(t, "the clock closes both files", func() bool {
		r.clock.Advance(time.Minute)
		return r.committed(0) == 1 && r.committed(1) == 2
	})
	p, err := r.container.NewBlobClient(strings.Replace(file0, "-0-0", "-1-0", 1)).GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	meta := map[string]string{}
	for k, v := range p.Metadata {
		meta[strings.ToLower(k)] = *v
	}
	delete(meta, metaDigest)
	if want := map[string]string{"expires_at": "2026-11-23T15:00:00Z", "first_offset": "0", "last_offset": "1", "rows": "2"}; !maps.Equal(meta, want) {
		t.Errorf("metadata %v, want %v", meta, want)
	}
}

// A crash between the file and the commit, and more records since: the replay must end the file where it ended.
func TestReplayWritesTheSameNamesWithTheSameBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for i := range 3 {
		r.say(0, i, noon, nil)
	}
	stop := r.run(func(c *Config) { c.Quiet = 10 * time.Minute })
	eventually(t, "the quiet file is closed", func() bool { r.clock.Advance(time.Minute); return r.committed(0) == 3 })
	stop()
	before := r.files()
	r.setCommit(0, 0)
	r.say(0, 3, noon.Add(time.Minute), nil)
	r.say(0, 4, noon.Add(2*time.Hour), nil)
	r.run(nil) // with another Quiet: only the metadata tells where the file ended
	eventually(t, "the replay is past the file of one record", func() bool { return r.committed(0) == 4 })
	after := r.files()
	if after[file0] != before[file0] {
		t.Error("the first file has other bytes")
	}
	if got := r.images(file3); !slices.Equal(got, []string{"img_3"}) || len(after) != 2 {
		t.Errorf("files %v, the second holds %v", r.names(), got)
	}
}

// Another process writes the same file between our look and our write.
func TestWriterThatComesSecondTakesTheOthersEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		others int // records in the other's file
		want   map[string][]string
		commit int64
	}{
		{"shorter", 2, map[string][]string{file0: {"img_0", "img_1"}, strings.Replace(file0, "-0-0", "-0-2", 1): {"img_2"}}, 3},
		{"longer", 4, map[string][]string{file0: {"img_0", "img_1", "img_2", "img_3"}}, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			for i := range 3 {
				r.say(0, i, noon, nil)
			}
			first := func(name string) { r.writeFirst(name, c.others) }
			r.stolen.Store(&first)
			r.say(0, 3, noon.Add(time.Hour), nil)
			if c.others == 4 {
				r.say(0, 4, noon.Add(2*time.Hour), nil)
			}
			r.run(nil)
			eventually(t, "the files are committed", func() bool { return r.committed(0) == c.commit })
			for name, ids := range c.want {
				if got := r.images(name); !slices.Equal(got, ids) {
					t.Errorf("%s holds %v, want %v", name, got, ids)
				}
			}
			if len(r.files()) != len(c.want) {
				t.Errorf("files %v", r.names())
			}
		})
	}
}

// writeFirst writes the file of the first n records as another process would.
func (r *rig) writeFirst(name string, n int) {
	f := &file{topic: events.TopicImageStatus, name: name, end: -1}
	for i := range n {
		at := noon
		if i == 3 {
			at = noon.Add(time.Hour)
		}
		s := events.ImageStatus{ImageID: "img_" + string(rune('0'+i)), Tenant: "demo", Status: events.StatusAccepted, At: at, Attempt: 1,
			ExpiresAt: events.ExpiresAt(at), TenantClass: "standard", Origin: events.OriginAPI}
		row := rowOf(s)
		f.records = append(f.records, record{src: &kgo.Record{Offset: int64(i), Timestamp: at}, read: true, row: &row, expires: s.ExpiresAt})
	}
	if _, done, err := f.write(r.t.Context(), blobs{r.container}); err != nil || !done {
		r.t.Errorf("the other's file: %t, %v", done, err)
	}
}

func TestNothingIsCommittedWhileTheStorageIsAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for i := range 4 {
		r.say(0, i, noon, nil)
	}
	r.offline.Store(true)
	r.run(func(c *Config) { c.MaxRows = 3 })
	eventually(t, "the role has tried", func() bool { return r.refused.Load() > 0 })
	if got := r.committed(0); got > 0 {
		t.Fatalf("committed %d without a file", got)
	}
	r.offline.Store(false)
	eventually(t, "the file is written once the storage is back", func() bool { return r.committed(0) == 3 })
	if got := r.images(file0); len(got) != 3 {
		t.Errorf("rows %v", got)
	}
}

func TestUnreadableRecordBecomesADeadLetterAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.say(0, 0, noon, nil)
	r.write(0, []byte("no status at all"), noon)
	r.write(0, nil, noon)
	r.say(0, 3, noon, nil)
	r.run(func(c *Config) { c.MaxRows = 4; c.Quiet = time.Minute })
	eventually(t, "the file is closed", func() bool { r.clock.Advance(time.Minute); return r.committed(0) == 4 })
	if got := r.images(file0); !slices.Equal(got, []string{"img_0", "img_3"}) {
		t.Errorf("rows %v", got)
	}
	cl, err := kgo.NewClient(append(r.kafka, kgo.ConsumeTopics(events.DLQ(events.TopicImageStatus)))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	letters := cl.PollRecords(t.Context(), 1).Records()
	if len(letters) != 1 || string(letters[0].Value) != "no status at all" {
		t.Fatalf("dead letters %v", letters)
	}
	if i, ok := dlq.Parse(letters[0].Headers); !ok || i.Offset != 1 || i.Stage != "analytics" {
		t.Errorf("headers say %+v", i)
	}
}

func TestCountAnswersFromTheFilesAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	status := func(s events.Status, format string, dup bool) func(*events.ImageStatus) {
		return func(e *events.ImageStatus) { e.Status, e.Format, e.Duplicate = s, format, dup }
	}
	at := noon
	for i, c := range []struct {
		image int
		to    func(*events.ImageStatus)
	}{
		{1, status("accepted", "", false)}, {1, status("processing", "", false)}, {1, status("archived", "jpeg", false)},
		{1, status("accepted", "", true)},                                                                                  // a duplicate, later
		{2, status("accepted", "", false)}, {2, status("archived", "jpeg", false)}, {2, status("archived", "jpeg", false)}, // said twice
		{3, status("accepted", "", false)}, {3, status("rejected", "", false)},
		{4, status("accepted", "", false)}, {4, status("processing", "", false)}, {4, status("archived", "png", false)}, {4, status("failed", "", false)},
	} {
		if i != 2 { // archived in the same millisecond as processing
			at = at.Add(time.Millisecond)
		}
		r.say(int32(c.image%2), c.image, at, c.to)
	}
	r.run(func(c *Config) { c.Quiet = time.Minute })
	eventually(t, "both files are closed", func() bool { r.clock.Advance(time.Minute); return len(r.names()) == 2 })
	got, err := CountImages(t.Context(), r.container)
	want := []Count{{"", "rejected", 1}, {"jpeg", "archived", 2}, {"png", "failed", 1}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v (%v), want %v", got, err, want)
	}
}

func TestConfigurationNamesAllThatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := New(Config{})
	for _, what := range []string{"Kafka", "Codec", "Analytics"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v does not name %s", err, what)
		}
	}
}

func FuzzDecode(f *testing.F) {
	b, err := encode([]ImageEvent{{ImageID: "img_a", EventTime: noon}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = decode(b) })
}

// Members come and go while records arrive: every record is in exactly one file.
func TestRebalanceLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4)
	const rounds, each = 6, 40
	n := 0
	small := func(c *Config) { c.MaxRows = 7 }
	stop := r.run(small)
	for round := range rounds {
		for range each {
			r.say(int32(n%4), n, noon, nil)
			n++
		}
		next := r.run(small)
		eventually(t, "two members share the work", func() bool { return r.members() == 2 })
		for range each {
			r.say(int32(n%4), n, noon, nil)
			n++
		}
		eventually(t, "some of the round is written", func() bool { return len(r.names()) > round*2*each/10 })
		stop()
		stop = next
	}
	stop()
	r.run(func(c *Config) { c.MaxRows, c.Quiet = 7, time.Minute })
	seen := map[string]int{}
	eventually(t, "all is written", func() bool {
		r.clock.Advance(time.Minute)
		clear(seen)
		if err := Rows(t.Context(), r.container, func(e ImageEvent) error { seen[e.ImageID]++; return nil }); err != nil {
			t.Fatal(err)
		}
		return len(seen) == n
	})
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s is in the files %d times", id, times)
		}
	}
}
