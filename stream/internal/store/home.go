package store

import (
	"errors"

	"github.com/millrun/millrun/stream/internal/opt"
)

// Map is an ordered map of bytes in the hands of the one goroutine that writes it: a Tree, or rows on disk.
type Map interface {
	Reader
	// Put sets a row, or removes it where value is nil. The bytes are copied. It says false if the row is too old to be kept.
	Put(key, value []byte) bool
	// RemoveBefore removes every row before key.
	RemoveBefore(key []byte)
	// Shared is the map for other goroutines than the writing one.
	Shared() Reader
}

// The maps of a Home.
const (
	Rows   = iota // of a store
	Second        // the same rows in a second order, or a part of them
	Homes         // how many there are
)

// NoPosition is the position of rows that were never committed: they are to be restored from the beginning.
const NoPosition int64 = -1

// Mark says what committed rows are worth: everything in a partition of the topic before the position.
type Mark struct {
	Topic    [16]byte // the topic's id: one of the same name that was made anew has another; zero: not known
	Position int64    // the next offset to read; NoPosition before the first commit
	Note     []byte   // what the owner of the rows has to remember with them
}

// Home is where a store's rows live longer than its task. Changes of all its maps become lasting together, at commits, with the
// Mark they are worth; after a crash, it holds what it held at some commit, and after an orderly end, what it held at the
// last one. It belongs to the goroutine that writes; what maps Share may be read by any.
type Home interface {
	// Map is one of the maps: Rows or Second.
	Map(which int) Map
	// Mark is that of the last commit.
	Mark() Mark
	// Commit makes everything since the last one lasting. After an error nothing is committed.
	Commit(m Mark) error
	// Pending is how much memory the changes take that are not committed, in bytes, roughly.
	Pending() int64
	// Close ends the home; what is not committed is lost.
	Close() error
}

// Backend makes homes.
type Backend interface {
	// Open opens the home in a directory, which one process has to itself, or makes it. The shape is that of the rows, where
	// they live by their time, else nil. The error is ErrDamaged if the directory cannot be read any more and has to be
	// removed.
	Open(dir string, shape *Shape) (Home, error)
	// Remove deletes the home in a directory, which nobody has open; there need not be one.
	Remove(dir string) error
	// InMemory is the same with directories that are in memory only, and begin empty: for tests.
	InMemory() Backend
}

// ErrDamaged says that rows on disk cannot be read: the directory is to be removed, and the rows come back from the
// changelog.
var ErrDamaged = errors.New("the store on disk is damaged")

// OnDisk says whether the store is kept on disk where the application's engine does that.
func (d *Decl) OnDisk() bool {
	return d.Engine != opt.Memory && d.LRU == 0 && d.Kind != Kept
}
