package feed

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/serde/avro"
)

func TestBytesBecomeAReceipt(t *testing.T) {
	t.Parallel()
	r := openRig(t, nil)
	b := picture(1)
	rec := value(b, "tenant", "demo", "filename", "holiday.png", events.TraceHeader, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	rec.Timestamp = time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	r.send(rec)
	raw := r.receipts(1)[0]
	if raw.ImageID != events.ImageID("demo", sha256.Sum256(b)) || raw.Origin != "feed" || raw.Tenant != "demo" || raw.ContentType != "image/png" {
		t.Errorf("%+v", raw)
	}
	if !raw.ReceivedAt.Equal(rec.Timestamp) || !raw.ExpiresAt.Equal(events.ExpiresAt(rec.Timestamp)) {
		t.Errorf("received %s, expires %s; the record is of %s", raw.ReceivedAt, raw.ExpiresAt, rec.Timestamp)
	}
	if raw.Trace != "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" {
		t.Errorf("trace %s", raw.Trace)
	}
	if !bytes.Equal(r.staging.get(raw.Blob.Name), b) {
		t.Error("the staged bytes are other ones")
	}
	r.until("the record is done with", func() bool { return r.committed() == 1 })
	if err := r.bridge.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func jsonEnvelope(t *testing.T, members map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTenantComesFromHeaderThenEnvelopeThenConfiguration(t *testing.T) {
	t.Parallel()
	registry, err := avro.Open("mock://feed-test")
	if err != nil {
		t.Fatal(err)
	}
	r := openRig(t, func(c *Config) { c.Tenant, c.Schemas = "other", registry })
	data := base64.StdEncoding.EncodeToString(picture(2))
	single, err := avro.For[envelope](schemaText)
	if err != nil {
		t.Fatal(err)
	}
	confluent, err := avro.For[envelope](schemaText, avro.With(registry))
	if err != nil {
		t.Fatal(err)
	}
	pack := func(s serde.Serde[envelope], n int, tenant *string) []byte {
		b, err := s.Append(nil, envelope{Tenant: tenant, Data: picture(n)}, serde.Meta{Topic: events.TopicCompanyImages, Headers: &serde.Headers{}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	rows := []struct {
		rec    *kgo.Record
		n      int
		tenant string
	}{
		{value(picture(1)), 1, "other"},
		{value(jsonEnvelope(t, map[string]any{"tenant": "demo", "filename": "x.png", "content_type": "image/png", "data": data})), 2, "demo"},
		{value(jsonEnvelope(t, map[string]any{"tenant": "demo", "data": base64.StdEncoding.EncodeToString(picture(3))}), "tenant", "other"), 3, "other"},
		{value(jsonEnvelope(t, map[string]any{"data": base64.StdEncoding.EncodeToString(picture(4))})), 4, "other"},
		{value(pack(single, 5, new("demo"))), 5, "demo"},
		{value(pack(confluent, 6, new("demo"))), 6, "demo"},
		{value(pack(confluent, 7, nil), "tenant", "demo"), 7, "demo"},
	}
	want := map[string]string{}
	for _, row := range rows {
		r.send(row.rec)
		want[events.ImageID(row.tenant, sha256.Sum256(picture(row.n)))] = row.tenant
	}
	for _, raw := range r.receipts(len(rows)) {
		if want[raw.ImageID] != raw.Tenant {
			t.Errorf("unexpected receipt %s of %s", raw.ImageID, raw.Tenant)
		}
		delete(want, raw.ImageID)
	}
	if len(want) > 0 {
		t.Errorf("no receipt for %v", want)
	}
}

// TestWhatCannotBeCarriedIsADeadLetterWithItsBytes has a row for each reason; those of URLs are in fetch_test.go.
func TestWhatCannotBeCarriedIsADeadLetterWithItsBytes(t *testing.T) {
	t.Parallel()
	r := openRig(t, nil)
	png := picture(1)
	bomb := append(append([]byte{}, png[:16]...), 0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20) // 20,000 × 20,000
	bomb = append(bomb, png[24:]...)
	rows := []struct {
		reason string
		rec    *kgo.Record
	}{
		{"no_tenant", value(png)},
		{"unknown_tenant", value(png, "tenant", "nobody")},
		{"unsupported_format", value([]byte("a text called photo.jpg"), "tenant", "demo", "filename", "photo.jpg")},
		{"truncated", value(png[:20], "tenant", "demo")},
		{"too_big", value(fixCRC(bomb), "tenant", "demo")},
		{"too_large", value(append(append([]byte{}, png...), make([]byte, 1<<20)...), "tenant", "demo")},
		{"empty", value([]byte{}, "tenant", "demo")},
		{"empty", value(nil, "tenant", "demo")},
		{"empty", value([]byte(`{"data":""}`), "tenant", "demo")},
		{"malformed_envelope", value([]byte(`{"data":`), "tenant", "demo")},
		{"malformed_envelope", value([]byte(`{"tenant":"demo"}`))},
		{"malformed_envelope", value([]byte(`{"tenant":"demo","data":"AAAA","url":"https://x/"}`))},
		{"malformed_envelope", value([]byte(`{"tenant":7,"data":"AAAA"}`))},
		{"malformed_envelope", value([]byte{0, 0, 0, 0, 1, 2}, "tenant", "demo")},
		{"malformed_envelope", value([]byte{0xc3, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9}, "tenant", "demo")},
		{"url_refused", value([]byte(`{"tenant":"demo","url":"https://images.example/a.png"}`))},
	}
	for i, row := range rows {
		row.rec.Key = fmt.Appendf(nil, "key-%d", i)
		r.send(row.rec)
	}
	letters := r.await(dlq.Topic(events.TopicCompanyImages), len(rows))
	for _, l := range letters {
		info, ok := dlq.Parse(l.Headers)
		if !ok || info.Topic != events.TopicCompanyImages || info.Offset >= int64(len(rows)) {
			t.Fatalf("headers %+v", info)
		}
		row := rows[info.Offset]
		if !bytes.Equal(l.Value, row.rec.Value) || (l.Value == nil) != (row.rec.Value == nil) || !bytes.Equal(l.Key, row.rec.Key) {
			t.Errorf("offset %d: key or bytes are not those of the record", info.Offset)
		}
		if !strings.HasPrefix(info.Message, "feed: "+row.reason+": ") || info.Stage != "feed" || info.Attempts != 1 {
			t.Errorf("offset %d: %+v, want reason %s", info.Offset, info, row.reason)
		}
		for _, h := range row.rec.Headers {
			if !hasHeader(l, h.Key, string(h.Value)) {
				t.Errorf("offset %d: header %s was lost", info.Offset, h.Key)
			}
		}
	}
	r.until("all are done with", func() bool { return r.committed() == int64(len(rows)) })
	if n := testutil.ToFloat64(r.bridge.metrics.records.WithLabelValues("empty")); n != 3 {
		t.Errorf("%v empty ones counted, want 3", n)
	}
	if n := r.restarts(); n != 0 {
		t.Errorf("the bridge began again %v times over records that are at fault themselves", n)
	}
}

func hasHeader(r *kgo.Record, key, v string) bool {
	for _, h := range r.Headers {
		if h.Key == key && string(h.Value) == v {
			return true
		}
	}
	return false
}

func TestATooOldRecordLeavesNoCopyOfItsBytes(t *testing.T) {
	t.Parallel()
	r := openRig(t, nil)
	old := value(picture(1), "tenant", "demo")
	old.Key, old.Timestamp = []byte("k"), time.Now().Add(-events.SettleLimit-time.Minute)
	r.send(old)
	l := r.await(dlq.Topic(events.TopicCompanyImages), 1)[0]
	info, _ := dlq.Parse(l.Headers)
	if l.Value != nil || string(l.Key) != "k" || !strings.HasPrefix(info.Message, "feed: too_late: ") {
		t.Errorf("letter of %d bytes: %+v", len(l.Value), info)
	}
}

func TestNothingIsSkippedWhileStagingIsAway(t *testing.T) {
	t.Parallel()
	r := openRig(t, nil)
	r.staging.setAway(true)
	for i := range 5 {
		r.send(value(picture(i), "tenant", "demo"))
	}
	r.until("several attempts", func() bool { return r.restarts() >= 3 })
	if n := r.committed(); n != 0 {
		t.Fatalf("committed %d although nothing was carried over", n)
	}
	if err := r.bridge.Ready(); err == nil && r.staging.tried() == 0 {
		t.Error("ready without having tried")
	}
	r.staging.setAway(false)
	seen := map[string]bool{}
	for _, raw := range r.receipts(5) {
		seen[raw.ImageID] = true
	}
	r.until("all are done with", func() bool { return r.committed() == 5 })
	if len(seen) != 5 {
		t.Errorf("%d images of 5", len(seen))
	}
}

func TestNothingIsSkippedWhileKafkaRefuses(t *testing.T) {
	t.Parallel()
	r := openRig(t, nil)
	fault := r.ours.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: events.TopicRawImages, Err: kerr.TopicAuthorizationFailed, Count: -1})
	r.send(value(picture(1), "tenant", "demo"))
	r.until("several attempts", func() bool { return r.restarts() >= 2 })
	if n := r.committed(); n != 0 {
		t.Fatalf("committed %d although nothing was acknowledged", n)
	}
	fault.Remove()
	r.receipts(1)
	r.until("it is done with", func() bool { return r.committed() == 1 })
}

// TestReadingAgainRepeatsTheReceipt takes the commit away, as a crash behind the produce would.
func TestReadingAgainRepeatsTheReceipt(t *testing.T) {
	t.Parallel()
	r := openRig(t, nil)
	r.theirs.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.UnknownMemberID, Count: 2})
	rec := value(picture(1), "tenant", "demo")
	r.send(rec)
	got := r.receipts(2)
	if got[0].Blob != got[1].Blob || !got[0].ReceivedAt.Equal(got[1].ReceivedAt) || got[0].ImageID != got[1].ImageID {
		t.Errorf("the second reading gave another receipt:\n%+v\n%+v", got[0], got[1])
	}
	r.until("it is done with", func() bool { return r.committed() == 1 })
	if n := len(r.staging.blobs); n != 1 {
		t.Errorf("%d staged blobs, want 1", n)
	}
}

func TestStagingNameFollowsFromThePlaceAlone(t *testing.T) {
	t.Parallel()
	at := func(cluster string, topic byte, partition int32, offset int64) string {
		return origin{cluster, [16]byte{topic}}.name(&kgo.Record{Partition: partition, Offset: offset})
	}
	base := at("c", 1, 0, 0)
	if base != at("c", 1, 0, 0) {
		t.Error("the same place has two names")
	}
	for _, other := range []string{at("d", 1, 0, 0), at("c", 2, 0, 0), at("c", 1, 1, 0), at("c", 1, 0, 1), at("c", 1, 10, 0), at("c", 1, 1, 10)} {
		if other == base {
			t.Error("two places have one name")
		}
	}
	if at("c", 1, 1, 10) == at("c", 1, 11, 0) {
		t.Error("partition and offset run into each other")
	}
}

func TestReceivedAtIsTheRecordsTimeUnderTheClock(t *testing.T) {
	t.Parallel()
	machine := time.Now()
	for _, row := range []struct {
		name  string
		ahead time.Duration // of the clock
		stamp time.Time
		want  time.Time
	}{
		{"the machine's clock", 0, machine.Add(-time.Hour), machine.Add(-time.Hour)},
		{"a clock eight days ahead, a producer that does not know", 192 * time.Hour, machine.Add(-time.Hour), machine.Add(191 * time.Hour)},
		{"a clock eight days ahead, a producer that does", 192 * time.Hour, machine.Add(191 * time.Hour), machine.Add(191 * time.Hour)},
		{"a timestamp in the future", 0, machine.Add(time.Hour), machine},
		{"no timestamp", 0, time.UnixMilli(-1), machine},
	} {
		b := &Bridge{cfg: Config{Clock: clock.NewManual(machine.Add(row.ahead))}}
		if got := b.receivedAt(row.stamp); got.Sub(row.want).Abs() > 2*time.Second || got.Nanosecond()%int(time.Millisecond) != 0 {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func TestConfigurationTellsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Tenant: "nobody", Tenants: map[string]string{"UPPER": ""}, AllowURLs: []string{"http://plain.example/"}})
	for _, want := range []string{"Codec", "Intake", "From", "Kafka", `"nobody"`, `"UPPER"`, "http://plain.example/"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not among the faults: %v", want, err)
		}
	}
	if errors.Is(err, errIdle) {
		t.Error("a fault of the configuration is no state")
	}
}
