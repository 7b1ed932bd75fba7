package events

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/serde/avro"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var received = time.Date(2026, 11, 23, 10, 59, 59, 1e6, time.UTC)

func rawImage() RawImage {
	sha := sha256.Sum256([]byte("hello"))
	return RawImage{
		ImageID: ImageID("demo", sha), Tenant: "demo", Origin: OriginAPI,
		ReceivedAt: received, ExpiresAt: ExpiresAt(received), ContentType: "image/jpeg", Bytes: 5, SHA256: sha,
		Blob:  Blob{"staging", StagingName(received, "0d9f2a6e-1a2b-4c3d-8e9f-001122334455")},
		Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
}

// The expected names were computed by Python's hashlib and base64.
func TestImageIDIsTheContractsFormula(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ tenant, bytes, want string }{
		{"demo", "hello", "img_5clepe7tihbyrkdal3y4ihi4ts"},
		{"other", "hello", "img_w3qd37rm2ezp3h5veggiwnfwl4"},
		{"demo", "", "img_rltygki56ejdmafstwug45k4ss"},
	} {
		if got := ImageID(c.tenant, sha256.Sum256([]byte(c.bytes))); got != c.want {
			t.Errorf("ImageID(%q, sha256(%q)) = %s, want %s", c.tenant, c.bytes, got, c.want)
		}
	}
}

func TestExpiresAtRoundsUpToTheSecond(t *testing.T) {
	t.Parallel()
	whole := received.Truncate(time.Second)
	if got, want := ExpiresAt(whole), whole.Add(168*time.Hour); !got.Equal(want) {
		t.Errorf("a whole second: %s, want %s", got, want)
	}
	if got, want := ExpiresAt(whole.Add(1)), whole.Add(168*time.Hour+time.Second); !got.Equal(want) {
		t.Errorf("a nanosecond later: %s, want %s", got, want)
	}
	east := received.In(time.FixedZone("east", 8*3600))
	if got := ExpiresAt(east); got.Location() != time.UTC || !got.Equal(ExpiresAt(received)) {
		t.Errorf("another zone gives %s", got)
	}
}

func TestNamesFollowTheUTCHourOfReceipt(t *testing.T) {
	t.Parallel()
	at := received.In(time.FixedZone("east", 8*3600))
	d := Derivative{Name: "thumbnail", Step: "thumbnail", Version: "1", ContentType: "image/jpeg"}
	for got, want := range map[string]string{
		StagingName(at, "u"):               "incoming/2026/11/23/10/u",
		RawName(at, "img_a", "image/jpeg"): "raw/2026/11/23/10/img_a.jpg",
		RawName(at, "img_a", "image/PNG"):  "raw/2026/11/23/10/img_a.png",
		RawName(at, "img_a", "x"):          "raw/2026/11/23/10/img_a.bin",
		DerivedName(at, "img_a", d):        "derived/2026/11/23/10/img_a/thumbnail@1/thumbnail.jpg",
		MetadataName(at, "img_a", 2):       "metadata/2026/11/23/10/img_a.2.json",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestValidNameKeepsOutWhatABlobNameMustNotHold(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"thumbnail", "a", "1.2.3", "gray-scale_2"} {
		if !ValidName(ok) {
			t.Errorf("%q refused", ok)
		}
	}
	for _, bad := range []string{"", ".", "..", "../a", "a/b", `a\b`, "A", "a b", "a\x00", "é", "%2e", strings.Repeat("a", 65)} {
		if ValidName(bad) {
			t.Errorf("%q accepted", bad)
		}
	}
}

func codecs(t *testing.T) map[string]*Codec {
	t.Helper()
	out := map[string]*Codec{}
	for _, spec := range []string{"", "mock://" + t.Name()} {
		c, err := NewCodec(spec)
		if err != nil {
			t.Fatal(err)
		}
		out[spec] = c
	}
	return out
}

func TestRecordsRoundTripInBothWireFormats(t *testing.T) {
	t.Parallel()
	bytes, width, ms := int64(5), int32(4000), int32(120)
	status := ImageStatus{
		ImageID: "img_a", Tenant: "demo", Status: StatusArchived, At: received, Attempt: 2,
		Error: "step watermark: exit 3", Receipt: "incoming/x", ExpiresAt: ExpiresAt(received), TenantClass: "standard",
		Origin: OriginFeed, Format: "jpeg", Bytes: &bytes, Width: &width, ProcessingMS: &ms, Duplicate: true,
		Archive: []ArchivedBlob{{"raw/x", "v1", 5}},
	}
	r, code := rawImage(), CodeStepFailed
	status.ErrorCode = &code
	processed := ProcessedImage{
		ImageID: r.ImageID, Tenant: r.Tenant, Origin: r.Origin, ReceivedAt: r.ReceivedAt, ExpiresAt: r.ExpiresAt,
		ContentType: r.ContentType, Bytes: r.Bytes, SHA256: r.SHA256, Blob: r.Blob, Trace: r.Trace, TenantClass: "standard", Source: "raw-images/0/7", Attempt: 1, StartedAt: received,
		Format: "jpeg", Width: 4000, Height: 3000, Frames: 1,
		Derivatives: []Derivative{{Name: "thumbnail", Step: "thumbnail", Version: "1", ContentType: "image/jpeg", Bytes: 9,
			SHA256: sha256.Sum256([]byte("t")), Width: 320, Height: 240, Blob: Blob{"staging", "incoming/t"}}},
		Steps: []StepResult{{"thumbnail", "1", ""}, {"watermark", "2", "exit 3"}},
	}
	for spec, c := range codecs(t) {
		b, err := c.EncodeRawImage(rawImage())
		check(t, spec, err)
		raw, err := c.DecodeRawImage(b)
		check(t, spec, err)
		same(t, spec, raw, rawImage())
		b, err = c.EncodeImageStatus(status)
		check(t, spec, err)
		s, err := c.DecodeImageStatus(b)
		check(t, spec, err)
		same(t, spec, s, status)
		b, err = c.EncodeProcessedImage(processed)
		check(t, spec, err)
		p, err := c.DecodeProcessedImage(b)
		check(t, spec, err)
		same(t, spec, p, processed)
		same(t, spec, p.Raw(), rawImage())
	}
}

func TestFirstBytesTellTheWireFormat(t *testing.T) {
	t.Parallel()
	cs := codecs(t)
	single, err := cs[""].EncodeRawImage(rawImage())
	check(t, "", err)
	confluent, err := cs["mock://"+t.Name()].EncodeRawImage(rawImage())
	check(t, "mock", err)
	if single[0] != 0xC3 || single[1] != 0x01 {
		t.Errorf("without a registry a value begins with % x", single[:2])
	}
	if confluent[0] != 0 || confluent[4] == 0 {
		t.Errorf("with a registry a value begins with % x", confluent[:5])
	}
	if _, err := cs["mock://"+t.Name()].DecodeRawImage(single); err != nil {
		t.Errorf("a reader with a registry refuses single-object encoding: %v", err)
	}
	other, err := NewCodec("mock://" + t.Name())
	check(t, "mock", err)
	if _, err := other.DecodeRawImage(confluent); err != nil {
		t.Errorf("another codec of the same registry: %v", err)
	}
}

// A reader must take what an older or newer writer said as far as it goes.
func TestRecordOfAnotherSchemaVersionIsTakenByName(t *testing.T) {
	t.Parallel()
	const older = `{"type":"record","name":"ImageStatus","namespace":"millrun.images","fields":[
		{"name":"tenant","type":"string"},{"name":"image_id","type":"string"},{"name":"status","type":"string"},
		{"name":"mood","type":"string"},{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}`
	name := t.Name()
	reg, err := avro.Open("mock://" + name)
	check(t, name, err)
	w, err := avro.For[map[string]any](older, avro.With(reg))
	check(t, name, err)
	b, err := w.Append(nil, map[string]any{
		"tenant": "demo", "image_id": "img_a", "status": "accepted", "mood": "good", "at": received},
		serde.Meta{Topic: TopicImageStatus})
	check(t, name, err)
	c, err := NewCodec("mock://" + name)
	check(t, name, err)
	got, err := c.DecodeImageStatus(b)
	check(t, name, err)
	if got.ImageID != "img_a" || got.Status != StatusAccepted || !got.At.Equal(received) || got.Bytes != nil {
		t.Errorf("read %+v", got)
	}
}

func TestForeignBytesAreUnreadable(t *testing.T) {
	t.Parallel()
	c := codecs(t)[""]
	good, err := c.EncodeRawImage(rawImage())
	check(t, "", err)
	lied := rawImage()
	lied.ImageID = "img_" + strings.Repeat("a", 26)
	for name, b := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "confluent without registry": {0, 0, 0, 0, 1, 2},
		"cut": good[:len(good)-9], "longer": append(append([]byte(nil), good...), 1),
	} {
		if _, err := c.DecodeRawImage(b); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for what, change := range map[string]func(*RawImage){
		"an image_id that does not follow": func(r *RawImage) { r.ImageID = lied.ImageID },
		"a tenant that cannot be":          func(r *RawImage) { r.Tenant = "../x" },
		"no blob":                          func(r *RawImage) { r.Blob.Name = "" },
		"a year beyond RFC 3339":           func(r *RawImage) { r.ExpiresAt = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"an expiry before the receipt":     func(r *RawImage) { r.ExpiresAt = r.ReceivedAt.Add(-time.Hour) },
		"an unknown origin":                func(r *RawImage) { r.Origin = "fax" },
		"a second header":                  func(r *RawImage) { r.ContentType = "image/png\r\nx-ms-meta-a: b" },
		"fewer than no bytes":              func(r *RawImage) { r.Bytes = -1 },
	} {
		r := rawImage()
		change(&r)
		b, err := c.EncodeRawImage(r)
		check(t, what, err)
		if _, err := c.DecodeRawImage(b); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s was accepted: %v", what, err)
		}
	}
	far, err := c.EncodeImageStatus(ImageStatus{ImageID: "img_a", Status: StatusArchived, At: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC), ExpiresAt: received})
	check(t, "", err)
	if _, err := c.DecodeImageStatus(far); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a status of the year 12000: %v", err)
	}
}

// A registry that is away says nothing about the record: it must not become a dead letter.
func TestRegistryThatIsAwayIsNotTheRecordsFault(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	c, err := NewCodec(down.URL)
	check(t, "", err)
	if _, err := c.EncodeRawImage(rawImage()); !errors.Is(err, ErrRegistry) {
		t.Errorf("encode: %v", err)
	}
	if _, err := c.DecodeRawImage([]byte{0, 0, 0, 0, 9, 1}); !errors.Is(err, ErrRegistry) || errors.Is(err, ErrUnreadable) {
		t.Errorf("decode: %v", err)
	}
}

func TestSchemaTheRegistryDoesNotKnowIsTheRecordsFault(t *testing.T) {
	t.Parallel()
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error_code":40403,"message":"Schema not found"}`))
	}))
	t.Cleanup(empty.Close)
	c, err := NewCodec(empty.URL)
	check(t, "", err)
	if _, err := c.DecodeRawImage([]byte{0, 0, 0, 0, 9, 1}); !errors.Is(err, ErrUnreadable) || errors.Is(err, ErrRegistry) {
		t.Errorf("decode: %v", err)
	}
}

func TestRegistryAddressIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := NewCodec("localhost:8081"); err == nil {
		t.Error("an address without a scheme was accepted")
	}
}

func TestTraceReplacesNonsense(t *testing.T) {
	t.Parallel()
	good := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if Trace(good) != good {
		t.Error("a valid traceparent was replaced")
	}
	for _, bad := range []string{"", "01" + good[2:], strings.ToUpper(good), good + "-x", "00-" + strings.Repeat("0", 32) + good[35:], "\r\n"} {
		if got := Trace(bad); !ValidTrace(got) || got == bad {
			t.Errorf("Trace(%q) = %q", bad, got)
		}
	}
	if a, b := NewTrace(), NewTrace(); a == b {
		t.Error("two traces are equal")
	}
}

func TestReachIsIdempotentAndKeepsOrder(t *testing.T) {
	t.Parallel()
	var i Image
	i.Reach(StatusAccepted, received)
	i.Reach(StatusProcessing, received.Add(time.Second))
	i.Reach(StatusAccepted, received)
	if i.Status != StatusProcessing || len(i.History) != 2 {
		t.Errorf("status %s, history %v", i.Status, i.History)
	}
	if at, ok := i.Reached(StatusProcessing); !ok || !at.Equal(received.Add(time.Second)) {
		t.Errorf("processing reached %s, %t", at, ok)
	}
}

func TestMomentsOfAnImageAreInOrderWhateverTheClockSays(t *testing.T) {
	t.Parallel()
	var i Image
	for _, now := range []time.Time{received, received, received.Add(-time.Hour), received.Add(time.Second)} {
		at := i.After(now)
		if n := len(i.History); n > 0 && !at.After(i.History[n-1].At) {
			t.Errorf("%s after %s", at, i.History[n-1].At)
		}
		i.Reach(StatusProcessing, at)
	}
	if got := i.History[3].At; !got.Equal(received.Add(time.Second)) {
		t.Errorf("a clock that moves on is not followed: %s", got)
	}
}

func TestImageFindsItsBlobsInTheArchive(t *testing.T) {
	t.Parallel()
	i := Image{ImageID: "img_a", ReceivedAt: received, ContentType: "image/png",
		Derivatives: []DerivativeView{{Name: "thumbnail", Step: "thumbnail", Version: "1", ContentType: "image/jpeg"}},
		Archive: []ArchivedBlob{{"raw/2026/11/23/10/img_a.png", "v1", 7},
			{"derived/2026/11/23/10/img_a/thumbnail@1/thumbnail.jpg", "v2", 3}}}
	b, err := MarshalImage(i)
	check(t, "", err)
	back, err := UnmarshalImage(b)
	check(t, "", err)
	if raw, ok := back.RawBlob(); !ok || raw.VersionID != "v1" {
		t.Errorf("original: %+v, %t", raw, ok)
	}
	if d, blob, ok := back.DerivativeBlob("thumbnail"); !ok || blob.VersionID != "v2" || d.ContentType != "image/jpeg" {
		t.Errorf("thumbnail: %+v %+v %t", d, blob, ok)
	}
	if _, _, ok := back.DerivativeBlob("nothing"); ok {
		t.Error("found a derivative that is not there")
	}
}

func FuzzDecode(f *testing.F) {
	c, err := NewCodec("")
	if err != nil {
		f.Fatal(err)
	}
	good, err := c.EncodeRawImage(rawImage())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0, 0, 0, 0, 1})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = c.DecodeRawImage(b)
		_, _ = c.DecodeImageStatus(b)
		_, _ = c.DecodeProcessedImage(b)
	})
}

func check(t *testing.T, name string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func same[T any](t *testing.T, name string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q:\n got %+v\nwant %+v", name, got, want)
	}
}
