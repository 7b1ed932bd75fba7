package feed

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/serde/avro"
)

// FuzzEnvelope opens any value: content with either bytes or a url, or a refusal; without a registry nothing else can
// happen.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte(`{"tenant":"demo","filename":"x","content_type":"image/png","data":"AAAA"}`))
	f.Add([]byte(`{"url":"https://x/"}`))
	f.Add([]byte{0, 0, 0, 0, 1, 2, 8, 'd', 'e', 'm', 'o'})
	s, err := avro.For[envelope](schemaText)
	if err != nil {
		f.Fatal(err)
	}
	b, err := s.Append(nil, envelope{Tenant: new("demo"), Data: picture(1)}, serde.Meta{Topic: events.TopicCompanyImages, Headers: &serde.Headers{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	o, err := newOpener(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := o.open(&kgo.Record{Topic: events.TopicCompanyImages, Value: b})
		if err != nil {
			if no, ok := errors.AsType[*refusal](err); !ok || no.code != codeEnvelope {
				t.Fatalf("%v", err)
			}
			return
		}
		if c.url != "" && c.data != nil {
			t.Fatal("both bytes and a url")
		}
		if len(c.data) > len(b) {
			t.Fatalf("%d bytes came out of %d", len(c.data), len(b))
		}
	})
}

// FuzzURL tries to leave the allow-list.
func FuzzURL(f *testing.F) {
	for _, s := range []string{"https://img.example/in/a.png", "https://img.example/in/../x", "https://img.example\\@evil/in/", "https://img.example/in/%2e%2e/", "HTTPS://IMG.EXAMPLE/in/a", "https://[::1]/in/"} {
		f.Add(s)
	}
	fetch, err := newFetcher([]string{"https://img.example/in/"}, func(netip.Addr) bool { return false })
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := fetch.allowed(raw)
		if err != nil {
			return
		}
		again, err := url.Parse(u.String()) // what is sent
		if err != nil || again.Scheme != "https" || !strings.EqualFold(again.Host, "img.example") || again.User != nil {
			t.Fatalf("%q is sent as %v (%v)", raw, again, err)
		}
		if p := again.Path; p != "/in/" && (!strings.HasPrefix(p, "/in/") || strings.Contains(p, "/../") || strings.HasSuffix(p, "/..")) {
			t.Fatalf("%q leads to %q", raw, p)
		}
	})
}
