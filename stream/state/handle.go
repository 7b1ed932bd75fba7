// Package state holds the stores a task keeps and the handles that declare them.
//
// A store is declared once, as a package variable, and named wherever it is used:
//
//	var means = state.KeyValue[string, float64]("means")
//
// A processor that Uses it opens it by ctx.Store(means), a table is kept in it by stream.Into, and a query reads it by
// app.Query(means), all with its types and without a cast. Every task has a store of its own, which holds the keys of
// the task's partition; its changelog topic, <application>-<store>-changelog, makes it whole again elsewhere.
//
// Stores are kept in memory.
package state

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// Handle declares a store once: S is what a processor opens, R what a query or a lookup reads. It is a small immutable
// value. Made by KeyValue and its siblings.
type Handle[S, R any] struct{ d *store.Decl }

// Name is the store's name.
func (h Handle[S, R]) Name() string { return h.d.Name }

// Declaration is the handle's inside; only this module can ask for it.
func (h Handle[S, R]) Declaration(opt.Seal) *store.Decl { return h.d }

// Any is a Handle of any kind.
type Any interface {
	Name() string
	Declaration(opt.Seal) *store.Decl
}

// declare applies the options and remembers the types.
func declare[K, V any](name string, kind store.Kind, resolve func(*store.Decl, *serde.Registry, string) (store.Opener, error), opts []Option) *store.Decl {
	var s opt.Settings
	for _, o := range opts {
		o.MaterializedOption(opt.Seal{}, &s)
	}
	return &store.Decl{
		Name: name, Kind: kind, Key: reflect.TypeFor[K](), Value: reflect.TypeFor[V](),
		KeySerde: s.KeySerde, ValueSerde: s.ValueSerde, NoLogging: s.NoLogging, LogConfig: maps.Clone(s.LogConfig),
		Engine: s.Engine, LRU: s.LRU, TTL: s.TTL, Caching: s.Caching, Retention: s.Retention,
		Resolve: resolve,
	}
}

// serdes finds the serdes of a declaration: those it names, else those of the types.
func serdes[K, V any](d *store.Decl, r *serde.Registry) (ks serde.Serde[K], vs serde.Serde[V], err error) {
	if ks, err = pick[K](d.KeySerde, r); err != nil {
		return nil, nil, fmt.Errorf("key of store %s: %w", d.Name, err)
	}
	if vs, err = pick[V](d.ValueSerde, r); err != nil {
		return nil, nil, fmt.Errorf("value of store %s: %w", d.Name, err)
	}
	return ks, vs, nil
}

func pick[T any](named any, r *serde.Registry) (serde.Serde[T], error) {
	if named == nil {
		return serde.For[T](r)
	}
	named, err := store.Bind(named, r)
	if err != nil {
		return nil, err
	}
	s, ok := named.(serde.Serde[T])
	if !ok {
		return nil, fmt.Errorf("%T is no Serde of %s", named, reflect.TypeFor[T]())
	}
	return s, nil
}
