package stream

import (
	"io"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
)

// Option is what every operator takes: Named. All option kinds are sealed.
type Option interface{ opt.Plain }

// Consumed is an option of a source.
type Consumed interface{ opt.Consumed }

// TableSource is an option of Table: Consumed and Materialized in one.
type TableSource interface{ opt.TableSource }

// Produced is an option of To.
type Produced interface{ opt.Produced }

// Grouped is an option of GroupBy and GroupByKey.
type Grouped interface{ opt.Grouped }

// Materialized is an option of whatever keeps a store.
type Materialized interface{ opt.Materialized }

// Processed is an option of Process and ProcessValues.
type Processed interface{ opt.Processed }

// Async is an option of MapAsync.
type Async interface{ opt.Async }

// Printed is an option of Print.
type Printed interface{ opt.Printed }

// Repartitioned is an option of Repartition.
type Repartitioned interface{ opt.Repartitioned }

// Joined is an option of a stream-table join.
type Joined interface{ opt.Joined }

// StreamJoined is an option of a stream-stream join.
type StreamJoined interface{ opt.StreamJoined }

// TableJoined is an option of a foreign-key join: it also takes what Materialized is.
type TableJoined interface{ opt.TableJoined }

// AnyOption fits everywhere.
type AnyOption interface {
	Option
	Consumed
	TableSource
	Produced
	Printed
	Repartitioned
	Grouped
	Materialized
	Joined
	StreamJoined
	TableJoined
	Processed
	Async
}

// SerdeOption fits where bytes are read or written.
type SerdeOption interface {
	Consumed
	TableSource
	Produced
	Repartitioned
	Grouped
	Materialized
	Joined
	StreamJoined
	TableJoined
}

// StoreOption fits whatever keeps a store; the settings of package state do too.
type StoreOption interface {
	TableSource
	Materialized
	StreamJoined
	TableJoined
}

// SourceOption fits sources.
type SourceOption interface {
	Consumed
	TableSource
}

// PartitionOption fits what writes a topic.
type PartitionOption interface {
	Produced
	Repartitioned
}

// option is every option there is: the interfaces above let each constructor say where it fits.
type option func(*opt.Settings)

// PlainOption applies the option; only this module can call it.
func (o option) PlainOption(_ opt.Seal, s *opt.Settings) { o(s) }

// ConsumedOption applies the option; only this module can call it.
func (o option) ConsumedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// TableSourceOption applies the option; only this module can call it.
func (o option) TableSourceOption(_ opt.Seal, s *opt.Settings) { o(s) }

// ProducedOption applies the option; only this module can call it.
func (o option) ProducedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// GroupedOption applies the option; only this module can call it.
func (o option) GroupedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// MaterializedOption applies the option; only this module can call it.
func (o option) MaterializedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// ProcessedOption applies the option; only this module can call it.
func (o option) ProcessedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// AsyncOption applies the option; only this module can call it.
func (o option) AsyncOption(_ opt.Seal, s *opt.Settings) { o(s) }

// PrintedOption applies the option; only this module can call it.
func (o option) PrintedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// RepartitionedOption applies the option; only this module can call it.
func (o option) RepartitionedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// JoinedOption applies the option; only this module can call it.
func (o option) JoinedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// StreamJoinedOption applies the option; only this module can call it.
func (o option) StreamJoinedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// TableJoinedOption applies the option; only this module can call it.
func (o option) TableJoinedOption(_ opt.Seal, s *opt.Settings) { o(s) }

// Named names the operator; the names of its internal topics and stores follow from it.
func Named(name string) AnyOption { return option(func(s *opt.Settings) { s.Name = name }) }

// KeySerde overrides the default by type; a wrong type is an error of the builder.
func KeySerde[K any](k serde.Serde[K]) SerdeOption {
	return option(func(s *opt.Settings) { s.KeySerde, s.Kept = k, true })
}

// ValueSerde overrides the default by type.
func ValueSerde[V any](v serde.Serde[V]) SerdeOption {
	return option(func(s *opt.Settings) { s.ValueSerde, s.Kept = v, true })
}

// OtherSerde is the right side's value serde in a join; a wrong type is an error of the builder.
func OtherSerde[V any](v serde.Serde[V]) interface {
	Joined
	StreamJoined
} {
	return option(func(s *opt.Settings) { s.OtherSerde = v })
}

// As names the store, which makes it open to queries.
func As(name string) StoreOption {
	return option(func(s *opt.Settings) { s.StoreName, s.Kept = name, true })
}

// Into uses a declared store, with its serdes and settings. A join of streams takes it twice, for the left side's records and
// for the right's: window stores whose size is the join's windows together, and whose retention is that and the grace.
func Into(h state.Any) StoreOption {
	return option(func(s *opt.Settings) {
		s.Store, s.StoreName, s.Kept = h, h.Name(), true
		s.Stores = append(s.Stores, h)
	})
}

// DeleteWhen deletes a result that satisfies empty: what returning nil does where V has a nil.
func DeleteWhen[V any](empty func(V) bool) StoreOption {
	return option(func(s *opt.Settings) { s.Empty = empty })
}

// StartFrom says where a source without committed offset begins. Default: Config.OffsetReset.
func StartFrom(o OffsetReset) SourceOption {
	return option(func(s *opt.Settings) { r := o.reset; s.Reset = &r })
}

// Partition chooses the partition of n, from 0. Default: murmur2 of the key, as Kafka.
func Partition[K, V any](f func(topic string, k K, v V, n int) int) PartitionOption {
	return option(func(s *opt.Settings) { s.Partition = f })
}

// Multicast chooses any number of partitions out of n, from 0; none drops the record, which is counted.
func Multicast[K, V any](f func(topic string, k K, v V, n int) []int) PartitionOption {
	return option(func(s *opt.Settings) { s.Multicast = f })
}

// Partitions fixes the number of partitions. Default: as many as the widest topic that leads here.
func Partitions(n int) Repartitioned {
	return option(func(s *opt.Settings) { s.Partitions = n })
}

// Timestamps takes a record's time from its content; prev is the partition's time so far, zero before its first record. A
// result before 1970 drops the record, which is counted. The record's own time is before 1970 if it has none.
func Timestamps[K, V any](f func(r Record[K, V], prev time.Time) time.Time) SourceOption {
	return option(func(s *opt.Settings) { s.Timestamps = f })
}

// Output is where Print writes.
func Output(w io.Writer) Printed { return option(func(s *opt.Settings) { s.Output = w }) }

// GracePeriod makes a stream-table join wait for a versioned table to settle: a record is joined once stream time has
// passed its own by d (KIP-923).
func GracePeriod(d time.Duration) Joined {
	return option(func(s *opt.Settings) { s.Grace, s.HasGrace = d, true })
}

// Uses connects a processor to the stores it opens; among table operators only TransformValues takes it.
func Uses(stores ...state.Any) interface {
	Processed
	Materialized
} {
	return option(func(s *opt.Settings) {
		for _, h := range stores {
			s.Uses = append(s.Uses, h)
		}
	})
}

// OffsetReset is where to begin without a committed offset. The zero value is Earliest.
type OffsetReset struct{ reset opt.Reset }

// Earliest is the first record there is.
func Earliest() OffsetReset { return OffsetReset{opt.Reset{Policy: opt.Earliest}} }

// Latest is what comes from now on.
func Latest() OffsetReset { return OffsetReset{opt.Reset{Policy: opt.Latest}} }

// Ago is d before now.
func Ago(d time.Duration) OffsetReset { return OffsetReset{opt.Reset{Policy: opt.ByDuration, Ago: d}} }

// NoReset fails.
func NoReset() OffsetReset { return OffsetReset{opt.Reset{Policy: opt.None}} }
