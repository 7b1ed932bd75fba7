package stream

import (
	"reflect"

	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/serde"
)

// heldDecl declares a store in which an operator holds records back, and which keeps its content itself; open makes the
// buffer of a task.
func heldDecl[K, V any](name string, ks, vs any, open func(o *heldOpener[K, V], log store.Log) any) *store.Decl {
	return &store.Decl{
		Name: name, Kind: store.Kept, Key: reflect.TypeFor[K](), Value: reflect.TypeFor[V](),
		Resolve: func(_ *store.Decl, r *serde.Registry, topic string) (store.Opener, error) {
			k, v, err := findBoth[K, V](&resolver{registry: r}, ks, vs)
			return &heldOpener[K, V]{k, v, topic, open}, err
		},
	}
}

// heldOpener opens the buffer of a task.
type heldOpener[K, V any] struct {
	ks    serde.Serde[K]
	vs    serde.Serde[V]
	topic string
	open  func(o *heldOpener[K, V], log store.Log) any
}

// Open is the buffer in its task's hands.
func (o *heldOpener[K, V]) Open(b store.Bytes) any {
	log, _ := b.(store.Log)
	return o.open(o, log)
}

// Read is nothing: nobody queries a buffer.
func (o *heldOpener[K, V]) Read(store.Reader) any { return nil }
