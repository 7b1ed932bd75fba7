package pgd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrun/millrun/internal/child"
	"github.com/millrun/millrun/internal/loopback"
)

// Superuser is the login that owns the server.
const Superuser = "postgres"

const (
	startTimeout = 60 * time.Second // recovery after a crash included
	fastStop     = 8 * time.Second  // how long sessions may take to end before they are cut off
	hardStop     = 2 * time.Second
)

// The files of a server's folder.
const (
	dataFolder   = "data"
	logFile      = "server.log"
	lockFile     = "server.lock"
	passwordFile = "superuser-password"
)

// Config says where a server lives. Dir is required, everything else has a default.
type Config struct {
	// BinDir is a folder with initdb and postgres of major version 15, such as /usr/lib/postgresql/15/bin.
	// Default: binaries that are fetched once.
	BinDir string
	// CacheDir is where fetched binaries are kept. Default: the folder of internal/cache.
	CacheDir string
	// Dir is the folder that everything lies under: data, log, the superuser's password. It is made when absent, and
	// kept by Close: the next Start goes on with its data.
	Dir string
	// Ephemeral gives up what only a crash of the machine can take, for speed: no fsync. For tests and demo.
	Ephemeral bool
	// Log gets a line at start, with the limits. Default: slog.Default.
	Log *slog.Logger
	// Port to listen on. Default: a free one, another at each start.
	Port int
}

// Server is a running PostgreSQL. Its owner calls Close once. Safe for concurrent use.
type Server struct {
	port     int
	password string
	process  *child.Process
	lock     *child.FileLock
	cleanup  func() error
}

// Start starts the server of c.Dir and returns when it answers. A first start makes the data. A server that a killed
// process left behind is stopped first. Two servers never share a folder: the second Start is an error.
func Start(ctx context.Context, c Config) (_ *Server, err error) {
	if c, err = c.withDefaults(); err != nil {
		return nil, err
	}
	s := &Server{cleanup: func() error { return nil }}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.lock, err = child.TryLock(filepath.Join(c.Dir, lockFile), false); err != nil {
		return nil, fmt.Errorf("pgd: a server of %s runs already: %w", c.Dir, err)
	}
	who, err := otherIdentity()
	if err != nil {
		return nil, err
	}
	bin, cleanup, err := program(ctx, c, who)
	if err != nil {
		return nil, err
	}
	s.cleanup = cleanup
	if s.password, err = superuserPassword(c.Dir); err != nil {
		return nil, err
	}
	l := launcher{bin: bin, dir: c.Dir, who: who, ephemeral: c.Ephemeral}
	if err := l.ensureData(ctx, s.password); err != nil {
		return nil, err
	}
	if err := stopOrphan(ctx, filepath.Join(c.Dir, dataFolder)); err != nil {
		return nil, err
	}
	if err := s.run(ctx, l, c.Port); err != nil {
		return nil, err
	}
	c.Log.Info("PostgreSQL is ready", "port", s.port, "dir", c.Dir, "limits", Limits)
	return s, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("pgd: no folder for the data: set Config.Dir")
	}
	abs, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("pgd: %w", err)
	}
	c.Dir = abs
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Port < 0 || c.Port > 65535 {
		return c, fmt.Errorf("pgd: port %d is none: use 1 to 65535, or 0 for a free one", c.Port)
	}
	// Others may pass through to the data, which only its owner may read.
	if err := os.MkdirAll(c.Dir, 0o711); err != nil {
		return c, fmt.Errorf("pgd: %w", err)
	}
	// The kernel names a process' folder by its real path (see servesData).
	if c.Dir, err = filepath.EvalSymlinks(c.Dir); err != nil {
		return c, fmt.Errorf("pgd: %w", err)
	}
	return c, nil
}

// run starts postgres. A free port may be taken by somebody else before postgres binds it; then another is tried.
func (s *Server) run(ctx context.Context, l launcher, port int) error {
	const attempts = 3
	for n := 1; ; n++ {
		s.port = port
		if port == 0 {
			ports, err := loopback.FreePorts(1)
			if err != nil {
				return fmt.Errorf("pgd: %w", err)
			}
			s.port = ports[0]
		}
		log, err := os.OpenFile(filepath.Join(l.dir, logFile), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("pgd: %w", err)
		}
		s.process, err = l.startServer(s.port, log)
		if err = errors.Join(err, log.Close()); err != nil {
			return err
		}
		err = s.awaitReady(ctx, l.dir)
		if err == nil || port != 0 || n == attempts || !strings.Contains(err.Error(), "could not bind") {
			return err
		}
	}
}

// awaitReady asks until the server answers as superuser. An error carries the end of the server's log.
func (s *Server) awaitReady(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("pgd: PostgreSQL ended at start (%w); its log ends:\n%s", s.process.Err(), tail(dir))
		case <-ctx.Done():
			return fmt.Errorf("pgd: PostgreSQL is not ready: %w; its log ends:\n%s", err, tail(dir))
		case <-tick.C:
		}
	}
}

func (s *Server) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.AdminURL())
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// Port is where the server listens, on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// PID is the process id of the postmaster.
func (s *Server) PID() int { return s.process.PID() }

// Done is closed when the server has ended, by Close or by itself.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// URL is the address of a database for a login. It holds the password: it is not for logs.
func (s *Server) URL(login, password, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(login, password),
		Host:     loopback.Addr(s.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// AdminURL is the address of the database postgres for the superuser.
func (s *Server) AdminURL() string { return s.URL(Superuser, s.password, "postgres") }

// Close stops the server: sessions are ended at once, what was committed is on disk; within ten seconds. The data stay.
func (s *Server) Close() error {
	var errs []error
	if s.process != nil {
		errs = append(errs, stopServer(s.process))
	}
	errs = append(errs, s.cleanup())
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
		s.lock = nil
	}
	return errors.Join(errs...)
}

// stopServer asks for a fast shutdown (SIGINT: sessions are rolled back and ended), then for an immediate one.
func stopServer(p *child.Process) error {
	if err := p.Signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	if endsWithin(p, fastStop) {
		return nil
	}
	if err := p.Signal(syscall.SIGQUIT); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	if endsWithin(p, hardStop) {
		return nil
	}
	if err := p.Kill(); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	return nil
}

func endsWithin(p *child.Process, d time.Duration) bool {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-p.Done():
		return true
	case <-limit.C:
		return false
	}
}

// tail is the end of the server's log.
func tail(dir string) string {
	const most = 3000
	b, err := os.ReadFile(filepath.Join(dir, logFile))
	if err != nil {
		return fmt.Sprintf("(%v)", err)
	}
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.TrimSpace(string(b))
}
