package stream_test

import (
	"fmt"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state/pebble"
	"github.com/millrun/millrun/stream/streamtest"
)

// Counts are kept on disk, below Config.StateDir: they may be larger than memory, and a restart reads from the changelog only
// what came after the last commit. Nothing else changes.
func Example_storesOnDisk() {
	b := stream.NewBuilder()
	b.Stream[string, string]("visits").GroupByKey().Count(stream.As("counts")).ToStream().To("totals")

	d := streamtest.New(&exampleT{}, b, streamtest.WithConfig(stream.Config{Stores: pebble.Engine(), CacheBytes: -1}))
	defer d.Close()
	in := d.Input(stream.Topic[string, string]("visits"))
	in.Pipe("ann", "/")
	in.Pipe("ann", "/cart")
	d.Crash()
	in.Pipe("ann", "/pay")
	for _, r := range d.Output(stream.Topic[string, int64]("totals")).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	// Output:
	// ann 1
	// ann 2
	// ann 3
}
