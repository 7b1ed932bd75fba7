package httpin

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrun/millrun/internal/events"
)

// dial opens a connection of its own to the door.
func (d *door) dial() net.Conn {
	d.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		d.t.Fatal(err)
	}
	return c
}

// raw sends bytes as they are and reads the status of one answer, 0 when the connection was closed without one, and
// whether the connection is to be closed.
func (d *door) raw(request string) (status int, closed bool) {
	d.t.Helper()
	c := d.dial()
	if _, err := io.WriteString(c, request); err != nil {
		d.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, true
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Close
}

func TestAnEndlessBodyIsCutOffAtTheLimit(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Intake = mustIntake(t, c, 1<<20) })
	sent := &countingReader{r: io.MultiReader(bytes.NewReader(picture(1)), zeroReader{})}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+"/v1/images", sent)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", demoKey)
	resp, err := d.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || sent.n.Load() > 16<<20 {
		t.Errorf("%d after %d bytes", resp.StatusCode, sent.n.Load())
	}
	if d.staging.len() != 0 {
		t.Error("something was left in staging")
	}
}

func TestAFalseContentLengthDoesNotHoldTheDoorOpen(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.BodyTimeout = 500 * time.Millisecond })
	head := "POST /v1/images HTTP/1.1\r\nHost: x\r\nX-API-Key: " + demoKey + "\r\nContent-Type: image/png\r\n"
	if status, closed := d.raw(head + "Content-Length: 5000\r\n\r\n" + string(picture(1))); status != http.StatusRequestTimeout || !closed {
		t.Errorf("fewer bytes than told: %d, close %v", status, closed)
	}
	if status, _ := d.raw(head + "Content-Length: 99999999999\r\n\r\n"); status != http.StatusRequestEntityTooLarge {
		t.Errorf("more bytes than are accepted: %d", status)
	}
	for name, length := range map[string]string{"negative": "-1", "two": "5\r\nContent-Length: 6", "none": "x", "both": "5\r\nTransfer-Encoding: chunked"} {
		if status, _ := d.raw(head + "Content-Length: " + length + "\r\n\r\n"); status != 0 && status < 400 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, _ := d.raw(head + "\r\n"); status != http.StatusLengthRequired {
		t.Errorf("neither a length nor chunks: %d", status)
	}
	if d.staging.len() != 0 {
		t.Error("something was left in staging")
	}
}

// TestAPausingBodyIsNotWaitedFor: a connection that says nothing more costs little time, whoever holds it.
func TestAPausingBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.Stall = time.Second })
	for name, key := range map[string]string{"a stranger": nobodyKey, "a caller": demoKey} {
		c := d.dial()
		started := time.Now()
		if _, err := io.WriteString(c, "POST /v1/images HTTP/1.1\r\nHost: x\r\nX-API-Key: "+key+"\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		answered := time.Since(started)
		if _, err := r.ReadByte(); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
		if closed := time.Since(started); answered > 8*time.Second || closed > leftover+10*time.Second {
			t.Errorf("%s: answered after %s, closed after %s", name, answered, closed)
		}
	}
}

func TestAWholeBodyMayWaitForOurPartsLongerThanAPause(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.Stall = time.Second })
	gate := make(chan struct{})
	d.staging.set(func() { d.staging.slow, d.staging.late = gate, true })
	var r reply
	var request sync.WaitGroup
	request.Go(func() {
		r = d.do("POST", "/v1/images", demoKey, bytes.NewReader(picture(1)), "Content-Type", "image/png")
	})
	gate <- struct{}{}
	wait := time.NewTimer(3 * time.Second) // several pauses
	<-wait.C
	close(gate)
	request.Wait()
	if r.status != 202 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestTenThousandPartsAreRefusedWhole(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	var body bytes.Buffer
	content := picture(1)
	for i := range 10_000 {
		fmt.Fprintf(&body, "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"%d.png\"\r\n\r\n", i)
		body.Write(content)
		body.WriteString("\r\n")
	}
	body.WriteString("--b--\r\n")
	r := d.do("POST", "/v1/images", demoKey, &body, "Content-Type", "multipart/form-data; boundary=b")
	if checkProblem(t, r, "too-large", "/v1/images"); r.status != 413 {
		t.Errorf("%d", r.status)
	}
	d.until("the staged parts are removed", func() bool { return d.staging.len() == 0 })
	if n := len(d.records(events.TopicRawImages)); n != 0 {
		t.Errorf("%d records of a request that was refused", n)
	}
}

func TestHostileMultipartBodiesAreRefused(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	part := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.png\"\r\n"
	for name, body := range map[string]string{
		"an endless header":      part + "X: " + strings.Repeat("x", 11<<20),
		"very many headers":      part + strings.Repeat("X: y\r\n", 20_000) + "\r\n",
		"no closing boundary":    part + "\r\n" + string(picture(1)),
		"only a boundary":        "--b--\r\n",
		"a boundary in a header": "--b\r\nContent-Disposition: form-data; name=\"--b\r\n\r\n",
		"nothing":                "",
	} {
		r := d.do("POST", "/v1/images", demoKey, strings.NewReader(body), "Content-Type", "multipart/form-data; boundary=b")
		if r.status != 400 && r.status != 413 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if r := d.do("POST", "/v1/images", demoKey, strings.NewReader("x"), "Content-Type", "multipart/form-data; boundary="+strings.Repeat("b", 71)); r.status != 400 {
		t.Errorf("a boundary of 71 characters: %d", r.status)
	}
	if d.staging.len() != 0 {
		t.Error("something was left in staging")
	}
}

func TestCompressedBombsAreNotUnpacked(t *testing.T) {
	t.Parallel()
	d := openDoor(t, nil)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.Copy(z, zeros(16<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, header := range [][]string{{"Content-Encoding", "gzip", "Content-Type", "image/png"}, {"Content-Type", "image/png"}} {
		if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(bomb.Bytes()), header...); r.status != 415 {
			t.Errorf("%v: %d", header, r.status)
		}
	}
	zip := append([]byte("PK\x03\x04"), picture(1)...)
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(zip), "Content-Type", "image/png"); r.status != 415 {
		t.Errorf("a zip with an image in it: %d", r.status)
	}
	html := append([]byte("<html><script>alert(1)</script>"), picture(1)...)
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(html), "Content-Type", "image/png"); r.status != 415 {
		t.Errorf("a page with an image in it: %d", r.status)
	}
}

// TestHonestCallersAreServedDuringAnAttack holds many connections that say nothing or hardly anything.
func TestHonestCallersAreServedDuringAnAttack(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.BodyTimeout = patience })
	for i := range 300 {
		c := d.dial()
		request := "POST /v1/images HTTP/1.1\r\nHost: x\r\n"
		if i%2 == 0 {
			request += "X-API-Key: " + otherKey + "\r\nContent-Type: image/png\r\nContent-Length: 50000000\r\n\r\n" + string(picture(1)[:20])
		}
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
	}
	var slowest time.Duration
	for n := range 50 {
		started := time.Now()
		d.upload(demoKey, picture(n))
		slowest = max(slowest, time.Since(started))
	}
	t.Logf("slowest honest upload during the attack: %s", slowest)
	if slowest > 8*time.Second { // less than a pause
		t.Errorf("an honest upload took %s", slowest)
	}
}

// TestManyUploadsHoldLittleMemory sends large images at once; what is held must not grow with their size.
func TestManyUploadsHoldLittleMemory(t *testing.T) {
	// not parallel: it looks at the whole process' memory
	d := openDoor(t, nil)
	d.staging.set(func() { d.staging.discard = true })
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var uploads sync.WaitGroup
	for n := range 5 {
		uploads.Go(func() {
			body := io.MultiReader(bytes.NewReader(picture(n)), zeros(40<<20))
			if r := d.do("POST", "/v1/images", demoKey, body, "Content-Type", "image/png"); r.status != 202 {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	uploads.Wait()
	runtime.ReadMemStats(&now)
	if held := int64(now.Sys) - int64(before.Sys); held > 64<<20 {
		t.Errorf("200 MiB of uploads made the process grow by %d MiB", held>>20)
	}
}
