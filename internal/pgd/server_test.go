package pgd

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/child"
)

// ownerEnv makes the test binary own a server of the folder it names, say where it listens, and wait to be killed.
const ownerEnv = "MILLRUN_PGD_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		playOwner(dir)
	}
	goleak.VerifyTestMain(m)
}

func playOwner(dir string) {
	s, err := Start(context.Background(), Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(3)
	}
	os.Stdout.WriteString(s.AdminURL() + "\n")
	<-s.Done()
	os.Exit(0)
}

func start(t *testing.T, c Config) *Server {
	t.Helper()
	c.Log = slog.New(slog.DiscardHandler)
	s, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func exec1(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t *testing.T, url, sql string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var n int
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func TestDataOutliveACleanRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "db")
	s, err := Start(t.Context(), Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, s.AdminURL(), "create table kept as select generate_series(1,10)")
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Fatalf("Close took %s", d)
	}
	if _, err := os.Stat(filepath.Join(dir, dataFolder, "postmaster.pid")); err == nil {
		t.Fatal("a closed server left its process id")
	}
	if n := count(t, start(t, Config{Dir: dir}).AdminURL(), "select count(*) from kept"); n != 10 {
		t.Fatalf("%d rows after a restart, want 10", n)
	}
}

func TestCommittedDataOutliveAKilledOwner(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "db")
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), ownerEnv+"="+dir)
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		t.Fatalf("the owner said %q, %v", line, err)
	}
	exec1(t, strings.TrimSpace(line), "create table kept as select generate_series(1,10)")
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // killed: the exit code says nothing
	if n := count(t, start(t, Config{Dir: dir}).AdminURL(), "select count(*) from kept"); n != 10 {
		t.Fatalf("%d rows after kill -9, want 10", n)
	}
}

// A server that lives on without its owner: on systems without a death signal that is what kill -9 leaves.
func TestServerLeftBehindIsStoppedByTheNextStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "db")
	first, err := Start(t.Context(), Config{Dir: dir, Ephemeral: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, first.AdminURL(), "create table kept as select generate_series(1,10)")
	if err := first.lock.Unlock(); err != nil { // as the kernel does for a killed owner
		t.Fatal(err)
	}
	if n := count(t, start(t, Config{Dir: dir, Ephemeral: true}).AdminURL(), "select count(*) from kept"); n != 10 {
		t.Fatalf("%d rows, want 10", n)
	}
	select {
	case <-first.Done():
	default:
		t.Fatal("two servers run on one folder")
	}
}

func TestForeignProcessWithTheOldIDIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "db")
	s, err := Start(t.Context(), Config{Dir: dir, Ephemeral: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := child.Start(exec.Command("sleep", "600"), syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop(context.Background(), syscall.SIGKILL)
	note := filepath.Join(dir, dataFolder, "postmaster.pid")
	if err := os.WriteFile(note, []byte(strconv.Itoa(other.PID())+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, Config{Dir: dir, Ephemeral: true})
	select {
	case <-other.Done():
		t.Fatal("a process that is no PostgreSQL was stopped")
	default:
	}
}

func TestSecondServerOfOneFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "db")
	start(t, Config{Dir: dir, Ephemeral: true})
	if _, err := Start(t.Context(), Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Fatalf("error %v, want that it runs already", err)
	}
}

func TestOnlyThePasswordOpensIt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "db")
	s := start(t, Config{Dir: dir, Ephemeral: true})
	for _, password := range []string{"", "postgres"} {
		if conn, err := pgx.Connect(t.Context(), s.URL(Superuser, password, "postgres")); err == nil {
			conn.Close(context.Background())
			t.Errorf("password %q was accepted", password)
		}
	}
	info, err := os.Stat(filepath.Join(dir, passwordFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("the password's file has mode %o", info.Mode().Perm())
	}
	exec1(t, s.AdminURL(), "create role someone login password 'planted-secret'")
	conn, err := pgx.Connect(t.Context(), s.AdminURL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "create role someone login password 'planted-secret'"); err == nil {
		t.Fatal("a role was made twice")
	}
	log, err := os.ReadFile(filepath.Join(dir, logFile))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), "planted-secret") {
		t.Fatal("a password is in the server's log")
	}
}

func TestFolderThatOthersCannotReachServesRootToo(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server under another user")
	}
	private := t.TempDir()
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(private, "db")
	s, err := Start(t.Context(), Config{Dir: dir, Ephemeral: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, s.AdminURL(), "create table kept as select generate_series(1,10)")
	exec1(t, s.AdminURL(), "checkpoint")
	far := programOf(t, s.PID())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(filepath.Base(far), farPrefix) {
		if _, err := os.Stat(far); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the copied binaries stayed: %v", err)
		}
	}
	if n := count(t, start(t, Config{Dir: dir, Ephemeral: true}).AdminURL(), "select count(*) from kept"); n != 10 {
		t.Fatalf("%d rows, want 10", n)
	}
}

// programOf is the folder that a server's binaries lie in.
func programOf(t *testing.T, pid int) string {
	t.Helper()
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(filepath.Dir(exe))
}

func TestCopiesOfKilledOwnersAreRemoved(t *testing.T) {
	t.Parallel()
	left := filepath.Join(os.TempDir(), farPrefix+strings.ToLower(rand.Text()))
	kept := filepath.Join(os.TempDir(), farPrefix+strings.ToLower(rand.Text()))
	for _, dir := range []string{left, kept} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+".lock", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held, err := child.TryLock(kept+".lock", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := dropAbandoned(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the abandoned copy stayed: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a copy in use was removed: %v", err)
	}
	if err := errors.Join(dropFar(kept), held.Unlock()); err != nil {
		t.Error(err)
	}
}

func TestOtherMajorVersionIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, dataFolder), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, passwordFile), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, dataFolder, "PG_VERSION"), []byte("14\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "PostgreSQL 14") {
		t.Fatalf("error %v, want one that names the old version", err)
	}
}

func TestImpossibleConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{}, {Dir: t.TempDir(), Port: 70000}} {
		if s, err := Start(t.Context(), c); err == nil {
			s.Close()
			t.Errorf("%+v was accepted", c)
		}
	}
}
