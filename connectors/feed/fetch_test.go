package feed

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
)

// fixCRC makes the checksum of a PNG's header right.
func fixCRC(b []byte) []byte {
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

// loopback makes a bridge's fetcher dial this machine and trust the test's server.
func loopback(t *testing.T, b *Bridge, server *httptest.Server) {
	t.Helper()
	f, err := newFetcher(b.cfg.AllowURLs, func(a netip.Addr) bool { return a.IsLoopback() })
	if err != nil {
		t.Fatal(err)
	}
	f.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	b.fetch = f
}

func TestURLsAreFetchedOrTold(t *testing.T) {
	t.Parallel()
	var flaky, down atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/in/a.png", func(w http.ResponseWriter, _ *http.Request) { w.Write(picture(1)) })
	mux.HandleFunc("/in/flaky.png", func(w http.ResponseWriter, _ *http.Request) {
		if flaky.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Write(picture(2))
	})
	mux.HandleFunc("/in/down.png", func(w http.ResponseWriter, _ *http.Request) {
		down.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	mux.HandleFunc("/in/away.png", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/in/a.png", http.StatusFound) })
	mux.HandleFunc("/in/large.png", func(w http.ResponseWriter, _ *http.Request) {
		w.Write(picture(3))
		w.Write(make([]byte, 2<<20))
	})
	mux.HandleFunc("/in/text.png", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("no image")) })
	mux.HandleFunc("/in/cut.png", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		w.Write(picture(4))
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	r := openRig(t, func(c *Config) { c.AllowURLs, c.Tenant = []string{server.URL + "/in"}, "demo" })
	r.stop()
	b, err := New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	loopback(t, b, server)
	t.Cleanup(b.fetch.close)
	for path, want := range map[string]string{
		"/in/a.png": "", "/in/flaky.png": "", "/in/down.png": "url_failed", "/in/missing.png": "url_failed", "/in/away.png": "url_failed",
		"/in/large.png": "too_large", "/in/text.png": "unsupported_format", "/in/cut.png": "url_failed", "/out/a.png": "url_refused", "/in/../out": "url_refused",
	} {
		rec := value(jsonEnvelope(t, map[string]any{"url": server.URL + path}))
		rec.Topic, rec.Timestamp = events.TopicCompanyImages, b.cfg.Clock.Now()
		out, code, err := b.take(t.Context(), origin{}, rec)
		switch {
		case err != nil:
			t.Errorf("%s: %v", path, err)
		case want == "" && code != outcomeAccepted, want != "" && code != want:
			t.Errorf("%s: %s, want %s", path, code, want)
		case want == "" && string(out.Key) != events.ImageID("demo", sha256.Sum256(picture(map[string]int{"/in/a.png": 1, "/in/flaky.png": 2}[path]))):
			t.Errorf("%s: other bytes were taken", path)
		case strings.Contains(path, "down"):
			if info, _ := dlq.Parse(out.Headers); info.Attempts != fetchAttempts || down.Load() != fetchAttempts {
				t.Errorf("%s: %d attempts told, %d made", path, info.Attempts, down.Load())
			}
		}
	}
}

func TestOnlyPlainURLsInsideTheAllowListAreAsked(t *testing.T) {
	t.Parallel()
	f, err := newFetcher([]string{"https://img.example/in/", "https://cdn.example:8443"}, public)
	if err != nil {
		t.Fatal(err)
	}
	for _, ok := range []string{"https://img.example/in/a.png", "https://IMG.example/in/b/c.jpg?size=1", "https://cdn.example:8443/x"} {
		if _, err := f.allowed(ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{
		"http://img.example/in/a.png", "https://img.example/out/a.png", "https://img.example/inside", "https://img.example:444/in/a", "https://img.example.evil/in/a",
		"https://user@img.example/in/a", "https://img.example@evil/in/a", "https://img.example/in/../out", "https://img.example/in/%2e%2e/out", "https://img.example/in/%2E%2e%2fout",
		"https://img.example/in/..%5cout", "https://img.example/in/a\\b", "https://img.example/in//evil", "https://img.example/in/a#f", "file:///etc/passwd", "//img.example/in/a",
		"https://cdn.example/x", "https://[::1]/in/a", "", "https://", "gopher://img.example/in/a", "https://img.example\x00/in/a", "https://img.example/in/.%2e/out",
	} {
		if u, err := f.allowed(bad); err == nil {
			t.Errorf("%q would be asked as %s", bad, u)
		}
	}
}

func TestNamesThatLeadInwardsAreNotDialled(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the server was reached") }))
	t.Cleanup(server.Close)
	f, err := newFetcher([]string{server.URL}, public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	resp, err := f.get(t.Context(), server.URL+"/a.png")
	if err == nil {
		resp.Body.Close()
	}
	if no, ok := errors.AsType[*refusal](err); !ok || no.code != codeURLRefused {
		t.Errorf("%v, want a refusal", err)
	}
}

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"8.8.8.8", "20.60.1.1", "2606:4700::1", "::ffff:8.8.8.8"} {
		if !public(netip.MustParseAddr(in)) {
			t.Errorf("%s is public", in)
		}
	}
	for _, in := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "168.63.129.16",
		"198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "::10.0.0.1", "2001:db8::1",
	} {
		if public(netip.MustParseAddr(in)) {
			t.Errorf("%s is not public", in)
		}
	}
}
