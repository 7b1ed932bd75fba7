package clock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// reread is how old a reading of the file may be; it bounds how late another process notices a moved clock.
const reread = 100 * time.Millisecond

// File is the machine's clock plus an offset kept in a file, so that every process of one installation moves together
// and stays moved after a restart. Safe for concurrent use. The offset only grows: a file that says less, or cannot be
// read, leaves the last known offset in force.
type File struct {
	path string

	mu     sync.Mutex
	read   time.Time
	offset time.Duration
}

// offsetFile is the file's content.
type offsetFile struct {
	Offset string `json:"offset"`
}

// OpenFile returns the clock kept at path. A file that does not exist means an offset of zero; one that cannot be
// understood is an error.
func OpenFile(path string) (*File, error) {
	d, err := readOffset(path)
	if err != nil {
		return nil, err
	}
	return &File{path: path, offset: d, read: time.Now()}, nil
}

// Now is the machine's time plus the offset.
func (f *File) Now() time.Time { return time.Now().Add(f.Offset()) }

// Offset is how far the clock is ahead of the machine's.
func (f *File) Offset() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.read) > reread {
		f.read = now
		if d, err := readOffset(f.path); err == nil && d > f.offset {
			f.offset = d
		}
	}
	return f.offset
}

// Advance moves the clock forward by d for every process that reads the file, and returns the new offset.
func (f *File) Advance(d time.Duration) (time.Duration, error) {
	if d < 0 {
		return 0, fmt.Errorf("clock: %s would move the clock back; it only goes forward", d)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := readOffset(f.path)
	if err != nil {
		return 0, err
	}
	if err := writeOffset(f.path, now+d); err != nil {
		return 0, err
	}
	f.offset, f.read = now+d, time.Now()
	return f.offset, nil
}

func readOffset(path string) (time.Duration, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("clock: %w", err)
	}
	var o offsetFile
	if err := json.Unmarshal(b, &o); err != nil {
		return 0, fmt.Errorf("clock: %s is no clock file: %w", path, err)
	}
	d, err := time.ParseDuration(o.Offset)
	if err != nil {
		return 0, fmt.Errorf("clock: %s is no clock file: %w", path, err)
	}
	return d, nil
}

// writeOffset replaces the file in one step, so that no reader ever sees half of it.
func writeOffset(path string, d time.Duration) error {
	b, err := json.Marshal(offsetFile{Offset: d.String()})
	if err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".clock-*")
	if err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(b); err != nil {
		return errors.Join(fmt.Errorf("clock: %w", err), tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("clock: %w", err)
	}
	return nil
}
