package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrun/millrun/internal/child"
	"github.com/millrun/millrun/internal/loopback"
	"github.com/millrun/millrun/internal/real"
)

// TestRolesOfComposeWorkAgainstApacheKafka runs the commands of docker-compose.yml, each as a process of its own as in a
// container, against Apache Kafka, PostgreSQL and blobd, and sends an image through all of them.
func TestRolesOfComposeWorkAgainstApacheKafka(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	services := project(t, "../docker-compose.yml").Services
	s.start("blobd", services["blobd"].Command)
	s.awaitTCP(s.blob)
	for _, name := range oneShots {
		s.finish(name, services[name].Command)
	}
	for name, service := range services {
		if ours(service) && service.Command[0] == "run" {
			s.start(name, service.Command)
		}
	}
	s.await("the API is ready", func() bool { return s.do(http.MethodGet, "/readyz", nil).status == http.StatusOK })
	where := s.upload(drawing(t))
	s.await("the image is archived", func() bool {
		var state struct {
			Status string `json:"status"`
		}
		return json.Unmarshal(s.do(http.MethodGet, where, nil).body, &state) == nil && state.Status == "archived"
	})
	s.stopAll()
}

// site is a set of processes where compose has containers.
type site struct {
	t          *testing.T
	bin, dir   string
	blob, http string            // addresses
	replace    *strings.Replacer // what containers call things, by what they are called here
	running    map[string]*child.Process
	client     *http.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, bin: filepath.Join(t.TempDir(), "millrun"), dir: t.TempDir(), running: make(map[string]*child.Process)}
	build(t, s.bin)
	broker := real.KafkaServer(t)[0]
	shop := createShop(t, real.PostgresServer(t))
	ports, err := loopback.FreePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	s.blob, s.http = loopback.Addr(ports[0]), loopback.Addr(ports[1])
	script := filepath.Join(s.dir, "secrets.sh")
	copyFile(t, "compose/secrets.sh", script)
	if out, err := exec.CommandContext(t.Context(), "sh", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	secrets := filepath.Join(s.dir, "secrets")
	s.replace = strings.NewReplacer(
		"kafka:9092", broker, "postgres:5432", shop.Host, "blobd:10000", s.blob, "0.0.0.0:10000", s.blob,
		"0.0.0.0:8080", s.http, "localhost:8080", s.http, "/run/secrets/config", secrets+"/config.yaml",
		"/run/secrets", secrets,
	)
	for _, name := range []string{"config.yaml", "blob_connection"} {
		s.adapt(filepath.Join(secrets, name))
	}
	if err := os.WriteFile(filepath.Join(secrets, "database_admin"), []byte(shop.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return s
}

func (s *site) adapt(path string) {
	s.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(s.replace.Replace(string(b))), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// command is a service's command with its log in a file.
func (s *site) command(name string, args []string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(s.bin)
	for _, a := range args {
		if a == "/data" { // the image's volume
			a = filepath.Join(s.dir, "data")
		}
		cmd.Args = append(cmd.Args, s.replace.Replace(a))
	}
	for k, v := range project(s.t, "../docker-compose.yml").Services[name].Environment {
		if v != nil {
			cmd.Env = append(cmd.Env, k+"="+s.replace.Replace(*v))
		}
	}
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := log.Close(); err != nil {
			s.t.Error(err)
		}
		if text, err := os.ReadFile(log.Name()); s.t.Failed() && err == nil {
			s.t.Logf("%s said, at its end:\n%s", name, text[max(0, len(text)-2000):])
		}
	})
	cmd.Stdout, cmd.Stderr = log, log
	return cmd
}

// start starts a service that stays.
func (s *site) start(name string, args []string) {
	s.t.Helper()
	p, err := child.Start(s.command(name, args), syscall.SIGKILL)
	if err != nil {
		s.t.Fatal(err)
	}
	s.running[name] = p
	s.t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			s.t.Error(err)
		}
	})
}

// finish runs a service that ends by itself.
func (s *site) finish(name string, args []string) {
	s.t.Helper()
	if err := s.command(name, args).Run(); err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
}

// stopAll ends every service as compose does: SIGTERM, and no more than the grace period.
func (s *site) stopAll() {
	s.t.Helper()
	for name, p := range s.running {
		ctx, cancel := context.WithTimeout(s.t.Context(), 35*time.Second)
		if err := p.Stop(ctx, syscall.SIGTERM); err != nil {
			s.t.Errorf("%s: %v", name, err)
		} else if err := p.Err(); err != nil {
			s.t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

// await polls until ok, and fails early when a service has ended.
func (s *site) await(what string, ok func() bool) {
	s.t.Helper()
	tick := time.NewTicker(250 * time.Millisecond) // well below a tenant's requests a minute
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		for name, p := range s.running {
			select {
			case <-p.Done():
				s.t.Fatalf("waiting until %s: %s ended: %v", what, name, p.Err())
			default:
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("not within two minutes: %s", what)
		}
	}
}

func (s *site) awaitTCP(addr string) {
	s.t.Helper()
	s.await(addr+" answers", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// answer is what came back: 0 when nobody answered.
type answer struct {
	status   int
	location string
	body     []byte
}

// do sends a request with the key of tenant demo.
func (s *site) do(method, path string, body io.Reader) answer {
	s.t.Helper()
	key, err := os.ReadFile(filepath.Join(s.dir, "secrets", "api_key_demo"))
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.http+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+string(key))
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{} // not up yet
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}
	}
	return answer{status: resp.StatusCode, location: resp.Header.Get("Location"), body: b}
}

// upload sends an image and says where its state can be read, as a path.
func (s *site) upload(image []byte) string {
	s.t.Helper()
	a := s.do(http.MethodPost, "/v1/images", bytes.NewReader(image))
	if a.status != http.StatusAccepted {
		s.t.Fatalf("upload: %d %s", a.status, a.body)
	}
	u, err := url.Parse(a.location)
	if err != nil {
		s.t.Fatal(err)
	}
	return u.Path
}

func drawing(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 64, 48))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// createShop makes the database that the postgres image makes by POSTGRES_DB, and returns its superuser's URL.
func createShop(t *testing.T, admin string) *url.URL {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), "create database shop"); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(admin)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/shop"
	return u
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, bin string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../cmd/millrun").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}
