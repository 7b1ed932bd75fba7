package httpin

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/clock"
)

// FuzzMultipart hands any body to the multipart path: it ends, stages what it says it has staged, and can tell about
// every part.
func FuzzMultipart(f *testing.F) {
	seed := func(parts ...string) []byte {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		if err := w.SetBoundary("b"); err != nil {
			f.Fatal(err)
		}
		for _, content := range parts {
			p, err := w.CreateFormFile("f", "a.png")
			if err != nil {
				f.Fatal(err)
			}
			if _, err := p.Write([]byte(content)); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	f.Add(seed(string(picture(1)), "text", string(photograph())))
	f.Add(seed())
	f.Add([]byte("--b\r\nContent-Disposition: form-data; filename*=utf-8''%2e%2e%2f\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=\r\n--b--"))
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		staging := &memStaging{blobs: map[string][]byte{}}
		in, err := intake.New(intake.Config{Staging: staging, MaxBytes: 1 << 16})
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{cfg: Config{Intake: in, Limits: Limits{Parts: 5}}, metrics: m}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		u := &uploading{s: s, c: &call{r: r}, received: time.Unix(0, 0), print: sha256.New(), release: func() {}}
		if err := u.takeParts(multipart.NewReader(bytes.NewReader(b), "b")); err == nil {
			outcomes := make([]outcome, len(u.parts))
			for i, p := range u.parts {
				outcomes[i].problem = p.problem
			}
			if a, err := u.results(outcomes); err != nil || !json.Valid(a.body) {
				t.Fatalf("the answer is %q, %v", a.body, err)
			}
		}
		staged := 0
		for _, p := range u.parts {
			if p.problem == nil {
				staged++
			}
		}
		if len(u.parts) > 5 || staging.len() != staged {
			t.Fatalf("%d parts, %d staged, %d in staging", len(u.parts), staged, staging.len())
		}
		if u.end(); staging.len() != 0 {
			t.Fatal("unclaimed bytes stay in staging")
		}
	})
}

// FuzzRequestWords hands any words to what reads header fields and queries: a problem or a value, and never a panic.
func FuzzRequestWords(f *testing.F) {
	f.Add("Bearer x", "sha-256=:AAAA:", "status=archived&cursor=e30", "192.0.2.1:1", "k")
	f.Add("bearer", "sha-256", "from=2026-11-23T10:00:00Z", "[::1%x]:1", "\x7f")
	f.Fuzz(func(t *testing.T, authorization, digest, query, remote, key string) {
		r := &http.Request{Header: http.Header{"Authorization": {authorization}, "Idempotency-Key": {key}, "X-Request-Id": {key}}, RemoteAddr: remote}
		if k, p := presentedKey(r); (p == nil) == (k == "") {
			t.Fatalf("key %q with %v", k, p)
		}
		if d, p := contentDigest([]string{digest}); d != nil && (p != nil || len(d) != sha256.Size) {
			t.Fatalf("digest of %d bytes with %v", len(d), p)
		}
		if client := clientOf(remote); len(client) > len(remote)+len("::/64") {
			t.Fatalf("%q is counted as %q", remote, client)
		}
		if id := requestID(r); id == "" || len(id) > 64 {
			t.Fatalf("request id %q", id)
		}
		if values, err := url.ParseQuery(query); err == nil {
			if f, p := parseFilter(values); p == nil && f.after != nil {
				if _, err := writeCursor(f.after); err != nil {
					t.Fatal(err)
				}
			}
		}
		held, p := newAnswers(clock.NewManual(time.Unix(0, 0))).claim(r, "a", "r")
		if (p == nil) != validKey(key) {
			t.Fatalf("Idempotency-Key %q: %v", key, p)
		}
		held.drop()
	})
}
