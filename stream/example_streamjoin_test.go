package stream_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// checkout pipes two orders and a payment, and then an hour of silence and another order; it prints what the topology makes
// of them.
func checkout(b *stream.Builder) {
	t := &exampleT{}
	d := streamtest.New(t, b)
	placed, paid := d.Input[string, string]("placed"), d.Input[string, string]("paid")
	at := func(minutes int) time.Time { return time.UnixMilli(0).Add(time.Duration(minutes) * time.Minute) }
	placed.PipeAt(at(0), "o1", "tea")
	placed.PipeAt(at(1), "o2", "milk")
	paid.PipeAt(at(5), "o1", "by card")
	paid.PipeAt(at(6), "o9", "by nobody")
	placed.PipeAt(at(120), "o3", "rice")
	for line := range strings.Lines(d.Transcript()) {
		if strings.HasPrefix(line, "> ") {
			fmt.Print(line[2:])
		}
	}
	for _, f := range t.cleanups {
		f()
	}
}

// Orders that are paid within the hour.
func ExampleKStream_Join() {
	b := stream.NewBuilder()
	placed, paid := b.Stream[string, string]("placed"), b.Stream[string, string]("paid")
	placed.Join(paid, stream.Within(time.Hour).Before(0), // the payment comes second
		func(_, what, how string) string { return what + " " + how },
		stream.Named("placed-paid"), stream.As("placed-paid"),
	).To("out")
	checkout(b)
	// Output:
	// out-0 "o1"="tea by card" @300000
}

// Orders with their payment, or without it once an hour has passed.
func ExampleKStream_LeftJoin() {
	b := stream.NewBuilder()
	placed, paid := b.Stream[string, string]("placed"), b.Stream[string, string]("paid")
	placed.LeftJoin(paid, stream.Within(time.Hour).Before(0).Grace(5*time.Minute),
		func(_, what, how string, ok bool) string {
			if !ok {
				return what + " not paid"
			}
			return what + " " + how
		},
		stream.Named("placed-paid"), stream.As("placed-paid"),
	).To("out")
	checkout(b)
	// Output:
	// out-0 "o1"="tea by card" @300000
	// out-0 "o2"="milk not paid" @60000
}

// Both orders without payment and payments without order.
func ExampleKStream_OuterJoin() {
	b := stream.NewBuilder()
	placed, paid := b.Stream[string, string]("placed"), b.Stream[string, string]("paid")
	placed.OuterJoin(paid, stream.Within(time.Hour),
		func(_, what string, placed bool, how string, paid bool) string {
			return fmt.Sprintf("%q %v, %q %v", what, placed, how, paid)
		},
		stream.Named("audit"), stream.As("audit"),
	).To("out")
	checkout(b)
	// Output:
	// out-0 "o1"="\"tea\" true, \"by card\" true" @300000
	// out-0 "o2"="\"milk\" true, \"\" false" @60000
	// out-0 "o9"="\"\" false, \"by nobody\" true" @360000
}
