package stream

import (
	"fmt"
	"time"

	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// Record is a record as a processor sees it. Copying is cheap; Headers are shared.
type Record[K, V any] struct {
	Key       K
	Value     V
	Timestamp time.Time
	Headers   serde.Headers
	Keyless   bool // there is no key, and Key is zero
	Tombstone bool // there is no value, and Value is zero; a nil Value means the same
}

// WithKey returns the record under another key.
func (r Record[K, V]) WithKey[K2 any](k K2) Record[K2, V] {
	return Record[K2, V]{Key: k, Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers, Tombstone: r.Tombstone}
}

// WithValue returns the record with another value.
func (r Record[K, V]) WithValue[V2 any](v V2) Record[K, V2] {
	return Record[K, V2]{Key: r.Key, Value: v, Timestamp: r.Timestamp, Headers: r.Headers, Keyless: r.Keyless}
}

// RecordMetadata is where the current record came from.
type RecordMetadata struct {
	Topic     string
	Partition int32
	Offset    int64
}

// TaskID names a task: subtopology and partition.
type TaskID struct {
	Subtopology int
	Partition   int32
}

// String is like "0_3".
func (t TaskID) String() string { return fmt.Sprintf("%d_%d", t.Subtopology, t.Partition) }

// hasNil says whether a type has a nil, which is then Kafka's null.
func hasNil[T any]() bool { return store.HasNil[T]() }

// isNil says whether v is nil, for a type that has one.
func isNil[T any](v T) bool { return store.IsNil(v) }
