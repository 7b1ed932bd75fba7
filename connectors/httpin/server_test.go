package httpin

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestAPanicIsOneProblemAndOneLineInTheLog(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	rt := &route{method: "GET", pattern: "/boom", do: func(*Server, *call) error { panic("a broken invariant") }}
	w := httptest.NewRecorder()
	d.server.handle(rt).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/boom", nil))
	r := reply{w.Code, w.Header(), w.Body.Bytes()}
	if checkProblem(t, r, "internal", "/boom"); r.status != 500 || strings.Contains(string(r.body), "broken invariant") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if n := strings.Count(d.log.String(), "a broken invariant"); n != 1 {
		t.Errorf("the panic is told %d times in the log", n)
	}
}

func TestAnAnswerThatBreaksOffIsNotMistakenForAWhole(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	rt := &route{method: "GET", pattern: "/half", do: func(_ *Server, c *call) error {
		if _, err := c.w.Write([]byte("half")); err != nil {
			return err
		}
		return errors.New("the rest is missing")
	}}
	server := httptest.NewServer(d.server.handle(rt))
	t.Cleanup(server.Close)
	resp, err := server.Client().Get(server.URL)
	if err == nil {
		_, err = new(bytes.Buffer).ReadFrom(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("the caller took half an answer for a whole one")
	}
}

func TestStoppingLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	gate := make(chan struct{})
	d.staging.set(func() { d.staging.slow = gate })
	var r reply
	var request sync.WaitGroup
	request.Go(func() {
		r = d.do("POST", "/v1/images", demoKey, bytes.NewReader(picture(1)), "Content-Type", "image/png")
	})
	gate <- struct{}{}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		d.stop()
	}()
	d.until("no new connection is taken", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-stopped:
		t.Error("the server stopped before its request was answered")
	default:
	}
	close(gate)
	request.Wait()
	<-stopped
	if r.status != 202 {
		t.Errorf("the request under way: %d %s", r.status, r.body)
	}
}

func TestARequestThatDoesNotEndIsReported(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.Drain = 100 * time.Millisecond })
	s, err := New(func() Config { c := d.server.cfg; c.Registry = nil; return c }())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("POST /v1/images HTTP/1.1\r\nHost: x\r\nX-API-Key: " + demoKey + "\r\nContent-Length: 1000\r\n\r\nx")); err != nil {
		t.Fatal(err)
	}
	d.until("the request is under way", func() bool { return strings.Contains(string(promText(s)), "millrun_http_in_flight 2") }) // the page itself is one
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "still under way") {
		t.Errorf("serve: %v", err)
	}
}

// promText is the metrics page.
func promText(s *Server) []byte {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.Bytes()
}

func TestConfigurationTellsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(Config{PublicURL: "images.example", Tenants: map[string]string{"No Tenant": ""}, Limits: Limits{Parts: -1}})
	for _, want := range []string{"Archive", "Codec", "Intake", "Kafka", "PublicURL", `"No Tenant"`, "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not among the faults: %v", want, err)
		}
	}
	twice := Key{Name: "a", SHA256: digestOf("k")}
	if _, err := New(Config{Keys: []Key{twice, twice}}); !strings.Contains(err.Error(), "the same key") {
		t.Errorf("a key given twice: %v", err)
	}
}

func TestAServerThatIsNotServedCloses(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	cfg := d.server.cfg
	cfg.Registry, cfg.Kafka = nil, []kgo.Opt{kgo.SeedBrokers("127.0.0.1:1")}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestTheLogHoldsNothingPersonal(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	body, ct := form(t, "jane-doe-passport.png", picture(1))
	r := d.do("POST", "/v1/images", demoKey, body, "Content-Type", ct)
	id := r.json(t)["results"].([]any)[0].(map[string]any)["image_id"].(string)
	d.do("GET", "/v1/images/"+id, demoKey, nil)
	d.do("GET", "/v1/images/"+id+"/content", demoKey, nil)
	d.do("GET", "/v1/images/"+id+"?email=jane@example.com", otherKey, nil)
	log := d.log.String()
	for _, secret := range []string{"jane", id, demoKey, otherKey, "127.0.0.1"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if !strings.Contains(log, `"route":"/v1/images/{id}"`) || !strings.Contains(log, `"key":"demo"`) || !strings.Contains(log, `"request_id"`) {
		t.Errorf("the log says too little:\n%s", log)
	}
}
