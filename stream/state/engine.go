package state

// Engine is what stores are kept in where they do not say so themselves. Implemented within this module only.
type Engine interface{ engine() }

// memory is the engine of Memory.
type memory struct{}

func (memory) engine() {}

// Memory is the engine that gives stores the semantics of Kafka Streams' in-memory stores, as InMemory does for one.
func Memory() Engine { return memory{} }
