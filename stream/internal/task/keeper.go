package task

import (
	"fmt"

	"github.com/millrun/millrun/stream/internal/store"
)

// keeper is what keeps the content of a store of kind Kept.
func (s *Store) keeper() store.Keeper { return s.Face().(store.Keeper) }

// keep restores such a store. A record that cannot be read is told when the task begins.
func (s *Store) keep(in *Input) {
	err := s.keeper().Restore(store.Logged{
		Topic: in.Topic, Partition: in.Partition, Offset: in.Offset, Time: in.Time,
		Key: in.Key, Value: in.Value, Headers: in.Headers,
	})
	if err != nil && s.task.broken == nil {
		s.task.broken = &Fault{
			Stage: Deserialization, Node: s.spec.Name, Final: true,
			Err:  fmt.Errorf("changelog %s, offset %d: %w", s.spec.Changelog, in.Offset, err),
			Hint: "the record was not written by Kafka Streams 2.1 or later, nor by this library",
		}
	}
}
