package azblob

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/blobd"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/internal/real"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx       = context.Background()
	origin    = time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)
	accessKey = base64.StdEncoding.EncodeToString([]byte("a key for tests, thirty-two byte"))
	hmacKey   = []byte("a secret for the ledger's HMACs")
)

// cutter is a transport that a test can break: it fails requests for which cut says so, before or after the server has
// had them.
type cutter struct {
	next   *http.Client
	before atomic.Pointer[func(*http.Request) bool]
	after  atomic.Pointer[func(*http.Request) bool]
	answer atomic.Pointer[func(*http.Response)] // changes what the client gets to see
}

var errCut = errors.New("the test has cut the connection")

// Do implements policy.Transporter.
func (c *cutter) Do(r *http.Request) (*http.Response, error) {
	if f := c.before.Load(); f != nil && (*f)(r) {
		return nil, errCut
	}
	resp, err := c.next.Do(r)
	if f := c.after.Load(); err == nil && f != nil && (*f)(r) {
		return nil, errors.Join(errCut, resp.Body.Close())
	}
	if f := c.answer.Load(); err == nil && f != nil {
		(*f)(resp)
	}
	return resp, err
}

// rig is an embedded server with a clock of its own and an account on it.
type rig struct {
	t       *testing.T
	clock   *clock.Manual
	server  *blobd.Server
	dir     string
	account *Account
	cut     *cutter
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewManual(origin), dir: t.TempDir()}
	var err error
	r.server, err = blobd.Open(blobd.Config{Dir: r.dir, Account: "devstore", Key: accessKey, Clock: r.clock,
		Log: slog.New(slog.DiscardHandler), Containers: []blobd.ContainerConfig{
			{Name: "archive", ImmutableWithVersioning: true, DefaultDays: 1, DefaultLocked: true},
			{Name: "staging"}, {Name: "analytics"}, {Name: "ledger"}, {Name: "plain"},
		}})
	ok(t, err)
	t.Cleanup(func() { ok(t, r.server.Close()) })
	addr, err := r.server.Listen("127.0.0.1:0")
	ok(t, err)
	r.account, r.cut = connect(t, r.server.ConnectionString(addr))
	return r
}

func connect(t *testing.T, connection string) (*Account, *cutter) {
	t.Helper()
	cut := &cutter{next: &http.Client{Transport: ownTransport()}}
	a, err := Connect(Options{ConnectionString: connection, Transport: cut, Retries: -1})
	ok(t, err)
	t.Cleanup(cut.next.CloseIdleConnections)
	return a, cut
}

func (r *rig) archive() *Archive {
	r.t.Helper()
	a, err := OpenArchive(ctx, r.account, ArchiveConfig{Container: "archive", Clock: r.clock})
	ok(r.t, err)
	return a
}

func (r *rig) staging() *Staging {
	return NewStaging(r.account, StagingConfig{Container: "staging", Clock: r.clock})
}

func (r *rig) ledgerConfig() LedgerConfig {
	return LedgerConfig{Container: "ledger", Key: hmacKey, Clock: r.clock}
}

func (r *rig) ledger() *Ledger {
	r.t.Helper()
	l, err := OpenLedger(ctx, r.account, r.ledgerConfig())
	ok(r.t, err)
	return l
}

func (r *rig) purger(edit func(*PurgerConfig)) *Purger {
	r.t.Helper()
	cfg := PurgerConfig{Account: r.account, Archive: r.archive(), Staging: r.staging(), Analytics: "analytics",
		Ledger: r.ledger(), Clock: r.clock, Log: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&cfg)
	}
	p, err := NewPurger(cfg)
	ok(r.t, err)
	return p
}

func (r *rig) pass(p *Purger) PassReport {
	r.t.Helper()
	report, err := p.Pass(ctx)
	ok(r.t, err)
	return report
}

func (r *rig) check() Report {
	r.t.Helper()
	report, err := Check(ctx, CheckConfig{Account: r.account, Archive: r.archive(), Clock: r.clock, Ledger: r.ledgerConfig()})
	ok(r.t, err)
	return report
}

// object is an original of tenant "demo" received now.
func (r *rig) object(text string) Object {
	d, err := digest(strings.NewReader(text))
	ok(r.t, err)
	id := "img_" + d.sha[:26]
	return Object{
		Name: events.RawName(r.clock.Now(), id, "image/jpeg"), ContentType: "image/jpeg", ImageID: id, Tenant: "demo",
		Origin: "api", Source: "raw-images/0/7", SHA256: d.sha, ExpiresAt: events.ExpiresAt(r.clock.Now()), Body: strings.NewReader(text),
	}
}

// metadata is the metadata document that belongs to an original.
func (r *rig) metadata(raw Object, text string) Object {
	m := raw
	m.Name, m.ContentType, m.SHA256 = events.MetadataName(r.clock.Now(), raw.ImageID, 1), "application/json", ""
	m.Body = strings.NewReader(text)
	return m
}

func (r *rig) put(a *Archive, o Object) Stored {
	r.t.Helper()
	s, err := a.Put(ctx, o)
	ok(r.t, err)
	return s
}

// overwrite is somebody else's unconditional upload.
func (r *rig) overwrite(container, name, text string) {
	r.t.Helper()
	_, err := r.account.Container(container).NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(strings.NewReader(text)), nil)
	ok(r.t, err)
}

func (r *rig) entries(container string) []Entry {
	r.t.Helper()
	return entriesOf(r.t, r.account.Container(container))
}

func entriesOf(t *testing.T, c *container.Client) []Entry {
	t.Helper()
	var out []Entry
	ok(t, each(ctx, c, "", everything, func(e Entry) error {
		out = append(out, e)
		return nil
	}))
	return out
}

// onDisk are the files of the server's folder that hold text.
func (r *rig) onDisk(text string) []string {
	r.t.Helper()
	var out []string
	var walk func(string)
	walk = func(dir string) {
		entries, err := os.ReadDir(dir)
		ok(r.t, err)
		for _, e := range entries {
			path := dir + "/" + e.Name()
			if e.IsDir() {
				walk(path)
				continue
			}
			b, err := os.ReadFile(path)
			ok(r.t, err)
			if bytes.Contains(b, []byte(text)) {
				out = append(out, path)
			}
		}
	}
	walk(r.dir)
	return out
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, r io.ReadCloser, err error) string {
	t.Helper()
	ok(t, err)
	b, err := io.ReadAll(r)
	ok(t, errors.Join(err, r.Close()))
	return string(b)
}

// azurite is an account on Azurite with a container of the test's own.
func azurite(t *testing.T) (*Account, string) {
	t.Helper()
	a, _ := connect(t, real.Azurite(t))
	name := real.Name(t, "azblob")
	ok(t, a.EnsureContainer(ctx, name))
	return a, name
}
