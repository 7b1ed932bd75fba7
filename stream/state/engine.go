package state

import (
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
)

// Engine is what stores are kept in where they do not say so themselves: Memory, or that of package state/pebble. Implemented
// within this module only.
type Engine interface {
	// Backend opens stores on disk; nil if they are in memory.
	Backend(opt.Seal) store.Backend
}

// memory is the engine of Memory.
type memory struct{}

// Backend is none.
func (memory) Backend(opt.Seal) store.Backend { return nil }

// Memory is the engine that gives stores the semantics of Kafka Streams' in-memory stores, as InMemory does for one.
func Memory() Engine { return memory{} }
