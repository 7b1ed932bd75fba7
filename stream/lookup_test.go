package stream_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

type part struct {
	Name   string
	Parent string
}

// rootOf climbs from part to part, which no join could do: how many rows are read depends on what they hold.
func rootOf(parts state.ReadOnlyTimestampedKeyValueStore[string, part], _, name string) (string, error) {
	for range 8 {
		p, ok, err := parts.Get(name)
		if err != nil || !ok || p.Parent == "" {
			return name, err
		}
		name = p.Parent
	}
	return "", fmt.Errorf("%s: parts above each other in a ring", name)
}

// ExampleKStream_Lookup reads a table as often as the answers demand.
func ExampleKStream_Lookup() {
	parts := state.TimestampedKeyValue[string, part]("parts")
	b := stream.NewBuilder()
	b.Table[string, part]("parts", stream.Into(parts))
	b.Stream[string, string]("orders").Lookup(parts, rootOf).To("machines")

	d := streamtest.New(&exampleT{}, b)
	in := d.Input[string, part]("parts")
	in.Pipe("screw", part{"screw", "wheel"})
	in.Pipe("wheel", part{"wheel", "cart"})
	in.Pipe("cart", part{"cart", ""})
	d.Input[string, string]("orders").Pipe("anna", "screw")
	for _, r := range d.Output[string, string]("machines").ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output: anna cart
}

func TestALookupsErrorIsOneOfProcessing(t *testing.T) {
	t.Parallel()
	parts := state.TimestampedKeyValue[string, part]("parts")
	b := stream.NewBuilder()
	b.Table[string, part]("parts", stream.Into(parts))
	b.Stream[string, string]("orders").Lookup(parts, rootOf, stream.Named("roots")).To("machines")
	var seen stream.Failure
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{ProcessingErrors: func(_ context.Context, f stream.Failure) stream.Response {
		seen = f
		return stream.Continue()
	}}))
	ring := d.Input[string, part]("parts")
	ring.Pipe("a", part{"a", "b"})
	ring.Pipe("b", part{"b", "a"})
	orders, out := d.Input[string, string]("orders"), d.Output[string, string]("machines")
	orders.Pipe("anna", "a")
	out.Want()
	if seen.Node != "roots" || seen.Stage != "processing" || seen.Err == nil || errors.Is(seen.Err, stream.ErrUnknownStore) {
		t.Errorf("the handler was told %+v", seen)
	}
	orders.Delete("anna")
	out.Want(out.D("anna"))
}

func TestALookupSharesTheTaskOfTheStoresWriter(t *testing.T) {
	t.Parallel()
	parts := state.TimestampedKeyValue[string, part]("parts")
	b := stream.NewBuilder()
	b.Table[string, part]("parts", stream.Into(parts))
	b.Stream[string, string]("orders").Lookup(parts, rootOf).To("machines")
	topology, err := b.Build(stream.Config{ApplicationID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range topology.Graph().Nodes {
		if n.Subtopology != 0 {
			t.Errorf("%s is in sub-topology %d", n.Name, n.Subtopology)
		}
	}
}
