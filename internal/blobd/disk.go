package blobd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	formatNumber  = "1\n"
	containersDir = "c"
	tempDir       = "tmp"
	headFile      = "head.json"
	containerFile = "container.json"
	serviceFile   = "service.json"
)

// disk is the folder of a Server. All paths go through os.Root, so none can leave the folder whatever its text. Safe
// for concurrent use; who writes the same path twice at once must know the order.
type disk struct {
	root *os.Root
	seq  atomic.Int64
}

// openDisk opens or makes the folder and empties what a killed process was writing.
func openDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blobd: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("blobd: %w", err)
	}
	d := &disk{root: root}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return d, nil
}

func (d *disk) prepare() error {
	format, err := d.root.ReadFile("format")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := d.root.WriteFile("format", []byte(formatNumber), 0o600); err != nil {
			return fmt.Errorf("blobd: %w", err)
		}
	case err != nil:
		return fmt.Errorf("blobd: %w", err)
	case string(format) != formatNumber:
		return fmt.Errorf("blobd: %s holds layout %q, this program knows %q; open it with the version that wrote it",
			d.root.Name(), strings.TrimSpace(string(format)), strings.TrimSpace(formatNumber))
	}
	if err := d.root.RemoveAll(tempDir); err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	for _, sub := range []string{tempDir, containersDir} {
		if err := d.root.MkdirAll(sub, 0o700); err != nil {
			return fmt.Errorf("blobd: %w", err)
		}
	}
	return d.syncDir(".")
}

// nameDigest is the folder name for a container or blob name. The digest is the same on every file system, whatever
// it thinks of case, dots, reserved names or length.
func nameDigest(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func containerPath(name string) string { return path.Join(containersDir, nameDigest(name)) }

func blobPath(container, name string) string {
	return path.Join(containerPath(container), "b", nameDigest(name))
}

// temp is a new file under tmp/ that the caller publishes or discards.
func (d *disk) temp() (*os.File, string, error) {
	name := path.Join(tempDir, strconv.FormatInt(d.seq.Add(1), 10))
	f, err := d.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, "", fmt.Errorf("blobd: %w", err)
	}
	return f, name, nil
}

// discard removes a temporary file. A file that stays behind is removed at the next Open.
func (d *disk) discard(name string) { _ = d.root.Remove(name) }

// publish moves a synced temporary file to its place and makes the move durable.
func (d *disk) publish(tmp, dst string) error {
	if err := d.root.Rename(tmp, dst); err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	return d.syncDir(path.Dir(dst))
}

// replace writes v as JSON to name in one step: a reader or a crash sees the old content or the new.
func (d *disk) replace(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	f, tmp, err := d.temp()
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		d.discard(tmp)
		return fmt.Errorf("blobd: %w", err)
	}
	if err := d.publish(tmp, name); err != nil {
		d.discard(tmp)
		return err
	}
	return nil
}

// read decodes the JSON file name into v.
func (d *disk) read(name string, v any) error {
	b, err := d.root.ReadFile(name)
	if err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("blobd: %s: %w", name, err)
	}
	return nil
}

func (d *disk) syncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	return nil
}

// makeDir makes a folder and its parents and makes them durable.
func (d *disk) makeDir(name string) error {
	if _, err := d.root.Stat(name); err == nil {
		return nil
	}
	if err := d.root.MkdirAll(name, 0o700); err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	return d.syncDir(path.Dir(name))
}

// list names the entries of a folder; a missing folder has none.
func (d *disk) list(name string) ([]fs.DirEntry, error) {
	f, err := d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("blobd: %w", err)
	}
	entries, err := f.ReadDir(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("blobd: %w", err)
	}
	return entries, nil
}

// removeHeadFirst removes a blob's folder such that a crash in between leaves a folder without head, which Open
// takes for no blob.
func (d *disk) removeHeadFirst(dir, head string) error {
	if err := d.root.Remove(path.Join(dir, head)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blobd: %w", err)
	}
	if err := d.root.RemoveAll(dir); err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	return d.syncDir(path.Dir(dir))
}

// segmentReader reads consecutive segments as one stream, one open file at a time. Owned by one goroutine.
type segmentReader struct {
	disk *disk
	dir  string
	rest []segment
	skip int64 // bytes of the first segment that are not wanted
	left int64
	file *os.File
}

// open returns a reader of size bytes from offset on. The first file is opened at once, so that a segment which is
// gone is found before an answer has begun.
func (d *disk) open(dir string, segments []segment, offset, size int64) (*segmentReader, error) {
	r := &segmentReader{disk: d, dir: dir, rest: segments, skip: offset, left: size}
	for len(r.rest) > 0 && r.skip >= r.rest[0].Size {
		r.skip -= r.rest[0].Size
		r.rest = r.rest[1:]
	}
	if r.left == 0 {
		return r, nil
	}
	return r, r.next()
}

// next opens the next segment that has bytes.
func (r *segmentReader) next() error {
	for len(r.rest) > 0 && r.rest[0].Size == 0 {
		r.rest = r.rest[1:]
	}
	if len(r.rest) == 0 {
		return io.ErrUnexpectedEOF
	}
	f, err := r.disk.root.Open(path.Join(r.dir, r.rest[0].File))
	if err != nil {
		return fmt.Errorf("blobd: %w", err)
	}
	r.file, r.rest = f, r.rest[1:]
	if r.skip > 0 {
		if _, err := f.Seek(r.skip, io.SeekStart); err != nil {
			return fmt.Errorf("blobd: %w", err)
		}
		r.skip = 0
	}
	return nil
}

// Read implements io.Reader.
func (r *segmentReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	for {
		if r.file == nil {
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.file.Read(p)
		r.left -= int64(n)
		if errors.Is(err, io.EOF) {
			err = r.closeFile()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (r *segmentReader) closeFile() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Close releases the open file.
func (r *segmentReader) Close() error { return r.closeFile() }
