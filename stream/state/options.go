package state

import (
	"maps"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/serde"
)

// Option is a setting of a store. It fits a handle, and every operator of package stream that keeps a store. Sealed.
type Option interface {
	opt.Materialized
	opt.TableSource
}

type option func(*opt.Settings)

// MaterializedOption applies the option; only this module can call it.
func (o option) MaterializedOption(_ opt.Seal, s *opt.Settings) { o.set(s) }

// TableSourceOption applies the option; only this module can call it.
func (o option) TableSourceOption(_ opt.Seal, s *opt.Settings) { o.set(s) }

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

// InMemory keeps the store in memory. The default.
func InMemory() Option { return option(func(*opt.Settings) {}) }

// Logging sets topic configurations of the changelog, beside those Kafka Streams gives it.
func Logging(config map[string]string) Option {
	return option(func(o *opt.Settings) { o.NoLogging, o.LogConfig = false, maps.Clone(config) })
}

// NoLogging keeps no changelog: the store is lost when its task moves or its process ends.
func NoLogging() Option { return option(func(o *opt.Settings) { o.NoLogging = true }) }
