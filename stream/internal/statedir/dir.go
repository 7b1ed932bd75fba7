// Package statedir keeps what an instance leaves on disk: one directory for each application, below it one for each task.
//
//	<root>/<application>/.lock         held while an instance uses the directory
//	<root>/<application>/.holder       who holds it, for the error another one gets
//	<root>/<application>/process.json  the instance's id, kept over restarts, and the layout's version
//	<root>/<application>/0_3/          a task: its stores, and task.json
//
// The layout is the library's own. What moves between it and Kafka Streams in Java is on the brokers, never here.
package statedir

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"
)

// version is the layout's; a directory of another one is refused, not guessed at.
const version = 1

// The files of a directory.
const (
	lockFile    = ".lock"
	holderFile  = ".holder"
	processFile = "process.json"
	javaFile    = "kafka-streams-process-metadata"
	unfinished  = ".tmp"     // ends that of a file that is being written
	doomed      = ".deleted" // ends the name of a task's directory that is being deleted
)

// ErrInUse says that another instance uses the directory.
var ErrInUse = errors.New("the state directory is in use")

// taskName is what a task's directory is called.
var taskName = regexp.MustCompile(`^\d+_\d+$`)

// Dir is the directory of one application, held by one instance: nobody else on the machine can open it before Close. Safe
// for concurrent use.
type Dir struct {
	path    string
	log     *slog.Logger
	lock    *lock
	process string

	mu   sync.Mutex
	held map[string]*Task     // by name
	left map[string]time.Time // of directories nobody holds: since when
}

// process is the content of processFile. Fields of other releases are ignored.
type process struct {
	ID      string `json:"processId"`
	Version int    `json:"version"`
}

// holder is the content of holderFile.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// Open makes or opens the directory of an application below root and locks it.
func Open(root, app string, log *slog.Logger) (*Dir, error) {
	d := &Dir{path: filepath.Join(root, app), log: log, held: map[string]*Task{}, left: map[string]time.Time{}}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return nil, explain("make", d.path, err)
	}
	if _, err := os.Lstat(filepath.Join(d.path, javaFile)); err == nil {
		return nil, fmt.Errorf("stream: state directory %s belongs to Kafka Streams in Java (%s is there), whose stores cannot be read here: name another Config.StateDir; stores are restored from their changelogs", d.path, javaFile)
	}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	if err := d.begin(); err != nil {
		return nil, errors.Join(err, d.lock.release())
	}
	return d, nil
}

// acquire locks the directory and says who holds it.
func (d *Dir) acquire() error {
	l, err := acquire(filepath.Join(d.path, lockFile))
	if errors.Is(err, errLocked) {
		return fmt.Errorf("stream: %w: %s is held by %s: let each instance on a machine have a Config.StateDir of its own, or end the other one", ErrInUse, d.path, d.holder())
	}
	if err != nil {
		return explain("lock", d.path, err)
	}
	d.lock = l
	host, _ := os.Hostname() // "" says it as well
	if err := d.write(holderFile, holder{PID: os.Getpid(), Host: host, Since: time.Now().UTC().Round(time.Second)}); err != nil {
		return errors.Join(err, l.release())
	}
	return nil
}

// holder describes who holds the directory, as far as that is known.
func (d *Dir) holder() string {
	var h holder
	b, err := os.ReadFile(filepath.Join(d.path, holderFile))
	if err != nil || json.Unmarshal(b, &h) != nil || h.PID == 0 {
		return "another process"
	}
	if h.PID == os.Getpid() {
		return fmt.Sprintf("this process (%d), since %s", h.PID, h.Since.Format(time.RFC3339))
	}
	return fmt.Sprintf("process %d on %s, since %s", h.PID, h.Host, h.Since.Format(time.RFC3339))
}

// begin reads what is there.
func (d *Dir) begin() error {
	if err := d.identify(); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return explain("read", d.path, err)
	}
	for _, e := range entries {
		switch {
		case filepath.Ext(e.Name()) == doomed:
			if err := os.RemoveAll(filepath.Join(d.path, e.Name())); err != nil {
				return explain("clean up", d.path, err)
			}
		case e.IsDir() && taskName.MatchString(e.Name()):
			d.left[e.Name()] = time.Now()
		}
	}
	return nil
}

// identify finds the instance's id, or makes one. An id that cannot be read costs the state beside it: nobody knows which
// release wrote that.
func (d *Dir) identify() error {
	b, err := os.ReadFile(filepath.Join(d.path, processFile))
	var p process
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return explain("read", d.path, err)
	default:
		if err := json.Unmarshal(b, &p); err == nil && p.ID != "" {
			break
		}
		d.log.Warn("the state directory's process file is damaged: its tasks are wiped and restored from their changelogs", "directory", d.path)
		if err := d.wipe(); err != nil {
			return err
		}
		p = process{}
	}
	if p.ID == "" {
		p = process{ID: newID(), Version: version}
		if err := d.write(processFile, p); err != nil {
			return err
		}
	}
	if p.Version != version {
		return fmt.Errorf("stream: state directory %s has layout %d, and this release knows %d: use the release that wrote it, or call App.CleanUp (stores are then restored from their changelogs)", d.path, p.Version, version)
	}
	d.process = p.ID
	return nil
}

// newID is a random UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand stops the program instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// wipe removes all tasks.
func (d *Dir) wipe() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return explain("read", d.path, err)
	}
	for _, e := range entries {
		if e.IsDir() && taskName.MatchString(e.Name()) {
			if err := remove(filepath.Join(d.path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove deletes a task's directory in such a way that a crash leaves it whole or marked for deletion, never by half.
func remove(path string) error {
	gone := path + doomed
	err := os.RemoveAll(gone)
	if err == nil {
		if err = os.Rename(path, gone); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err == nil {
		err = os.RemoveAll(gone)
	}
	if err != nil {
		return explain("delete", path, err)
	}
	return nil
}

// write replaces a file by what is given, as JSON, and makes it lasting.
func (d *Dir) write(name string, content any) error {
	return replace(filepath.Join(d.path, name), content)
}

func replace(path string, content any) error {
	b, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("stream: state directory: %w", err)
	}
	f, err := os.OpenFile(path+unfinished, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return explain("write", path, err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = errors.Join(os.Rename(path+unfinished, path), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		return explain("write", path, err)
	}
	return nil
}

// explain says what an error means for the directory and what to do about it.
func explain(op, path string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = ": the disk is full; free some space and start again, nothing is lost"
	case errors.Is(err, fs.ErrPermission):
		hint = ": let Config.StateDir be a directory that this user may write to"
	}
	return fmt.Errorf("stream: %s state directory %s: %w%s", op, path, err, hint)
}

// Process is the instance's id, the same after a restart.
func (d *Dir) Process() string { return d.process }

// Left are the names of the tasks that have a directory here and that nobody holds.
func (d *Dir) Left() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]string, 0, len(d.left))
	for name := range d.left {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Clean deletes the directories that nobody has held for age, and names them.
func (d *Dir) Clean(age time.Duration) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for name, since := range d.left {
		if time.Since(since) < age {
			continue
		}
		if err := remove(filepath.Join(d.path, name)); err != nil {
			return out, err
		}
		delete(d.left, name)
		out = append(out, name)
	}
	slices.Sort(out)
	return out, nil
}

// Close gives the directory up. All tasks must have been released.
func (d *Dir) Close() error { return d.lock.release() }

// Remove deletes the directory of an application that no instance uses. There need not be one. What stands in it that is not
// ours stays.
func Remove(root, app string, log *slog.Logger) error {
	path := filepath.Join(root, app)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d := &Dir{path: path, log: log}
	if err := d.acquire(); err != nil {
		return err
	}
	err := errors.Join(d.wipe(), d.sweep())
	if err == nil {
		d.lock.vanish()
	}
	err = errors.Join(err, d.lock.release())
	_ = os.Remove(d.path) // unless there is more in it
	return err
}

// sweep deletes what is left beside the tasks.
func (d *Dir) sweep() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return explain("read", d.path, err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case filepath.Ext(name) == doomed, name == holderFile, name == processFile, name == holderFile+unfinished, name == processFile+unfinished:
			if err := os.RemoveAll(filepath.Join(d.path, name)); err != nil {
				return explain("delete", d.path, err)
			}
		}
	}
	return nil
}
