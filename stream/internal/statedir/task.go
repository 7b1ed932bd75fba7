package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ErrHeld says that another thread of the instance has not released the task yet.
var ErrHeld = errors.New("stream: another thread has not released the task yet")

// Task is the directory of a task in the hands of one owner, until Release. Not safe for concurrent use.
type Task struct {
	d    *Dir
	name string
}

// Claim makes or opens the directory of a task. It fails with ErrHeld while somebody else of this instance has it.
func (d *Dir) Claim(name string) (*Task, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held[name] != nil {
		return nil, fmt.Errorf("%w: %s", ErrHeld, name)
	}
	t := &Task{d, name}
	if err := os.MkdirAll(t.Path(), 0o700); err != nil {
		return nil, explain("make", t.Path(), err)
	}
	delete(d.left, name)
	d.held[name] = t
	return t, nil
}

// Path is where the task's stores are.
func (t *Task) Path() string { return filepath.Join(t.d.path, t.name) }

// Release lets others have the task. What is on disk stays until Clean.
func (t *Task) Release() {
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	if t.d.held[t.name] != t {
		return
	}
	delete(t.d.held, t.name)
	if _, err := os.Lstat(t.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.d.left[t.name] = time.Now()
	}
}
