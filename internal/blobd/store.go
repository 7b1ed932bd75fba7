package blobd

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// store is the folder's content in memory: every container, name and property; the bytes stay on disk.
//
// Lock order: container.life, then blob.mu, then container.mu or store.mu. Published states are immutable, so
// readers hold no lock while they use one.
type store struct {
	disk *disk
	last atomic.Int64 // the newest stamp given

	mu         sync.RWMutex
	containers map[string]*container
}

// container holds the blobs of one container in the order of their names.
type container struct {
	// life is held for reading by who changes a blob, for writing by who deletes the container.
	life sync.RWMutex
	gone bool // by life

	rec atomic.Pointer[containerRecord]

	mu    sync.RWMutex
	blobs map[string]*blob
	names []string // sorted; exactly the keys of blobs
}

// blob is one name. Its state is replaced, never changed.
type blob struct {
	name string
	dir  string

	mu      sync.Mutex
	dead    bool                // left the container's map; look it up again
	onDisk  bool                // the folder has a head
	pending map[string]*pending // uncommitted blocks by id

	state atomic.Pointer[state]
}

// pending is an uncommitted block.
type pending struct {
	segment

	at stamp
}

// stamp gives the next stamp: the clock's moment, or just above the last one given.
func (s *store) stamp(now time.Time) stamp {
	for {
		last := s.last.Load()
		next := max(int64(stampOf(now)), last+1)
		if s.last.CompareAndSwap(last, next) {
			return stamp(next)
		}
	}
}

func (s *store) container(name string) *container {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.containers[name]
}

// find is the blob's published state, or nil when the name stands for nothing.
func (c *container) find(name string, now time.Time) (*blob, *state) {
	c.mu.RLock()
	b := c.blobs[name]
	c.mu.RUnlock()
	if b == nil {
		return nil, nil
	}
	return b, b.state.Load().expire(now)
}

// acquire locks the blob of that name for a change, making it when it is not there. Release it with release.
func (c *container) acquire(name string) *blob {
	for {
		c.mu.Lock()
		b := c.blobs[name]
		if b == nil {
			b = &blob{name: name, dir: blobPath(c.rec.Load().Name, name), pending: map[string]*pending{}}
			b.state.Store(&state{Name: name})
			c.insert(b)
		}
		c.mu.Unlock()
		b.mu.Lock()
		if !b.dead {
			return b
		}
		b.mu.Unlock()
	}
}

// insert adds b to the index; the caller holds c.mu.
func (c *container) insert(b *blob) {
	i, _ := slices.BinarySearch(c.names, b.name)
	c.names = slices.Insert(c.names, i, b.name)
	c.blobs[b.name] = b
}

// release unlocks b and forgets it when it stands for nothing.
func (c *container) release(b *blob) {
	if b.state.Load().empty() && len(b.pending) == 0 && !b.onDisk {
		b.dead = true
		c.mu.Lock()
		if i, ok := slices.BinarySearch(c.names, b.name); ok {
			c.names = slices.Delete(c.names, i, i+1)
		}
		delete(c.blobs, b.name)
		c.mu.Unlock()
	}
	b.mu.Unlock()
}

// commit makes next the blob's state on disk and in memory, and removes the segments that nobody names any more.
// The caller holds b.mu and life. Uncommitted blocks survive when next keeps the epoch.
func (s *store) commit(b *blob, next *state) error {
	old := b.state.Load()
	if next.Epoch != old.Epoch {
		defer clear(b.pending)
	}
	if next.empty() && (len(b.pending) == 0 || next.Epoch != old.Epoch) {
		if err := s.disk.removeHeadFirst(b.dir, headFile); err != nil {
			return err
		}
		b.onDisk = false
		b.state.Store(next)
		return nil
	}
	if err := s.writeHead(b, next); err != nil {
		return err
	}
	b.state.Store(next)
	s.removeUnnamed(b, old, next)
	return nil
}

// writeHead makes next durable.
func (s *store) writeHead(b *blob, next *state) error {
	if err := s.disk.makeDir(b.dir); err != nil {
		return err
	}
	if err := s.disk.replace(path.Join(b.dir, headFile), next); err != nil {
		return err
	}
	b.onDisk = true
	return nil
}

// removeUnnamed deletes the segments that old had and next has not. One that cannot be removed now is removed at
// the next Open, since no head names it.
func (s *store) removeUnnamed(b *blob, old, next *state) {
	keep := next.files()
	drop := old.files()
	if next.Epoch != old.Epoch {
		for _, p := range b.pending {
			drop[p.File] = true
		}
	}
	removed := false
	for file := range drop {
		if !keep[file] {
			_ = s.disk.root.Remove(path.Join(b.dir, file))
			removed = true
		}
	}
	if removed {
		_ = s.disk.syncDir(b.dir)
	}
}

// adopt moves a synced temporary file into the blob's folder as a segment.
func (s *store) adopt(b *blob, tmp string, g segment) error {
	if err := s.disk.makeDir(b.dir); err != nil {
		return err
	}
	return s.disk.publish(tmp, path.Join(b.dir, g.File))
}

func putBlobFile(at stamp) string { return fmt.Sprintf("s-%d.seg", at) }

func blockFile(epoch int64, at stamp, id []byte) string {
	return fmt.Sprintf("u-%d-%d-%s.seg", epoch, at, hex.EncodeToString(id))
}

// parseBlockFile undoes blockFile.
func parseBlockFile(name string) (epoch int64, at stamp, id string, ok bool) {
	parts := strings.Split(strings.TrimSuffix(name, ".seg"), "-")
	if len(parts) != 4 || parts[0] != "u" || !strings.HasSuffix(name, ".seg") {
		return 0, 0, "", false
	}
	epoch, err1 := strconv.ParseInt(parts[1], 10, 64)
	nano, err2 := strconv.ParseInt(parts[2], 10, 64)
	raw, err3 := hex.DecodeString(parts[3])
	return epoch, stamp(nano), base64.StdEncoding.EncodeToString(raw), errors.Join(err1, err2, err3) == nil
}

// openStore reads the folder, finishing what a killed process had begun to remove.
func openStore(d *disk) (*store, error) {
	s := &store{disk: d, containers: map[string]*container{}}
	entries, err := d.list(containersDir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		dir := path.Join(containersDir, e.Name())
		rec := new(containerRecord)
		err := d.read(path.Join(dir, containerFile), rec)
		if errors.Is(err, fs.ErrNotExist) {
			if err := d.root.RemoveAll(dir); err != nil {
				return nil, fmt.Errorf("blobd: %w", err)
			}
			continue
		}
		if err == nil && nameDigest(rec.Name) != e.Name() {
			err = fmt.Errorf("blobd: %s names a container that does not belong there", dir)
		}
		if err != nil {
			return nil, err
		}
		if err := s.load(rec); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// load reads one container's blobs.
func (s *store) load(rec *containerRecord) error {
	c := &container{blobs: map[string]*blob{}}
	c.rec.Store(rec)
	s.see(rec.ETag)
	dir := path.Join(containerPath(rec.Name), "b")
	entries, err := s.disk.list(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := s.loadBlob(path.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if b != nil {
			c.blobs[b.name] = b
			c.names = append(c.names, b.name)
		}
	}
	slices.Sort(c.names)
	s.containers[rec.Name] = c
	return nil
}

// see keeps stamps above what the folder already holds.
func (s *store) see(at stamp) { s.last.Store(max(s.last.Load(), int64(at))) }

// loadBlob reads one blob's folder and removes the files that its head does not name. It returns nil for a folder
// that stands for no blob.
func (s *store) loadBlob(dir string) (*blob, error) {
	st := new(state)
	err := s.disk.read(path.Join(dir, headFile), st)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.disk.root.RemoveAll(dir)
	}
	if err == nil && nameDigest(st.Name) != path.Base(dir) {
		err = fmt.Errorf("blobd: %s names a blob that does not belong there", dir)
	}
	if err != nil {
		return nil, err
	}
	entries, err := s.disk.list(dir)
	if err != nil {
		return nil, err
	}
	b := &blob{name: st.Name, dir: dir, onDisk: true, pending: map[string]*pending{}}
	b.state.Store(st)
	s.see(st.newest())
	sizes := make(map[string]int64, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("blobd: %w", err)
		}
		sizes[e.Name()] = info.Size()
	}
	if err := st.check(dir, sizes); err != nil {
		return nil, err
	}
	if err := s.sortOut(b, st, sizes); err != nil {
		return nil, err
	}
	if st.empty() && len(b.pending) == 0 {
		return nil, s.disk.removeHeadFirst(dir, headFile)
	}
	return b, nil
}

// check says whether every segment that the state names is there whole.
func (s *state) check(dir string, sizes map[string]int64) error {
	var err error
	s.all(func(v *version) bool {
		for _, g := range v.Segments {
			if size, ok := sizes[g.File]; !ok || size != g.Size {
				err = fmt.Errorf("blobd: %s/%s should hold %d bytes; the folder is damaged, restore it from a copy",
					dir, g.File, g.Size)
			}
		}
		return err == nil
	})
	return err
}

// sortOut keeps the newest uncommitted block per id and removes every other file that nobody names.
func (s *store) sortOut(b *blob, st *state, sizes map[string]int64) error {
	keep := st.files()
	keep[headFile] = true
	for file, size := range sizes {
		epoch, at, id, ok := parseBlockFile(file)
		if !ok || keep[file] {
			continue
		}
		s.see(at)
		if old := b.pending[id]; epoch == st.Epoch && (old == nil || old.at < at) {
			b.pending[id] = &pending{File: file, Size: size, Block: id, at: at}
		}
	}
	for _, p := range b.pending {
		keep[p.File] = true
	}
	for file := range sizes {
		if keep[file] {
			continue
		}
		if err := s.disk.root.Remove(path.Join(b.dir, file)); err != nil {
			return fmt.Errorf("blobd: %w", err)
		}
	}
	return nil
}
