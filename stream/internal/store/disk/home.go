// Package disk keeps the rows of one store in a Pebble database: what a task wrote since its last commit in memory, all
// before it on disk, with the position in the changelog that the rows on disk are worth.
//
// After a crash the directory holds exactly the state at some commit, with the position of that commit: never half of
// one, and none without those before it. A store that was closed holds the last one. There is no log of commits: the
// changelog is one, and what was committed since Pebble last wrote a file is read from there again.
package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrun/millrun/stream/internal/store"
)

// version is the layout of the keys and of the head below. Another one is refused.
const version = 2

// ErrClosed is what a closed store answers.
var ErrClosed = errors.New("disk: the store is closed")

// FormatError tells that a directory was written by another version of this package, or by something else. It is
// store.ErrDamaged: the rows come back from the changelog.
type FormatError struct {
	Dir     string
	Version int // 0: the directory says none
}

// Error names the directory and the remedy.
func (e *FormatError) Error() string {
	return fmt.Sprintf("disk: %s has format %d, this version reads %d: remove the directory, and the store is restored from its changelog",
		e.Dir, e.Version, version)
}

// Is says that it is store.ErrDamaged.
func (*FormatError) Is(target error) bool { return target == store.ErrDamaged }

// The database's keys: the head, which says what the rows are worth, and a letter before the keys of each map.
const (
	headKey  = 'h'
	firstMap = 'r'
)

// head is one row, written with the rows of its commit.
type head struct {
	rows   int64 // in the map store.Rows; uncounted until somebody asks
	latest int64 // no row has a later time; -1 where they have none
	mark   store.Mark
}

const uncounted int64 = -1

const headLen = 1 + 8 + 8 + 8 + 16

func (h head) bytes() []byte {
	b := binary.BigEndian.AppendUint64([]byte{version}, uint64(h.mark.Position))
	b = binary.BigEndian.AppendUint64(b, uint64(h.rows))
	b = binary.BigEndian.AppendUint64(b, uint64(h.latest))
	return append(append(b, h.mark.Topic[:]...), h.mark.Note...)
}

// Home is the store's directory and implements store.Home. One goroutine writes; any number may read beside it what its maps
// Share. Readers see what is not yet committed, too.
type Home struct {
	dir     string
	backend *Backend
	trouble *trouble

	mu     sync.RWMutex // held by the writer to change what readers go by, and by readers while they read
	db     *pebble.DB   // nil: closed
	broken bool         // db was left as it was
	head   head         // of the last commit
	asked  atomic.Bool  // somebody wants to know the number of rows
	maps   [store.Homes]*rows
}

var _ store.Home = (*Home)(nil)

// filterBits is the size of the filters that tell a key which is not in a file, in bits for each key: one key in a hundred is
// looked for in vain.
const filterBits = 10

// overlaps is how many files that may hold the same key are read before they are merged into one. The mark is in every file, so
// each new one counts. Merging sooner costs more than all else while a store is restored (decision 0188). It is what RocksDB begins at, too.
const overlaps = 4

// memTable is how many bytes of committed rows a database keeps in memory before it sorts them into a file, and stalled how
// many of them may wait for that: without end, since whoever commits must be told that files cannot be written, not wait.
const memTable, stalled = 8 << 20, 1 << 20

func (b *Backend) open(dir string, shape *store.Shape) (*Home, error) {
	h := &Home{dir: dir, backend: b, trouble: newTrouble()}
	for i := range h.maps {
		h.maps[i] = newRows(h, i)
	}
	h.maps[store.Rows].shape = shape
	if err := h.begin(h.options(b.hold(), b.fs)); err != nil {
		b.release()
		return nil, err
	}
	return h, nil
}

func (h *Home) options(cache *pebble.Cache, fs vfs.FS) *pebble.Options {
	o := &pebble.Options{
		Cache: cache, FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{pebble.DefaultLogger}, DisableWAL: true,
		MemTableSize: memTable, MemTableStopWritesThreshold: stalled,
		L0CompactionThreshold: 2 * overlaps, // Pebble begins at half of it
		EventListener:         &pebble.EventListener{BackgroundError: h.trouble.note},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(filterBits)
	}
	if s := h.maps[store.Rows].shape; s != nil {
		o.BlockPropertyCollectors = collectors(s)
	}
	return o
}

func (h *Home) begin(o *pebble.Options) (err error) {
	defer h.attempt(&err)
	db, err := pebble.Open(h.dir, o)
	if err != nil {
		return h.failed("open", damaged(err))
	}
	h.db = db
	if h.head, err = h.readHead(); err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

func (h *Home) readHead() (head, error) {
	b, ok, err := h.get([]byte{headKey})
	switch {
	case err != nil:
		return head{}, err
	case !ok:
		return head{rows: uncounted, latest: -1, mark: store.Mark{Position: store.NoPosition}}, h.mustBeEmpty()
	case len(b) == 0:
		return head{}, &FormatError{Dir: h.dir}
	case b[0] != version || len(b) < headLen:
		return head{}, &FormatError{Dir: h.dir, Version: int(b[0])}
	}
	out := head{
		mark: store.Mark{Position: int64(binary.BigEndian.Uint64(b[1:])), Note: b[headLen:]},
		rows: int64(binary.BigEndian.Uint64(b[9:])), latest: int64(binary.BigEndian.Uint64(b[17:])),
	}
	copy(out.mark.Topic[:], b[25:])
	return out, nil
}

// mustBeEmpty refuses a database with keys but no head: it is not ours.
func (h *Home) mustBeEmpty() error {
	it, err := h.db.NewIter(nil)
	if err != nil {
		return h.failed("read", err)
	}
	found := it.First()
	if err := it.Close(); err != nil {
		return h.failed("read", err)
	}
	if found {
		return &FormatError{Dir: h.dir}
	}
	return nil
}

// get reads a key of the database. The value is the caller's.
func (h *Home) get(key []byte) ([]byte, bool, error) {
	v, closer, err := h.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, h.failed("read", err)
	}
	v = append(make([]byte, 0, len(v)), v...)
	if err := closer.Close(); err != nil {
		return nil, false, h.failed("read", err)
	}
	return v, true, nil
}

// Map is one of the store's maps.
func (h *Home) Map(which int) store.Map { return h.maps[which] }

// Mark is what the committed rows are worth.
func (h *Home) Mark() store.Mark { return h.head.mark }

// Pending is how much memory the changes take that are not committed, in bytes.
func (h *Home) Pending() (n int64) {
	for _, m := range h.maps {
		n += m.bytes
	}
	return n
}

// Commit makes everything since the last commit lasting at once, together with the mark. It does not wait for the disk: a
// crash undoes the last commits, each of them whole. After an error nothing is committed, and the store can only be
// closed.
func (h *Home) Commit(m store.Mark) (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.attempt(&err)
	if h.db == nil {
		return ErrClosed
	}
	if err := h.trouble.get(); err != nil {
		return h.failed("write", err)
	}
	b := h.db.NewBatch()
	if err := h.fill(b, m); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return errors.Join(h.failed("commit", err), b.Close())
	}
	for _, r := range h.maps {
		r.committed()
	}
	return errors.Join(b.Close(), h.count())
}

// count counts the rows once somebody has asked; from then on, commits do.
func (h *Home) count() (err error) {
	if h.head.rows == uncounted && h.asked.Load() {
		h.head.rows, err = h.maps[store.Rows].count()
	}
	return err
}

// fill puts everything since the last commit into a batch.
func (h *Home) fill(b *pebble.Batch, m store.Mark) error {
	next := head{h.head.rows, h.maps[store.Rows].newest(), m}
	for i, r := range h.maps {
		gained, err := r.write(b)
		if err != nil {
			return err
		}
		if i == store.Rows && next.rows != uncounted {
			next.rows += gained
		}
	}
	if err := b.Set([]byte{headKey}, next.bytes(), nil); err != nil {
		return h.failed("commit", err)
	}
	h.head = next
	return nil
}

// Revert undoes everything since the last commit.
func (h *Home) Revert() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.maps {
		r.revert()
	}
}

// Close waits until all commits are on disk and closes the store. What is not committed is lost. Closing it again does
// nothing.
func (h *Home) Close() (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.attempt(&err)
	if h.broken {
		h.broken = false
		h.backend.release()
	}
	if h.db == nil {
		return nil
	}
	for _, r := range h.maps {
		err = errors.Join(err, r.rest())
	}
	err = errors.Join(err, h.flush(), h.db.Close())
	h.db = nil
	h.backend.release()
	if err != nil {
		return h.failed("close", err)
	}
	return nil
}

// flush writes what is committed to a file and waits for it.
func (h *Home) flush() error {
	done, err := h.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-h.trouble.there:
		return h.trouble.err
	}
}

func (h *Home) failed(what string, err error) error { return failed(what, h.dir, err) }
