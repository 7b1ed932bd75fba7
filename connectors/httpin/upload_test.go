package httpin

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/events"
)

// hollowPNG is a valid PNG header of that size with hardly anything behind it.
func hollowPNG(width, height uint32) []byte {
	ihdr := append([]byte("IHDR"), 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(ihdr[4:], width)
	binary.BigEndian.PutUint32(ihdr[8:], height)
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	b = append(b, ihdr...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(ihdr))
}

// form is a multipart body of named files; a name without a dot is a field.
func form(t *testing.T, files ...any) (body *bytes.Buffer, contentType string) {
	t.Helper()
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for i := 0; i < len(files); i += 2 {
		name, content := files[i].(string), files[i+1].([]byte)
		h := textproto.MIMEHeader{}
		h.Set("Content-Disposition", `form-data; name="f"`)
		if strings.Contains(name, ".") {
			h.Set("Content-Disposition", `form-data; name="f"; filename="`+name+`"`)
		}
		part, err := w.CreatePart(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return body, w.FormDataContentType()
}

func TestAcceptedMeansStagedAndAcknowledged(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.PublicURL = "https://images.example" })
	b := photograph()
	r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(b), "Content-Type", "text/jpeg; x=y", "Content-Type", "image/jpeg")
	if r.status != http.StatusAccepted {
		t.Fatalf("%d %s", r.status, r.body)
	}
	sum := sha256.Sum256(b)
	id := events.ImageID("demo", sum)
	got := r.json(t)
	for name, want := range map[string]any{
		"image_id": id, "status": "accepted", "status_url": "https://images.example/v1/images/" + id, "sha256": hexDigest(sum),
		"bytes": float64(len(b)), "content_type": "image/jpeg", "duplicate": false, "expires_at": "2026-11-30T10:00:00Z",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if l := r.header.Get("Location"); l != "/v1/images/"+id {
		t.Errorf("Location %q", l)
	}
	records := d.records(events.TopicRawImages)
	if len(records) != 1 {
		t.Fatalf("%d records in raw-images, want 1", len(records))
	}
	raw, err := d.server.cfg.Codec.DecodeRawImage(records[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	if string(records[0].Key) != id || raw.ImageID != id || raw.Tenant != "demo" || raw.Origin != "api" || raw.Bytes != int64(len(b)) || !events.ValidTrace(raw.Trace) {
		t.Errorf("record %q: %+v", records[0].Key, raw)
	}
	if !regexp.MustCompile(`^incoming/2026/11/23/10/[0-9a-f-]{36}$`).MatchString(raw.Blob.Name) || raw.Blob.Container != "staging" {
		t.Errorf("staging blob %+v", raw.Blob)
	}
	if !bytes.Equal(d.staging.get(raw.Blob.Name), b) {
		t.Error("the staged bytes are not those that were sent")
	}
}

// TestEveryAnswerOfAnUpload has one row for each status that POST /v1/images may give but 202 and those of storages
// that are away.
func TestEveryAnswerOfAnUpload(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) {
		c.Intake = mustIntake(t, c, 64<<10)
	})
	png := picture(1)
	large := append(bytes.Clone(png), make([]byte, 64<<10)...)
	parts, partsType := form(t, "a.png", png, "note.txt", []byte("no image"), "field", []byte("x"))
	rows := []struct {
		name   string
		key    string
		body   []byte
		header []string
		status int
		kind   string
	}{
		{"no key", "", png, nil, 401, "unauthenticated"},
		{"an unknown key", nobodyKey, png, nil, 401, "unauthenticated"},
		{"a key that may only read", readKey, png, nil, 403, "forbidden"},
		{"a team's key", salesKey, png, nil, 403, "forbidden"},
		{"no body at all", demoKey, nil, []string{"Content-Type", "image/png"}, 400, "malformed"},
		{"a text file called .jpg", demoKey, []byte("this is not a photograph"), []string{"Content-Type", "image/jpeg"}, 415, "unsupported-media-type"},
		{"a media type that is none of ours", demoKey, png, []string{"Content-Type", "application/json"}, 415, "unsupported-media-type"},
		{"a content coding", demoKey, png, []string{"Content-Encoding", "gzip"}, 415, "unsupported-media-type"},
		{"a Content-Type that cannot be read", demoKey, png, []string{"Content-Type", "image/"}, 400, "malformed"},
		{"a JPEG that ends in its header", demoKey, photograph()[:100], []string{"Content-Type", "image/jpeg"}, 422, "undecodable"},
		{"a PNG without pixels", demoKey, hollowPNG(0, 10), nil, 422, "undecodable"},
		{"a PNG of 20,000 × 20,000", demoKey, append(hollowPNG(20_000, 20_000), make([]byte, 48<<10)...), nil, 422, "undecodable"},
		{"a side beyond 20,000", demoKey, hollowPNG(20_001, 1), nil, 422, "undecodable"},
		{"a byte too many", demoKey, large, nil, 413, "too-large"},
		{"another digest", demoKey, png, []string{"Content-Digest", "sha-256=:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + ":"}, 400, "digest-mismatch"},
		{"a digest that is none", demoKey, png, []string{"Content-Digest", "sha-256=abc"}, 400, "malformed"},
		{"an Idempotency-Key that is none", demoKey, png, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "malformed"},
		{"a multipart body without boundary", demoKey, png, []string{"Content-Type", "multipart/form-data"}, 400, "malformed"},
		{"a multipart body that is none", demoKey, png, []string{"Content-Type", "multipart/form-data; boundary=x"}, 400, "malformed"},
		{"two parts of which one is an image", demoKey, parts.Bytes(), []string{"Content-Type", partsType}, 207, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := d.do("POST", "/v1/images", row.key, bytes.NewReader(row.body), append([]string{"Content-Type", "image/png"}, row.header...)...)
			if r.status != row.status {
				t.Fatalf("status %d, want %d: %s", r.status, row.status, r.body)
			}
			if row.kind != "" {
				checkProblem(t, r, row.kind, "/v1/images")
			}
		})
	}
	if n := d.staging.len(); n != 1 {
		t.Errorf("%d staged blobs, want that of the one accepted part", n)
	}
	if n := len(d.records(events.TopicRawImages)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func mustIntake(t *testing.T, c *Config, most int64) *intake.Intake {
	t.Helper()
	in, err := intake.New(intake.Config{Staging: c.Intake.Staging(), MaxBytes: most})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// checkProblem holds an answer against RFC 9457 and our members.
func checkProblem(t *testing.T, r reply, kind, instance string) {
	t.Helper()
	p := r.json(t)
	if ct := r.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type %q", ct)
	}
	if p["type"] != "urn:millrun:problem:"+kind || p["status"] != float64(r.status) || p["title"] == "" || p["detail"] == "" {
		t.Errorf("problem %v, want kind %s", p, kind)
	}
	if p["instance"] != instance || p["request_id"] != r.header.Get("X-Request-ID") || p["request_id"] == "" {
		t.Errorf("instance %v, request_id %v", p["instance"], p["request_id"])
	}
	if after := r.header.Get("Retry-After"); after != "" && p["retry_after"] == nil {
		t.Errorf("Retry-After %s but no retry_after", after)
	}
}

func TestTheHeaderOfABombIsRefusedBeforeItsBody(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	sent := &countingReader{r: io.MultiReader(bytes.NewReader(hollowPNG(20_000, 20_000)), zeros(40<<20))}
	r := d.do("POST", "/v1/images", demoKey, sent, "Content-Type", "image/png")
	if r.status != 422 || !strings.Contains(string(r.body), "20000 × 20000") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if n := sent.n.Load(); n > 8<<20 {
		t.Errorf("%d bytes were taken for a header", n)
	}
}

func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// countingReader counts what is read; the client's own goroutine may go on reading after the answer.
type countingReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestDuplicateKeepsTheFirstReceiptsExpiry(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	b := picture(2)
	d.upload(demoKey, b)
	d.clock.Advance(time.Hour)
	again := d.do("POST", "/v1/images", demoKey, bytes.NewReader(b), "Content-Type", "image/png").json(t)
	if again["duplicate"] != true || again["expires_at"] != "2026-11-30T10:00:00Z" {
		t.Errorf("second receipt: %v", again)
	}
	if other := d.do("POST", "/v1/images", otherKey, bytes.NewReader(b), "Content-Type", "image/png").json(t); other["duplicate"] != false {
		t.Errorf("another tenant's first receipt: %v", other)
	}
	if n := len(d.records(events.TopicRawImages)); n != 3 {
		t.Errorf("%d records, want every receipt: the worker decides which is the first", n)
	}
}

func TestSameBytesAfterTheirEndBeginAnew(t *testing.T) {
	t.Parallel()
	for _, end := range []events.Status{events.StatusRejected, events.StatusFailed} {
		d := openDoor(t, nil)
		b := picture(3)
		id := d.upload(demoKey, b)
		image := d.image("demo", b)
		d.clock.Advance(time.Minute)
		image.Reach(end, d.clock.Now())
		d.say(image)
		d.until("the end is seen", func() bool { return d.server.view.look("demo", id).item.status == end })
		d.clock.Advance(time.Minute)
		again := d.do("POST", "/v1/images", demoKey, bytes.NewReader(b), "Content-Type", "image/png").json(t)
		if again["duplicate"] != false || again["expires_at"] != "2026-11-30T10:02:00Z" {
			t.Errorf("after %s: %v", end, again)
		}
		if got := d.do("GET", "/v1/images/"+id, demoKey, nil).json(t); got["status"] != "accepted" {
			t.Errorf("the new life after %s is shown as %v", end, got["status"])
		}
	}
}

func TestMultipartTakesAllPartsOrTellsWhichNot(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	body, ct := form(t, "a.png", picture(1), "b.png", picture(2), "again.png", picture(1))
	r := d.do("POST", "/v1/images", demoKey, body, "Content-Type", ct)
	if r.status != 202 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	results := r.json(t)["results"].([]any)
	if len(results) != 3 {
		t.Fatalf("%d results", len(results))
	}
	for i, name := range []string{"a.png", "b.png", "again.png"} {
		e := results[i].(map[string]any)
		if e["name"] != name || e["status"] != float64(202) || e["duplicate"] != (i == 2) {
			t.Errorf("result %d: %v", i, e)
		}
	}
	body, ct = form(t, "c.png", picture(3), "text.jpg", []byte("not an image"), "cut.jpg", photograph()[:50], "empty.png", []byte{})
	r = d.do("POST", "/v1/images", demoKey, body, "Content-Type", ct)
	if r.status != 207 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for i, want := range []float64{202, 415, 422, 400} {
		e := r.json(t)["results"].([]any)[i].(map[string]any)
		if e["status"] != want {
			t.Errorf("part %d: %v, want %v", i, e, want)
		}
		if want != 202 && (e["type"] == nil || e["detail"] == nil) {
			t.Errorf("part %d is no problem: %v", i, e)
		}
	}
	if n := d.staging.len(); n != 4 {
		t.Errorf("%d staged blobs, want 4", n)
	}
}

func TestMultipartThatBreaksOffAcceptsNothing(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	whole, ct := form(t, "a.png", picture(1), "b.png", picture(2))
	cut := whole.Bytes()[:whole.Len()-30]
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(cut), "Content-Type", ct); r.status != 400 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if n := d.staging.len(); n != 0 {
		t.Errorf("%d staged blobs are left", n)
	}
	if n := len(d.records(events.TopicRawImages)); n != 0 {
		t.Errorf("%d records", n)
	}
}

func TestContentDigestIsVerified(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	b := picture(4)
	sum := sha256.Sum256(b)
	digest := "sha-512=:AAAA:, sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(b), "Content-Digest", digest); r.status != 202 {
		t.Errorf("%d %s", r.status, r.body)
	}
	body, ct := form(t, "a.png", b)
	sum = sha256.Sum256(body.Bytes())
	digest = "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(body.Bytes()), "Content-Type", ct, "Content-Digest", digest); r.status != 202 {
		t.Errorf("multipart: %d %s", r.status, r.body)
	}
}
