// Package store is what lies between the typed stores of package state and the task that owns them: bytes, their order,
// and the declaration of a store.
package store

import (
	"reflect"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/serde"
)

// Reader is a store of bytes, read only. Slices it returns are copies where the store is shared with another goroutine
// and otherwise valid until the next write.
type Reader interface {
	// Get finds a value.
	Get(key []byte) (value []byte, ok bool, err error)
	// Seek finds the first entry at or after key (before or at, when reverse); a nil key is the beginning (the end). With
	// past, an entry of exactly that key is passed over.
	Seek(key []byte, reverse, past bool) (k, v []byte, ok bool, err error)
	// Len is the number of entries.
	Len() (int64, error)
}

// Timed is a Reader of rows that live by their time, which does less where old ones are not asked for.
type Timed interface {
	Reader
	// SeekSince is Seek that may pass over rows of a time before since.
	SeekSince(since int64, key []byte, reverse, past bool) (k, v []byte, ok bool, err error)
}

// Since is a Reader of rows as seen from a time on: it may pass over older ones.
type Since struct {
	Timed
	Time int64
}

// Seek finds a neighbour.
func (s *Since) Seek(key []byte, reverse, past bool) (k, v []byte, ok bool, err error) {
	return s.SeekSince(s.Time, key, reverse, past)
}

// Bytes is a task's store as the typed edge sees it. Owned by the task's goroutine.
type Bytes interface {
	Reader
	// Set makes a change. The bytes are copied.
	Set(w Write) error
	// Now is the time of the record at work: that of a change to a store without times.
	Now() int64
}

// Write is a change of one key.
type Write struct {
	Key     []byte
	Local   []byte        // what the store keeps; nil deletes
	Plain   []byte        // what the changelog gets: less than Local, where the topic's record says the rest; nil is a tombstone
	Time    int64         // of the changelog's record, in milliseconds
	Headers serde.Headers // of the changelog's record
}

// Flushed is told of a change that leaves a cache: what the store keeps now and what it kept before, nil if nothing. The
// record that made the change is the record at work.
type Flushed func(key, local, old []byte) error

// Expired is told of a row that was deleted for its age: what the store kept. The deletion is the record at work.
type Expired func(key, old []byte) error

// Expiring is a Bytes whose rows may live for a time only.
type Expiring interface {
	// OnExpire names who is told of rows that are deleted for their age; it returns false, and nobody is ever told, if rows
	// live for ever.
	OnExpire(f Expired) bool
	// Oldest is the least time, in milliseconds, that a row may have without being deleted for its age.
	Oldest() int64
}

// Cached is a Bytes that may have a cache in front.
type Cached interface {
	// OnFlush names who is told of changes that leave the cache; it returns false, and nobody is ever told, if there is no
	// cache.
	OnFlush(f Flushed) bool
}

// Logged is a record of a changelog.
type Logged struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      int64
	Key       []byte
	Value     []byte // nil is a tombstone
	Headers   serde.Headers
}

// Keeper is what the Opener of a Kept store opens: it keeps its content itself.
type Keeper interface {
	// Restore applies a record of the changelog.
	Restore(r Logged) error
	// Flush tells the changelog what was changed, before a commit.
	Flush() error
	// Amend tells the changelog again what is held of a key, or that nothing is.
	Amend(key []byte)
}

// Log is a Bytes whose changelog can be written alone.
type Log interface {
	// Log sends a record to the changelog, if there is one. At NoTime the producer's clock sets the record's time.
	Log(w Write)
}

// NoTime is the time of a record that has none of its own.
const NoTime = -1

// Kind is a kind of store.
type Kind uint8

// The kinds.
const (
	KeyValue    Kind = iota // raw values
	Timestamped             // a value behind 8 bytes of its time; the changelog has the value alone
	Kept                    // whatever its Keeper keeps
	Window                  // Timestamped, by key and window start
	Session                 // raw values by key and session
	JoinWindow              // raw values by key and time, duplicates kept; only within the library
	Headed                  // Timestamped with headers; the changelog has them, too
	Versioned               // what a key held and when; the changelog has the values, at the times they hold from
)

// Windowed says whether rows of the kind live for a time only.
func (k Kind) Windowed() bool { return k == Window || k == Session || k == JoinWindow }

// HasTime says whether a value stands behind 8 bytes of its time.
func (k Kind) HasTime() bool { return k == Timestamped || k == Window }

// Binder is a serde that has to look into the application's registry before it is used.
type Binder interface {
	// Bind is the serde to use.
	Bind(r *serde.Registry) (any, error)
}

// Bind is the serde named, looked up where it needs to be.
func Bind(named any, r *serde.Registry) (any, error) {
	if b, ok := named.(Binder); ok {
		return b.Bind(r)
	}
	return named, nil
}

// Opener makes the typed faces of a store. Made when the topology is built, used by every task.
type Opener interface {
	// Open is what a processor works with: one task, one goroutine.
	Open(b Bytes) any
	// Read is what a query works with: any goroutine.
	Read(r Reader) any
}

// Decl declares a store. It is not changed after its handle was made, so several operators may share it.
type Decl struct {
	Name       string
	Kind       Kind
	Key, Value reflect.Type
	KeySerde   any // a serde.Serde of Key, or nil: by type
	ValueSerde any
	NoLogging  bool
	LogConfig  map[string]string
	Engine     opt.Engine
	LRU        int           // the most entries; 0 is no limit
	TTL        time.Duration // how long a table's row lives; 0 is for ever
	Caching    opt.Switch
	Retention  time.Duration // of windows; 0 is by the operator
	Size       time.Duration // of windows
	History    time.Duration // of a versioned store
	// Resolve finds the serdes; topic is the changelog's name, which serdes are told.
	Resolve func(d *Decl, r *serde.Registry, topic string) (Opener, error)
}
