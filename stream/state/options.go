package state

import (
	"maps"
	"time"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/serde"
)

// Option is a setting of a store. It fits a handle, and every operator of package stream that keeps a store. Sealed.
type Option interface {
	opt.Materialized
	opt.TableSource
	opt.StreamJoined
	opt.TableJoined
}

type option func(*opt.Settings)

// MaterializedOption applies the option; only this module can call it.
func (o option) MaterializedOption(_ opt.Seal, s *opt.Settings) { o.set(s) }

// TableSourceOption applies the option; only this module can call it.
func (o option) TableSourceOption(_ opt.Seal, s *opt.Settings) { o.set(s) }

// StreamJoinedOption applies the option; only this module can call it.
func (o option) StreamJoinedOption(_ opt.Seal, s *opt.Settings) { o.set(s) }

// TableJoinedOption applies the option; only this module can call it.
func (o option) TableJoinedOption(_ opt.Seal, s *opt.Settings) { o.set(s) }

func (o option) set(s *opt.Settings) {
	s.Kept = true
	o(s)
}

// KeySerde overrides the default by type; a wrong type is an error of the builder.
func KeySerde[K any](s serde.Serde[K]) Option {
	return option(func(o *opt.Settings) { o.KeySerde = s })
}

// ValueSerde overrides the default by type.
func ValueSerde[V any](s serde.Serde[V]) Option {
	return option(func(o *opt.Settings) { o.ValueSerde = s })
}

// InMemory keeps the store in memory, with the semantics of Kafka Streams' in-memory stores.
func InMemory() Option { return option(func(o *opt.Settings) { o.Engine = opt.Memory }) }

// Persistent keeps the store with the semantics of Kafka Streams' persistent stores. The default.
func Persistent() Option { return option(func(o *opt.Settings) { o.Engine = opt.Persistent }) }

// LRU keeps at most n rows of a key-value store, in memory: a row more removes the one that was used longest ago, from the
// changelog too. What was removed is forgotten without a word to anybody below.
func LRU(n int) Option {
	if n == 0 {
		n = -1 // an error of the builder, and not the same as no limit
	}
	return option(func(o *opt.Settings) { o.LRU = n })
}

// TTL is how long a row of a table lives, in event time: d after the row's own time. Once the task's stream time is past
// that, the row is deleted: from the store, from the changelog by a tombstone, and for everybody below, as of the moment
// its life ended; before the record that has moved stream time is processed. Rows that end together go by their time and
// the bytes of their keys. An update that is older already is dropped and counted as "expired". Each task has a stream time
// of its own, and while it has no input no row goes: a query may see one that a clock on the wall would have ended.
//
// It fits the tables of the DSL that keep one row a key; windows have Retention, and it excludes LRU. Such a store has no
// record cache, whatever Caching says. d is at least a millisecond, and cut to whole ones.
func TTL(d time.Duration) Option {
	if d < time.Millisecond {
		d = -1 // an error of the builder, and not the same as for ever
	}
	return option(func(o *opt.Settings) { o.TTL = d })
}

// Caching turns the record cache in front of the store on or off; Config.CacheBytes is its size. A cached store sends and
// forwards the last of several updates of a key, when it commits or the cache is full. Default: on where Kafka Streams
// has it on, for the tables and windows of the DSL.
func Caching(on bool) Option {
	return option(func(o *opt.Settings) {
		o.Caching = opt.Off
		if on {
			o.Caching = opt.On
		}
	})
}

// Retention is how long a window store of the DSL keeps windows. Default: size plus grace.
func Retention(d time.Duration) Option {
	return option(func(o *opt.Settings) { o.Retention = d })
}

// Logging sets topic configurations of the changelog, beside those Kafka Streams gives it.
func Logging(config map[string]string) Option {
	return option(func(o *opt.Settings) { o.NoLogging, o.LogConfig = false, maps.Clone(config) })
}

// NoLogging keeps no changelog: the store is lost when its task moves or its process ends.
func NoLogging() Option { return option(func(o *opt.Settings) { o.NoLogging = true }) }
