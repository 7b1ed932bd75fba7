package stream_test

import (
	"fmt"

	"github.com/millrun/millrun/stream"
)

// Under ExactState every update goes to the changelog with the offset of the record that made it, so nothing may be held back.
func ExampleExactState() {
	b := stream.NewBuilder()
	b.Stream[string, string]("clicks").GroupByKey().Count(stream.As("clicks")).ToStream().To("counts")
	_, err := stream.NewApp(b, stream.Config{
		ApplicationID: "clicks", Brokers: []string{"localhost:9092"}, Guarantee: stream.ExactState, CacheBytes: 10 << 20,
	})
	fmt.Println(err)
	_, err = stream.NewApp(b, stream.Config{ApplicationID: "clicks", Brokers: []string{"localhost:9092"}, Guarantee: stream.ExactState})
	fmt.Println(err)
	// Output:
	// stream: invalid configuration: CacheBytes is 10485760 under ExactState: a cache forwards other results when records are processed again, and their repetitions could not be told; leave it 0 or set it to -1
	// <nil>
}
