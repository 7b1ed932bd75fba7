// Package pebble keeps stores on disk, each in a Pebble database of its own below Config.StateDir:
//
//	stream.Config{Stores: pebble.Engine(), StateDir: "/var/lib/myapp"}
//
// What a store holds may then be larger than memory, and a restart reads from the changelog only what came after the last
// commit. Changes since then are in memory: one atomic batch per commit writes them, together with the position in the
// changelog that they are worth. A crash leaves the state of a commit, never a mixture, and so does an aborted transaction; under
// exactly-once, too, local state survives both.
//
// Key-value, timestamped, header-aware, versioned, window and session stores, and those of stream-stream joins, are kept on
// disk. In memory stay those that say state.InMemory or state.LRU, buffers of suppress and of joins with grace, and global
// stores; they are read from their topics at each start. Memory must hold what changes within a commit interval: a
// thread whose stores have more than 64 MiB of it commits earlier.
//
// It is a package of its own so that applications whose stores are in memory do not carry the database.
package pebble

import (
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/store/disk"
	"github.com/millrun/millrun/stream/state"
)

// defaultCache is what Engine takes without CacheBytes.
const defaultCache = 96 << 20

// Option is a setting of Engine.
type Option func(*settings)

type settings struct{ cache int64 }

// CacheBytes is how many bytes of what is on disk all stores of the engine keep in memory together: two thirds for blocks of
// files, one for single rows that were used lately. Default: 96 MiB.
func CacheBytes(n int64) Option { return func(s *settings) { s.cache = n } }

// Engine keeps stores on disk. It may serve several applications, which then share its cache. Safe for concurrent use.
func Engine(opts ...Option) state.Engine {
	s := settings{cache: defaultCache}
	for _, o := range opts {
		o(&s)
	}
	return engine{disk.New(s.cache)}
}

type engine struct{ backend *disk.Backend }

// Backend opens the stores.
func (e engine) Backend(opt.Seal) store.Backend { return e.backend }
