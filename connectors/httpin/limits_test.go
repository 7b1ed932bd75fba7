package httpin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

func TestRequestsAMinuteAreBoundedPerTenant(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.RequestsPerMinute = 20 })
	count := map[int]int{}
	var last reply
	for range 30 {
		last = d.do("GET", "/v1/images", []string{demoKey, readKey}[count[200]%2], nil)
		count[last.status]++
	}
	if count[200] != 20 || count[429] != 10 {
		t.Errorf("30 requests: %v", count)
	}
	checkProblem(t, last, "too-many-requests", "/v1/images")
	if s, err := strconv.Atoi(last.header.Get("Retry-After")); err != nil || s < 1 || s > 62 {
		t.Errorf("Retry-After %q", last.header.Get("Retry-After"))
	}
	if r := d.do("GET", "/v1/images", otherKey, nil); r.status != 200 {
		t.Errorf("another tenant: %d", r.status)
	}
	if r := d.do("GET", "/healthz", "", nil); r.status != 200 {
		t.Errorf("healthz: %d", r.status)
	}
}

func TestBytesAMinuteAreBoundedPerTenant(t *testing.T) {
	t.Parallel()
	b := picture(1)
	d := openDoor(t, func(c *Config) { c.Limits.BytesPerMinute = int64(3 * len(b)) })
	for i := range 3 {
		if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(b)); r.status != 202 {
			t.Fatalf("upload %d: %d %s", i, r.status, r.body)
		}
	}
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(b)); r.status != 429 || r.header.Get("Retry-After") == "" {
		t.Errorf("beyond the limit: %d", r.status)
	}
	if r := d.do("POST", "/v1/images", demoKey, io.MultiReader(bytes.NewReader(b))); r.status != 429 {
		t.Errorf("beyond the limit without a length: %d", r.status)
	}
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(make([]byte, 3*len(b)+1))); r.status != 413 {
		t.Errorf("more than a minute's bytes at once: %d", r.status)
	}
	if r := d.do("POST", "/v1/images", otherKey, bytes.NewReader(b)); r.status != 202 {
		t.Errorf("another tenant: %d", r.status)
	}
}

// TestWindowNeverLetsMoreThanItsLimitPass checks the counter against every minute of a random history.
func TestWindowNeverLetsMoreThanItsLimitPass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		limit := rapid.Int64Range(1, 20).Draw(rt, "limit")
		w := newWindows(limit, 10, func() time.Time { return now })
		var passed []time.Time
		for range rapid.IntRange(1, 200).Draw(rt, "events") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(rt, "step")))
			wait, ok := w.take("a", 1)
			if ok {
				passed = append(passed, now)
			} else if wait <= 0 || wait > 62*time.Second {
				rt.Fatalf("refused with a wait of %s", wait)
			} else {
				later := newWindows(limit, 10, func() time.Time { return now.Add(wait) })
				later.byName, later.recent = w.byName, w.recent
				if d, full := later.full("a"); full {
					rt.Fatalf("after the %s told it is %s more", wait, d)
				}
				now = now.Add(wait)
			}
		}
		for i := range passed {
			n := int64(0)
			for _, other := range passed[i:] {
				if other.Sub(passed[i]) < time.Minute {
					n++
				}
			}
			if n > limit {
				rt.Fatalf("%d passed within a minute, limit %d", n, limit)
			}
		}
	})
}

func TestWindowsForgetTheLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	w := newWindows(1, 100, func() time.Time { return now })
	for i := range 1000 {
		w.charge(fmt.Sprint(i), 1)
		w.charge("kept", 1)
	}
	if len(w.byName) != 100 || w.recent.Len() != 100 {
		t.Errorf("%d and %d windows are held", len(w.byName), w.recent.Len())
	}
	if _, full := w.full("kept"); !full {
		t.Error("one that was always used was forgotten")
	}
	if _, full := w.full("0"); full {
		t.Error("the oldest was not forgotten")
	}
}

func TestIdempotencyKeyGivesTheSameAnswerOnce(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	b := picture(1)
	send := func(key string, b []byte, header ...string) reply {
		return d.do("POST", "/v1/images", key, bytes.NewReader(b), append([]string{"Idempotency-Key", "k1"}, header...)...)
	}
	first := send(demoKey, b)
	again := send(demoKey, b)
	if first.status != 202 || again.status != 202 || !bytes.Equal(first.body, again.body) || again.header.Get("Location") == "" {
		t.Errorf("the same again: %d %s, %d %s", first.status, first.body, again.status, again.body)
	}
	if n := len(d.records(events.TopicRawImages)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	if n := d.staging.len(); n != 1 {
		t.Errorf("%d staged blobs, want 1", n)
	}
	other := send(demoKey, picture(2))
	if checkProblem(t, other, "idempotency-key-reused", "/v1/images"); other.status != 422 {
		t.Errorf("another body: %d", other.status)
	}
	if r := send(demoKey, []byte("no image")); r.status != 422 {
		t.Errorf("another body that is no image: %d %s", r.status, r.body)
	}
	if r := send(otherKey, picture(2)); r.status != 202 {
		t.Errorf("another tenant's key of that name: %d", r.status)
	}
	d.clock.Advance(keepAnswers)
	if r := send(demoKey, picture(2)); r.status != 202 {
		t.Errorf("a day later: %d %s", r.status, r.body)
	}
}

func TestIdempotencyKeyOfAMultipartBodyIgnoresTheBoundary(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	var bodies [][]byte
	for range 2 {
		body, ct := form(t, "a.png", picture(1), "b.txt", []byte("x"))
		r := d.do("POST", "/v1/images", demoKey, body, "Content-Type", ct, "Idempotency-Key", "k")
		if r.status != 207 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		bodies = append(bodies, r.body)
	}
	if !bytes.Equal(bodies[0], bodies[1]) {
		t.Errorf("%s\n%s", bodies[0], bodies[1])
	}
}

func TestIdempotencyKeyInFlightIsAConflict(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	gate := make(chan struct{})
	d.staging.set(func() { d.staging.slow = gate })
	var first reply
	var wait sync.WaitGroup
	wait.Go(func() {
		first = d.do("POST", "/v1/images", demoKey, bytes.NewReader(picture(1)), "Idempotency-Key", "k")
	})
	gate <- struct{}{} // the first is on its way to staging, and waits there again
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(picture(1)), "Idempotency-Key", "k"); r.status != http.StatusConflict || r.header.Get("Retry-After") == "" {
		t.Errorf("the second: %d %s", r.status, r.body)
	}
	close(gate)
	wait.Wait()
	if first.status != 202 {
		t.Errorf("the first: %d %s", first.status, first.body)
	}
}

func TestAnswersAreKeptWithinBounds(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(time.Unix(0, 0))
	a := newAnswers(c)
	take := func(key string) claim {
		r, err := http.NewRequest(http.MethodPost, "/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Idempotency-Key", key)
		held, p := a.claim(r, "a", "r")
		if p != nil {
			t.Fatal(p)
		}
		return held
	}
	body := bytes.Repeat([]byte("x"), 1<<20)
	for i := range 100 {
		take(fmt.Sprint(i)).settle(fingerprint{}, answer{body: body})
	}
	if a.bytes > mostAnswerBytes || len(a.byKey) != a.age.Len() {
		t.Errorf("%d bytes in %d answers are kept", a.bytes, len(a.byKey))
	}
	if take("99").earlier == nil {
		t.Error("the newest answer was forgotten")
	}
	dropped := take("dropped")
	dropped.drop()
	if held := take("dropped"); held.place == nil {
		t.Error("a dropped key is still taken")
	}
	c.Advance(keepAnswers)
	if take("99").earlier != nil {
		t.Error("an answer outlived its day")
	}
}

func TestWhenAPartIsAwayTheAnswerIs503AndNothingIsAccepted(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.Accept = 500 * time.Millisecond })
	d.staging.set(func() { d.staging.away = true })
	r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(picture(1)), "Idempotency-Key", "k")
	checkProblem(t, r, "unavailable", "/v1/images")
	if r.status != 503 || r.header.Get("Retry-After") == "" || len(d.records(events.TopicRawImages)) != 0 {
		t.Errorf("staging away: %d", r.status)
	}
	d.staging.set(func() { d.staging.away = false })
	fault := d.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	r = d.do("POST", "/v1/images", demoKey, bytes.NewReader(picture(1)), "Idempotency-Key", "k")
	checkProblem(t, r, "unavailable", "/v1/images")
	if r.status != 503 || r.header.Get("Retry-After") == "" || strings.Contains(string(r.body), "NOT_ENOUGH") {
		t.Errorf("Kafka away: %d %s", r.status, r.body)
	}
	body, ct := form(t, "a.png", picture(1), "b.txt", []byte("x"))
	if r := d.do("POST", "/v1/images", demoKey, body, "Content-Type", ct); r.status != 207 || !strings.Contains(string(r.body), `"status":503`) {
		t.Errorf("Kafka away, multipart: %d %s", r.status, r.body)
	}
	fault.Remove()
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(picture(1)), "Idempotency-Key", "k"); r.status != 202 {
		t.Errorf("back again, under the same key: %d %s", r.status, r.body)
	}
}
