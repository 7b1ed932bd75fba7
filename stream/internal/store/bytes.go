// Package store is what lies between the typed stores of package state and the task that owns them: bytes, their order,
// and the declaration of a store.
package store

import (
	"reflect"

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

// Bytes is a task's store as the typed edge sees it. Owned by the task's goroutine.
type Bytes interface {
	Reader
	// Set replaces the value kept at key, or removes it where local is nil. What goes to the changelog is plain, with the
	// time at (milliseconds); the two differ where a store keeps more than the topic does.
	Set(key, local, plain []byte, at int64) error
	// Now is the time of the record at work: that of a change to a store without times.
	Now() int64
}

// Kind is a kind of store.
type Kind uint8

// The kinds.
const (
	KeyValue    Kind = iota // raw values
	Timestamped             // a value behind 8 bytes of its time; the changelog has the value alone
)

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
	// Resolve finds the serdes; topic is the changelog's name, which serdes are told.
	Resolve func(d *Decl, r *serde.Registry, topic string) (Opener, error)
}
