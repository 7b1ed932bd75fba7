package stream

import (
	"time"

	"github.com/millrun/millrun/stream/serde"
)

// FixedKeyProcessor cannot change the key, so what follows need not repartition. It may also have
// Init(*FixedKeyProcessorContext[K, V2]) error and Close() error.
type FixedKeyProcessor[K, V, V2 any] interface {
	Process(ctx *FixedKeyProcessorContext[K, V2], r FixedKeyRecord[K, V]) error
}

// fixedKeyProcessorFunc is a FixedKeyProcessor without state.
type fixedKeyProcessorFunc[K, V, V2 any] func(*FixedKeyProcessorContext[K, V2], FixedKeyRecord[K, V]) error

// Process calls f.
func (f fixedKeyProcessorFunc[K, V, V2]) Process(ctx *FixedKeyProcessorContext[K, V2], r FixedKeyRecord[K, V]) error {
	return f(ctx, r)
}

// FixedKeyProcessorFunc makes a supplier of a function without state.
func FixedKeyProcessorFunc[K, V, V2 any](f func(ctx *FixedKeyProcessorContext[K, V2], r FixedKeyRecord[K, V]) error) func() FixedKeyProcessor[K, V, V2] {
	return func() FixedKeyProcessor[K, V, V2] { return fixedKeyProcessorFunc[K, V, V2](f) }
}

// FixedKeyRecord is a Record whose key only the library sets. Copying is cheap; Headers are shared.
type FixedKeyRecord[K, V any] struct {
	key       K
	keyless   bool
	Value     V
	Timestamp time.Time
	Headers   serde.Headers
	Tombstone bool // there is no value, and Value is zero; a nil Value means the same
}

// Key is the record's key; ok is false if it has none.
func (r FixedKeyRecord[K, V]) Key() (k K, ok bool) { return r.key, !r.keyless }

// WithValue returns the record with another value.
func (r FixedKeyRecord[K, V]) WithValue[V2 any](v V2) FixedKeyRecord[K, V2] {
	return FixedKeyRecord[K, V2]{key: r.key, keyless: r.keyless, Value: v, Timestamp: r.Timestamp, Headers: r.Headers}
}

// record is the same as a record of any key.
func (r FixedKeyRecord[K, V]) record() Record[K, V] {
	return Record[K, V]{Key: r.key, Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers, Keyless: r.keyless, Tombstone: r.Tombstone}
}

// FixedKeyProcessorContext is a FixedKeyProcessor's way to the rest of the graph.
type FixedKeyProcessorContext[K, V any] struct {
	TaskContext
	out forwarder[K, V]
}

// Forward sends a record to all children and returns when they are done with it. The error is as for ProcessorContext.Forward.
func (c *FixedKeyProcessorContext[K, V]) Forward(r FixedKeyRecord[K, V]) error {
	return c.out.forward(c.out.next, r.record())
}

// ForwardTo sends a record to one child, by the name that Named gave it.
func (c *FixedKeyProcessorContext[K, V]) ForwardTo(child string, r FixedKeyRecord[K, V]) error {
	next, err := c.out.child(child)
	if err != nil {
		return err
	}
	return c.out.forward(next, r.record())
}
