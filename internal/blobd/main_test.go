package blobd_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/blobd"
	"github.com/millrun/millrun/internal/clock"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirVariable); dir != "" {
		crashChild(dir)
		return
	}
	code := m.Run()
	httpClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// httpClient carries every test's requests, so that its connections can be closed before leaks are looked for.
var httpClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}

const account = "devstore"

var (
	key    = base64.StdEncoding.EncodeToString([]byte("a key for tests, thirty-two byte"))
	origin = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	ctx    = context.Background()
)

// rig is one server with a clock of its own and a client with the account's key.
type rig struct {
	t      *testing.T
	clock  *clock.Manual
	server *blobd.Server
	dir    string
	addr   string
	client *service.Client
}

func newRig(t *testing.T, edit func(*blobd.Config)) *rig {
	t.Helper()
	r := &rig{t: t, clock: clock.NewManual(origin), dir: t.TempDir()}
	r.open(edit)
	return r
}

// open starts a server on the rig's folder; a second call after close is a restart.
func (r *rig) open(edit func(*blobd.Config)) {
	r.t.Helper()
	cfg := blobd.Config{Dir: r.dir, Account: account, Key: key, Clock: r.clock, Log: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&cfg)
	}
	s, err := blobd.Open(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
	})
	if r.addr, err = s.Listen("127.0.0.1:0"); err != nil {
		r.t.Fatal(err)
	}
	r.server = s
	r.client = connect(r.t, s.ConnectionString(r.addr))
}

// noRetry keeps the client from hiding answers behind its own retries.
func noRetry() policy.ClientOptions {
	return policy.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}, Transport: httpClient}
}

func connect(t *testing.T, connection string) *service.Client {
	t.Helper()
	c, err := service.NewClientFromConnectionString(connection, &service.ClientOptions{ClientOptions: noRetry()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// worm is a container with version-level immutability.
func (r *rig) worm(name string, days int, locked bool) *container.Client {
	r.t.Helper()
	err := r.server.CreateContainer(blobd.ContainerConfig{
		Name: name, ImmutableWithVersioning: true, DefaultDays: days, DefaultLocked: locked,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.client.NewContainerClient(name)
}

func (r *rig) container(name string) *container.Client { return makeContainer(r.t, r.client, name) }

func makeContainer(t *testing.T, client *service.Client, name string) *container.Client {
	t.Helper()
	c := client.NewContainerClient(name)
	if _, err := c.Create(ctx, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func body(text string) io.ReadSeekCloser { return streaming.NopCloser(strings.NewReader(text)) }

func put(t *testing.T, c *container.Client, name, text string) {
	t.Helper()
	if _, err := c.NewBlockBlobClient(name).Upload(ctx, body(text), nil); err != nil {
		t.Fatalf("put %q: %v", name, err)
	}
}

func get(t *testing.T, c *container.Client, name string) string {
	t.Helper()
	resp, err := c.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		t.Fatalf("get %q: %v", name, err)
	}
	return readAll(t, resp.Body)
}

func readAll(t *testing.T, r io.ReadCloser) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantError checks status and code of a refusal.
func wantError(t *testing.T, err error, status int, code string) {
	t.Helper()
	e, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		t.Fatalf("got %v, want %d %s", err, status, code)
	}
	if e.StatusCode != status || e.ErrorCode != code {
		t.Fatalf("got %d %s, want %d %s", e.StatusCode, e.ErrorCode, status, code)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// filesWith are the files under dir whose content or name holds text.
func filesWith(t *testing.T, dir, text string) []string {
	t.Helper()
	var out []string
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var walk func(string)
	walk = func(name string) {
		entries := must(os.ReadDir(dir + "/" + name))(t)
		for _, e := range entries {
			full := name + "/" + e.Name()
			if strings.Contains(e.Name(), text) {
				out = append(out, full)
			}
			if e.IsDir() {
				walk(full)
				continue
			}
			if bytes.Contains(must(os.ReadFile(dir+"/"+full))(t), []byte(text)) {
				out = append(out, full)
			}
		}
	}
	walk(".")
	return out
}
