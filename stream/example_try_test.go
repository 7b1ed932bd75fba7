package stream_test

import (
	"fmt"
	"strconv"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// What cannot be parsed goes to a dead letter topic, with its bytes as they came and the cause in its headers.
func ExampleKStream_TryMapValues() {
	b := stream.NewBuilder()
	numbers, failed := b.Stream[string, string]("in").
		TryMapValues(func(_ string, v string) (int, error) { return strconv.Atoi(v) })
	numbers.To("numbers")
	failed.To("in.dlq")

	d := streamtest.New(&exampleT{}, b)
	in := d.Input(stream.Topic[string, string]("in"))
	in.Pipe("a", "12")
	in.Pipe("a", "twelve")
	for _, r := range d.Output(stream.Topic[string, int]("numbers")).ReadAll() {
		fmt.Println(r.Key, r.Value)
	}
	for _, r := range d.Output(stream.Topic[[]byte, stream.Failure]("in.dlq")).ReadAll() {
		message, _ := r.Headers.Get("__streams.errors.message")
		fmt.Printf("%s %s: %s\n", r.Key, r.Value.Value, message)
	}
	// Output:
	// a 12
	// a twelve: strconv.Atoi: parsing "twelve": invalid syntax
}
