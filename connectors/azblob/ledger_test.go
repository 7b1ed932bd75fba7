package azblob

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
)

func stored(n string) Line {
	return Line{Action: ActionStored, Scope: ScopeArchive, Image: n, Hour: "2026-11-23-10", ExpiresAt: origin.Add(week), Count: 1}
}

func TestLedgerGoesOnWhereAnotherProcessStopped(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.ledger()
	ok(t, l.Append(ctx, stored("a"), stored("b")))
	r.clock.Advance(48 * time.Hour)
	ok(t, r.ledger().Append(ctx, stored("c")))
	var names []string
	for _, e := range r.entries("ledger") {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != "2026/11/23/000000000001.jsonl 2026/11/25/000000000003.jsonl" {
		t.Fatalf("files %s", got)
	}
	if c := r.check(); c.Lines != 3 {
		t.Fatalf("%+v", c)
	}
	ok(t, l.Append(ctx)) // nothing
}

func TestSecondWriterOfTheLedgerIsFoundOut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first, second := r.ledger(), r.ledger()
	ok(t, first.Append(ctx, stored("a")))
	if err := second.Append(ctx, stored("b")); !errors.Is(err, ErrLedgerMoved) {
		t.Fatalf("got %v", err)
	}
	if err := second.Append(ctx, stored("b")); !errors.Is(err, ErrLedgerMoved) {
		t.Fatalf("it went on without reading again: %v", err)
	}
	ok(t, second.Reload(ctx))
	ok(t, second.Append(ctx, stored("b")))
	if c := r.check(); c.Lines != 2 {
		t.Fatalf("%+v", c)
	}
}

func TestAppendWhoseAnswerIsLostIsNotWrittenTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, p := r.archive(), r.purger(nil)
	r.put(a, r.object("bytes"))
	lose := func(q *http.Request) bool { return q.Method == http.MethodPut }
	r.cut.after.Store(&lose)
	if _, err := p.Pass(ctx); err == nil {
		t.Fatal("the pass did not notice")
	}
	r.cut.after.Store(nil)
	r.pass(p)
	if got := actions(t, r); got != "stored" {
		t.Fatalf("the ledger says %q", got)
	}
}

func TestBrokenChainIsFound(t *testing.T) {
	t.Parallel()
	const first, second = "2026/11/23/000000000001.jsonl", "2026/11/23/000000000003.jsonl"
	for name, tamper := range map[string]func(*rig){
		"a line is changed": func(r *rig) {
			r.overwrite("ledger", first, strings.Replace(content(r, first), `"count":1`, `"count":2`, 1))
		},
		"a line is removed": func(r *rig) {
			_, rest, _ := strings.Cut(content(r, first), "\n")
			r.overwrite("ledger", first, rest)
		},
		"a file is removed": func(r *rig) {
			_, err := r.account.Container("ledger").NewBlobClient(first).Delete(ctx, nil)
			ok(r.t, err)
		},
		"a line is half":        func(r *rig) { r.overwrite("ledger", second, strings.TrimSuffix(content(r, second), "}\n")) },
		"a file is put between": func(r *rig) { r.overwrite("ledger", "2026/11/23/000000000002.jsonl", content(r, first)) },
		"lines change places": func(r *rig) {
			a, b, _ := strings.Cut(strings.TrimSuffix(content(r, first), "\n"), "\n")
			r.overwrite("ledger", first, b+"\n"+a+"\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			l := r.ledger()
			ok(t, l.Append(ctx, stored("a"), stored("b")))
			ok(t, l.Append(ctx, stored("c")))
			tamper(r)
			if c := r.check(); len(c.Problems) == 0 || !strings.Contains(c.Problems[0], "chain") {
				t.Fatalf("%+v", c)
			}
			if _, err := OpenLedger(ctx, r.account, r.ledgerConfig()); !errors.Is(err, errChain) {
				t.Fatalf("the purger would go on: %v", err)
			}
		})
	}
}

func content(r *rig, name string) string {
	r.t.Helper()
	resp, err := r.account.Container("ledger").NewBlobClient(name).DownloadStream(ctx, nil)
	ok(r.t, err)
	return text(r.t, resp.Body, nil)
}

func TestCheckFindsWhatContradictsTheLedger(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(*rig, *Archive, *Ledger, Object)
		want string
	}{
		"called purged and still there": {func(r *rig, _ *Archive, l *Ledger, o Object) {
			r.clock.Advance(week)
			line := stored(l.HMAC("demo", o.ImageID))
			line.Action = ActionPurged
			ok(r.t, l.Append(ctx, line))
		}, "is called purged"},
		"overdue": {func(r *rig, _ *Archive, _ *Ledger, _ Object) { r.clock.Advance(week + grace + time.Second) }, "is still there"},
		"purged too early": {func(r *rig, _ *Archive, l *Ledger, _ Object) {
			line := stored("somebody")
			line.Action = ActionPurged
			ok(r.t, l.Append(ctx, line))
		}, "before it was due"},
		"gone too early": {func(r *rig, _ *Archive, l *Ledger, _ Object) { ok(r.t, l.Append(ctx, stored("somebody"))) }, "and is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			a := r.archive()
			o := r.object("bytes")
			r.put(a, o)
			r.pass(r.purger(nil))
			if before := r.check(); len(before.Problems) != 0 {
				t.Fatalf("before: %+v", before)
			}
			c.act(r, a, r.ledger(), o)
			after := r.check()
			if len(after.Problems) != 1 || !strings.Contains(after.Problems[0], c.want) {
				t.Fatalf("%+v, want one problem with %q", after, c.want)
			}
			if strings.Contains(strings.Join(after.Problems, " "), o.ImageID) {
				t.Fatal("the report names the image")
			}
		})
	}
}

func TestLedgerNamesNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, p := r.archive(), r.purger(nil)
	o := r.object("bytes")
	r.put(a, o)
	r.pass(p)
	r.clock.Advance(week)
	r.pass(p)
	all := ""
	for _, e := range r.entries("ledger") {
		all += content(r, e.Name)
	}
	for _, secret := range []string{o.ImageID, o.SHA256, `"demo"`, string(hmacKey), "raw-images"} {
		if strings.Contains(all, secret) {
			t.Errorf("the ledger holds %q: %s", secret, all)
		}
	}
	if !strings.Contains(all, r.ledger().HMAC("demo", o.ImageID)) {
		t.Errorf("the ledger does not name the image: %s", all)
	}
}

// HMAC-SHA256("a secret for the ledger's HMACs", "demo" 0x00 "img_1"), computed by openssl dgst.
func TestHMACIsTheContractsFormula(t *testing.T) {
	t.Parallel()
	const want = "749fe3da8deb5b438018ac2333ec2cc73c7f944d8d16992924b1a10c062c760d"
	if got := imageHMAC(hmacKey, "demo", "img_1"); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestShortHMACKeyIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := OpenLedger(ctx, r.account, LedgerConfig{Container: "ledger", Key: []byte("short")}); err == nil {
		t.Fatal("a key of 5 bytes was accepted")
	}
}

func TestErrorsHoldNeitherNamesNorSecrets(t *testing.T) {
	t.Parallel()
	for _, connection := range []string{"AccountName=x;AccountKey=c2VjcmV0IGtleSBmb3IgdGVzdHM=?", "no connection string with c2VjcmV0"} {
		if _, err := Connect(Options{ConnectionString: connection}); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := Connect(Options{ConnectionString: "a", URL: "b"}); err == nil {
		t.Error("two ways at once were accepted")
	}
	r := newRig(t)
	ok(t, r.account.Ping(ctx))
	c := r.account.Container("nowhere").NewBlockBlobClient("raw/2026/11/23/10/img_secret.jpg")
	_, err := c.Upload(ctx, streaming.NopCloser(strings.NewReader("x")), nil)
	if got := brief(err).Error(); strings.Contains(got, "img_secret") || !strings.Contains(got, "404 ContainerNotFound") {
		t.Errorf("got %q", got)
	}
	ok(t, r.server.Close())
	_, err = c.Upload(ctx, streaming.NopCloser(strings.NewReader("x")), nil)
	if got := brief(err).Error(); err == nil || strings.Contains(got, "img_secret") {
		t.Errorf("got %q", got)
	}
}

func TestMemoryOfPurgesFollowsTheLedger(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	l := r.ledger()
	purged := func(id string) Line {
		line := stored(l.HMAC("demo", id))
		line.Action = ActionPurged
		return line
	}
	var said []string
	cfg := r.ledgerConfig()
	cfg.Log = slog.New(slog.NewTextHandler(writer(func(p []byte) { said = append(said, string(p)) }), nil))
	set := NewPurgedSet(r.account, cfg)
	ok(t, l.Append(ctx, purged("img_1")))
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- set.Run(run, 5*time.Millisecond) }()
	known := func(id string) func() bool {
		return func() bool { _, is := set.PurgedAt("demo", id); return is }
	}
	waitFor(t, known("img_1"))
	r.clock.Advance(9 * 24 * time.Hour) // over days without files
	away := func(*http.Request) bool { return true }
	r.cut.before.Store(&away)
	waitFor(t, func() bool { return set.Refresh(ctx) != nil })
	r.cut.before.Store(nil)
	ok(t, l.Append(ctx, purged("img_2")))
	waitFor(t, known("img_2"))
	ok(t, l.Append(ctx, purged("img_3"))) // another file of the same day
	waitFor(t, known("img_3"))
	if !known("img_1")() {
		t.Fatal("the first purge is forgotten")
	}
	stop()
	ok(t, <-done)
	for _, line := range said {
		if strings.Contains(line, "ledger/2026") {
			t.Errorf("the log says %q", line)
		}
	}
	if err := NewPurgedSet(r.account, LedgerConfig{Container: "ledger"}).Refresh(ctx); err == nil {
		t.Fatal("a set without a key was refreshed")
	}
}

// writer is an io.Writer that calls a function.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
