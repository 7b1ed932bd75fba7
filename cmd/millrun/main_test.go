package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
	"github.com/millrun/millrun/internal/events"
)

// TestMain lets the test binary be the program itself when it is not called by go test: by the tests below, and by the
// worker, which starts its executable again for the sample step.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// millrun runs the program and returns its exit code and what it printed.
func millrun(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd, out, diag := command(t, args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), diag.String()
}

func command(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), self, args...)
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

func TestExitCodesTellUsageFromFailure(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(bad, []byte("kafka: {broker: [x]}\nretention: {days: 3}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"version", []string{"version"}, 0, nil},
		{"unknown command", []string{"fly"}, 2, []string{"fly"}},
		{"unknown role", []string{"run", "pilot"}, 2, []string{"pilot"}},
		{"faulty file", []string{"run", "worker", "--config", bad}, 2, []string{"field broker not found"}},
		{"everything missing", []string{"run", "worker", "orders"}, 2, []string{"kafka.brokers", "blob", "tenants", "database.url", "credentials.sales"}},
		{"clock of nothing", []string{"clock", "advance", "1h", "--dir", t.TempDir()}, 2, []string{"no installation"}},
		{"brokers away", []string{"topics", "plan", "--config", away(t)}, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := millrun(t, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, stderr)
			}
			for _, want := range c.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("the message does not speak of %q: %s", want, stderr)
				}
			}
		})
	}
}

// away is a configuration whose broker does not exist.
func away(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("kafka: {brokers: ['127.0.0.1:1']}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"demo", "up", "run", "clock", "blobd", "kafkad", "topics", "access", "compliance", "upload", "changes", "version"} {
		if code, out, _ := millrun(t, name, "--help"); code != 0 || !strings.Contains(out, "Example:") {
			t.Errorf("millrun %s --help: exit %d, example %t", name, code, strings.Contains(out, "Example:"))
		}
	}
}

func TestDurationsKnowDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"90m": 90 * time.Minute, "7d": 168 * time.Hour, "7d12h": 180 * time.Hour, "0.5d": 12 * time.Hour} {
		if got, err := parseDays(text); err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "7 days", "x3d"} {
		if d, err := parseDays(text); err == nil {
			t.Errorf("%q was taken for %s", text, d)
		}
	}
}

// TestInstallationForgetsEverything is the life of an installation as its owner sees it: up, pictures by both doors,
// down, up again, and eight days later no file below its folder knows anything about the pictures.
func TestInstallationForgetsEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	photo := photograph(t)
	up := start(t, dir)
	conn := connection(t, dir)
	code, out, stderr := millrun(t, "upload", "--dir", dir, photo)
	if code != 0 {
		t.Fatalf("upload: exit %d: %s", code, stderr)
	}
	id := strings.Split(out, "\t")[1]
	archived(t, conn, "demo", id)
	fed := feed(t, conn, photo)
	stop(t, up)

	up = start(t, dir)
	conn = connection(t, dir)
	orphaned(t, dir, conn)
	archived(t, conn, "demo", id)
	archived(t, conn, "other", fed)
	if code, out, stderr := millrun(t, "clock", "advance", "8d", "--dir", dir); code != 0 {
		t.Fatalf("clock: exit %d: %s%s", code, out, stderr)
	}
	eventually(t, "410 after the purge", func() bool { return status(t, conn, "demo", id).code == http.StatusGone })
	for _, trace := range []string{id, fed, string(piece(t, photo))} {
		eventually(t, "nothing left", func() bool { return found(t, dir, trace) == "" })
	}
	eventually(t, "the ledger saying that both are purged", func() bool { // the line follows the bytes' end
		code, out, stderr = millrun(t, "compliance", "verify", "--dir", dir)
		return strings.Contains(out, "purged 2,")
	})
	if code != 0 {
		t.Errorf("compliance verify: exit %d: %s%s", code, out, stderr)
	}
	if code, _, stderr := millrun(t, "access", "verify", "--dir", dir); code != 0 {
		t.Errorf("access verify: exit %d: %s", code, stderr)
	}
	if code, out, _ := millrun(t, "topics", "drift", "--dir", dir); code != 0 {
		t.Errorf("topics drift: exit %d: %s", code, out)
	}
	stop(t, up)
	if _, err := os.Stat(filepath.Join(dir, install.ConnectionFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a stopped installation still says how to reach it")
	}
}

// orphaned stages bytes that no record names, as a door does that dies in between: a day later they are gone, and what
// was archived is not.
func orphaned(t *testing.T, dir string, conn *install.Connection) {
	t.Helper()
	client, err := azblob.NewClientFromConnectionString(conn.BlobConnectionString, nil)
	if err != nil {
		t.Fatal(err)
	}
	const orphan = "incoming/2026/01/01/00/0b0e7a4e-1111-4111-8111-0123456789ab"
	if _, err := client.UploadBuffer(t.Context(), "staging", orphan, []byte("never announced"), nil); err != nil {
		t.Fatal(err)
	}
	if code, out, stderr := millrun(t, "clock", "advance", "25h", "--dir", dir); code != 0 {
		t.Fatalf("clock: exit %d: %s%s", code, out, stderr)
	}
	eventually(t, "the orphan being gone", func() bool {
		_, err := client.DownloadStream(t.Context(), "staging", orphan, nil)
		return bloberror.HasCode(err, bloberror.BlobNotFound)
	})
}

// start begins an installation and waits until it says that it is ready.
func start(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd, _, _ := command(t, "up", "--dir", dir, "--log-level", "error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	eventually(t, "the installation being ready", func() bool {
		_, err := install.ReadConnection(dir)
		return err == nil
	})
	return cmd
}

func stop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the installation ended with %v: %s", err, cmd.Stderr)
	}
}

func connection(t *testing.T, dir string) *install.Connection {
	t.Helper()
	conn, err := install.ReadConnection(dir)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// photograph is a real picture of Go's own test data.
func photograph(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src", "image", "testdata", "video-001.jpeg")
}

// piece is a part of a file's middle.
func piece(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b[len(b)/2:][:64]
}

// feed sends the same picture for the other tenant, by Kafka, and returns the name that it must get.
func feed(t *testing.T, conn *install.Connection, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(conn.KafkaBrokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	r := &kgo.Record{Topic: "company-images", Value: b, Headers: []kgo.RecordHeader{{Key: "tenant", Value: []byte("other")}}}
	if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return events.ImageID("other", sha256.Sum256(b))
}

type imageStatus struct {
	code   int
	Status any `json:"status"`
}

func status(t *testing.T, conn *install.Connection, tenant, id string) imageStatus {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, conn.HTTPURL+"/v1/images/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", conn.APIKeys[tenant])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s := imageStatus{code: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func archived(t *testing.T, conn *install.Connection, tenant, id string) {
	t.Helper()
	eventually(t, "the picture being archived", func() bool { return status(t, conn, tenant, id).Status == "archived" })
}

// found is a file below dir that holds the text, or "".
func found(t *testing.T, dir, text string) string {
	t.Helper()
	where := ""
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ignoreGone(err)
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) || strings.Contains(path, text) {
			where = path
		}
		return ignoreGone(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return where
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// eventually asks until it is so, for at most two minutes: a loaded machine is slow, not wrong.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited two minutes for %s", what)
		case <-tick.C:
		}
	}
}
