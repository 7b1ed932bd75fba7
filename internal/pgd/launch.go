package pgd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/millrun/millrun/internal/child"
)

// launcher starts initdb and postgres for one folder.
type launcher struct {
	bin, dir  string
	who       *identity
	ephemeral bool
}

// firstExtra is the descriptor number of a child's first extra file.
const firstExtra = 3

// command is a program of PostgreSQL under the right user, with a folder of data that this user perhaps cannot reach by
// its path: then the open folder is handed down, and named by its descriptor. A link of /proc/self/fd leads to the
// folder without passing the folders above it. The files returned are closed by the caller after the start.
func (l launcher) command(name, data string, args ...string) (*exec.Cmd, []*os.File, error) {
	cmd := exec.Command(filepath.Join(l.bin, name))
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: l.who.credential()}
	cmd.Dir = "/"
	path := data
	if !l.who.reaches(filepath.Dir(data)) {
		if runtime.GOOS != "linux" {
			return nil, nil, fmt.Errorf("pgd: user %s, under which PostgreSQL must run, cannot reach %s: choose a folder elsewhere",
				l.who.name, l.dir)
		}
		f, err := os.Open(data)
		if err != nil {
			return nil, nil, fmt.Errorf("pgd: %w", err)
		}
		cmd.ExtraFiles = []*os.File{f}
		path = "/proc/self/fd/" + strconv.Itoa(firstExtra)
	}
	cmd.Args = append(append(cmd.Args, "-D", path), args...)
	return cmd, cmd.ExtraFiles, nil
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// ensureData makes the data folder unless there is one. It appears whole or not at all: it is made under another name.
func (l launcher) ensureData(ctx context.Context, password string) error {
	data := filepath.Join(l.dir, dataFolder)
	b, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err == nil {
		if v := strings.TrimSpace(string(b)); v != Major {
			return fmt.Errorf("pgd: the data in %s are of PostgreSQL %s, this is %s: choose another folder, or move them by pg_dump", l.dir, v, Major)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pgd: the data in %s cannot be read, perhaps root's server made them: %w", l.dir, err)
	}
	fresh := data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	if err := l.who.give(fresh); err != nil {
		return err
	}
	if err := l.initdb(ctx, fresh, password); err != nil {
		return err
	}
	if err := os.Rename(fresh, data); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	return nil
}

// initdb reads the superuser's password from a file without a name, which is gone when it ends.
func (l launcher) initdb(ctx context.Context, data, password string) error {
	secret, err := l.secretFile(password)
	if err != nil {
		return err
	}
	args := []string{"-U", Superuser, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"}
	if l.ephemeral {
		args = append(args, "--no-sync")
	}
	cmd, files, err := l.command("initdb", data, args...)
	if err != nil {
		return errors.Join(err, secret.Close())
	}
	cmd.Args = append(cmd.Args, "--pwfile=/dev/fd/"+strconv.Itoa(firstExtra+len(cmd.ExtraFiles)))
	cmd.ExtraFiles = append(cmd.ExtraFiles, secret)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err := errors.Join(err, closeAll(append(files, secret))); err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("pgd: initdb: %w", context.Cause(ctx)), p.Kill())
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("pgd: initdb: %w\n%s", err, out.String())
	}
	return nil
}

func (l launcher) secretFile(password string) (*os.File, error) {
	f, err := os.CreateTemp(l.dir, "initdb-*")
	if err != nil {
		return nil, fmt.Errorf("pgd: %w", err)
	}
	_, werr := f.WriteString(password + "\n")
	_, serr := f.Seek(0, 0)
	if err := errors.Join(werr, serr, l.who.give(f.Name()), os.Remove(f.Name())); err != nil {
		return nil, errors.Join(fmt.Errorf("pgd: %w", err), f.Close())
	}
	return f, nil
}

// startServer starts the postmaster with its log going to log. It dies with us, at once but without loss (SIGQUIT).
func (l launcher) startServer(port int, log *os.File) (*child.Process, error) {
	cmd, files, err := l.command("postgres", filepath.Join(l.dir, dataFolder), l.settings(port)...)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := child.Start(cmd, syscall.SIGQUIT)
	if err := errors.Join(err, closeAll(files)); err != nil {
		return nil, fmt.Errorf("pgd: %w", err)
	}
	return p, nil
}

func (l launcher) settings(port int) []string {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(port),
		"unix_socket_directories=",
		"max_connections=200",
		"shared_buffers=64MB",
		"timezone=UTC",
		"log_timezone=UTC",
		// A refused CREATE ROLE would carry its password into the log.
		"log_min_error_statement=panic",
	}
	if l.ephemeral {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	args := make([]string, 0, 2*len(settings))
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// superuserPassword is the one kept in dir, made at the first start.
func superuserPassword(dir string) (string, error) {
	path := filepath.Join(dir, passwordFile)
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("pgd: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, dataFolder)); err == nil {
		return "", fmt.Errorf("pgd: %s is gone, and with it the way into the data beside it: restore it or remove %s", path, dir)
	}
	password := rand.Text()
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("pgd: %w", err)
	}
	return password, nil
}
