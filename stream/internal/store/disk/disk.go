// Package disk keeps the rows of one store in a Pebble database: what a task wrote since its last commit in memory, all
// before it on disk, with the position in the changelog that the rows on disk are worth.
//
// After a crash the directory holds exactly the state at some commit, with the position of that commit: never half of
// one, and none without those before it. Which one depends on what the operating system had written; a store that was
// closed holds the last one.
//
// Pebble cannot go on after a failed write of its log, a full disk among them: it reports and ends the process. The
// directory is then as after a crash.
package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrun/millrun/stream/internal/store"
)

// version is the layout of the keys and of the head below. Another one is refused.
const version = 1

// None is the position of a store that never committed: its rows are to be restored from the beginning.
const None int64 = -1

// ErrClosed is what a closed store answers.
var ErrClosed = errors.New("disk: the store is closed")

// FormatError tells that a directory was written by another version of this package, or by something else. The remedy is
// to remove the directory: its rows come back from the changelog.
type FormatError struct {
	Dir     string
	Version int // 0: the directory says none
}

// Error names the directory and the remedy.
func (e *FormatError) Error() string {
	return fmt.Sprintf("disk: %s has format %d, this version reads %d: remove the directory, and the store is restored from its changelog",
		e.Dir, e.Version, version)
}

// The key of the head, which says what the rows are worth, and the bounds of the keys of rows.
var (
	headKey = []byte("h")
	rowsLow = []byte("r")
	rowsEnd = []byte("s")
)

// head is one row, written with the rows of its commit.
type head struct{ position, rows int64 }

func (h head) bytes() []byte {
	b := binary.BigEndian.AppendUint64([]byte{version}, uint64(h.position))
	return binary.BigEndian.AppendUint64(b, uint64(h.rows))
}

// Store is an ordered map of bytes. One goroutine writes (Put, Commit, Revert, Close); any number may read beside it. It
// copies what it is given. Readers see what is not yet committed, too.
type Store struct {
	dir string

	mu      sync.RWMutex
	db      *pebble.DB  // nil: closed
	head    head        // of the last commit
	pending *store.Tree // changes since then: a mark, and the value
	scratch []byte
}

// The marks of pending changes.
const (
	removed byte = iota
	set
)

// Open opens the store in dir, or makes it. One process at a time may have it open.
func Open(dir string) (*Store, error) { return open(dir, vfs.Default) }

func open(dir string, fs vfs.FS) (*Store, error) {
	db, err := pebble.Open(dir, &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{pebble.DefaultLogger}})
	if err != nil {
		return nil, fmt.Errorf("disk: open %s: %w", dir, err)
	}
	s := &Store{dir: dir, db: db, pending: store.NewTree()}
	if s.head, err = s.readHead(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// quiet leaves out what Pebble tells of its daily work.
type quiet struct{ pebble.Logger }

// Infof drops the message.
func (quiet) Infof(string, ...any) {}

func (s *Store) readHead() (head, error) {
	b, ok, err := s.get(headKey)
	switch {
	case err != nil:
		return head{}, err
	case !ok:
		return head{position: None}, s.mustBeEmpty()
	case len(b) == 0:
		return head{}, &FormatError{Dir: s.dir}
	case b[0] != version || len(b) != 17:
		return head{}, &FormatError{Dir: s.dir, Version: int(b[0])}
	}
	return head{int64(binary.BigEndian.Uint64(b[1:])), int64(binary.BigEndian.Uint64(b[9:]))}, nil
}

// mustBeEmpty refuses a database with keys but no head: it is not ours.
func (s *Store) mustBeEmpty() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return s.failed("read", err)
	}
	found := it.First()
	if err := it.Close(); err != nil {
		return s.failed("read", err)
	}
	if found {
		return &FormatError{Dir: s.dir}
	}
	return nil
}

func (s *Store) failed(what string, err error) error {
	return fmt.Errorf("disk: %s %s: %w", what, s.dir, err)
}

// get reads a key of the database. The value is the caller's.
func (s *Store) get(key []byte) ([]byte, bool, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.failed("read", err)
	}
	v = append(make([]byte, 0, len(v)), v...)
	if err := closer.Close(); err != nil {
		return nil, false, s.failed("read", err)
	}
	return v, true, nil
}

func rowKey(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), rowsLow...), key...)
}

// Put sets a row, or removes it where value is nil. Until Commit the change is in memory only. It always says true: nothing
// is too old to be kept.
func (s *Store) Put(key, value []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scratch = append(s.scratch[:0], removed)
	if value != nil {
		s.scratch[0] = set
		s.scratch = append(s.scratch, value...)
	}
	s.pending.Set(key, s.scratch)
	return true
}

// Get finds a value. The slice is the caller's.
func (s *Store) Get(key []byte) ([]byte, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return nil, false, ErrClosed
	}
	if v, ok, err := s.pending.Get(key); ok || err != nil {
		if err != nil || v[0] == removed {
			return nil, false, err
		}
		return append(make([]byte, 0, len(v)-1), v[1:]...), true, nil
	}
	return s.get(rowKey(key))
}

// Len is the number of rows. It looks up each change that is not yet committed.
func (s *Store) Len() (int64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return 0, ErrClosed
	}
	n := s.head.rows
	err := s.each(func(key, value []byte) error {
		_, was, err := s.get(rowKey(key))
		n += gained(was, value[0] == set)
		return err
	})
	return n, err
}

// gained is by how much the number of rows changes.
func gained(was, is bool) int64 {
	switch {
	case was == is:
		return 0
	case is:
		return 1
	}
	return -1
}

// each visits the changes that are not yet committed.
func (s *Store) each(visit func(key, value []byte) error) error {
	k, v, ok, err := s.pending.Seek(nil, false, false)
	for ; ok && err == nil; k, v, ok, err = s.pending.Seek(k, false, true) {
		if err := visit(k, v); err != nil {
			return err
		}
	}
	return err
}

// Shared is the store itself: its slices are the reader's own.
func (s *Store) Shared() store.Reader { return s }

// Position is the position in the changelog that the committed rows are worth, the next offset to read; None before the
// first commit.
func (s *Store) Position() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.head.position
}

// Commit makes everything since the last commit lasting at once, together with the position. It does not wait for the
// disk: a crash may undo the last commits, each of them whole. After an error nothing is committed, and the changes are
// still pending.
func (s *Store) Commit(position int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return ErrClosed
	}
	b := s.db.NewBatch()
	next := head{position, s.head.rows}
	err := s.each(func(key, value []byte) error {
		row := rowKey(key)
		_, was, err := s.get(row)
		if err != nil {
			return err
		}
		next.rows += gained(was, value[0] == set)
		if value[0] == removed {
			return b.Delete(row, nil)
		}
		return b.Set(row, value[1:], nil)
	})
	if err == nil {
		err = b.Set(headKey, next.bytes(), nil)
	}
	if err == nil {
		err = b.Commit(pebble.NoSync)
	}
	if err != nil {
		return errors.Join(s.failed("commit", err), b.Close())
	}
	s.head, s.pending = next, store.NewTree()
	if err := b.Close(); err != nil {
		return s.failed("commit", err)
	}
	return nil
}

// Revert undoes everything since the last commit.
func (s *Store) Revert() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = store.NewTree()
}

// Close waits until all commits are on disk and closes the store. What is not committed is lost. Closing it again does
// nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	err := errors.Join(s.db.LogData(nil, pebble.Sync), s.db.Close())
	s.db = nil
	if err != nil {
		return s.failed("close", err)
	}
	return nil
}

// Seek finds a neighbour; see store.Reader. The slices are the caller's.
func (s *Store) Seek(key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return nil, nil, false, ErrClosed
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: rowsLow, UpperBound: rowsEnd})
	if err != nil {
		return nil, nil, false, s.failed("read", err)
	}
	k, v, ok, err := s.merge(it, key, reverse, past)
	k, v = bytes.Clone(k), append(make([]byte, 0, len(v)), v...)
	if err = errors.Join(err, it.Close()); err != nil {
		return nil, nil, false, s.failed("read", err)
	}
	if !ok {
		return nil, nil, false, nil
	}
	return k, v, true, nil
}

// merge finds the nearest row of what is pending and what is on disk. Pending changes hide rows of the same key.
func (s *Store) merge(it *pebble.Iterator, key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	onDisk := place(it, key, reverse, past)
	pk, pv, pending, err := s.pending.Seek(key, reverse, past)
	for ; pending && err == nil; pk, pv, pending, err = s.pending.Seek(pk, reverse, true) {
		if onDisk {
			order := bytes.Compare(it.Key()[len(rowsLow):], pk)
			if order != 0 && (order < 0) != reverse {
				break
			}
			if order == 0 {
				onDisk = step(it, reverse)
			}
		}
		if pv[0] == set {
			return pk, pv[1:], true, nil
		}
	}
	if err != nil || !onDisk {
		return nil, nil, false, errors.Join(err, it.Error())
	}
	v, err := it.ValueAndErr()
	return it.Key()[len(rowsLow):], v, err == nil, err
}

// place moves the iterator to the neighbour of key.
func place(it *pebble.Iterator, key []byte, reverse, past bool) bool {
	switch {
	case key == nil && reverse:
		return it.Last()
	case key == nil:
		return it.First()
	}
	row := rowKey(key)
	if reverse != past { // after key, or at it and before: both begin behind every key that is not after it
		row = append(row, 0)
	}
	if reverse {
		return it.SeekLT(row)
	}
	return it.SeekGE(row)
}

func step(it *pebble.Iterator, reverse bool) bool {
	if reverse {
		return it.Prev()
	}
	return it.Next()
}
