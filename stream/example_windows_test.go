package stream_test

import (
	"fmt"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// An order is what a team has collected.
type teamOrder struct {
	Grams int64
}

// shownWindows pipes orders of a team, by the second they come at, and prints the windows that come out.
func shownWindows(weights stream.KTable[stream.Windowed[string], int64], b *stream.Builder, seconds ...int64) {
	const (
		orders stream.Topic[string, teamOrder]              = "orders"
		out    stream.Topic[stream.Windowed[string], int64] = "weights"
	)
	weights.ToStream().To(out)
	d := streamtest.New(&exampleT{}, b)
	in := d.Input(orders)
	for i, s := range seconds {
		in.PipeAt(time.Unix(s, 0), "red", teamOrder{Grams: int64(i + 1)})
	}
	for _, r := range d.Output(out).ReadAll() {
		w := r.Key.Window
		if r.Tombstone {
			fmt.Printf("%s %ds to %ds: gone\n", r.Key.Key, w.StartMs/1000, w.EndMs/1000)
			continue
		}
		fmt.Printf("%s %ds to %ds: %d g\n", r.Key.Key, w.StartMs/1000, w.EndMs/1000, r.Value)
	}
}

// grouped is the orders by team.
func groupedOrders(b *stream.Builder) stream.KGroupedStream[string, int64] {
	return b.Stream[string, teamOrder]("orders").MapValues(func(_ string, o teamOrder) int64 { return o.Grams }).GroupByKey()
}

func plus(a, b int64) int64 { return a + b }

// Tumbling windows follow each other. An order that comes late is still taken while the grace period lasts.
func ExampleTumbling() {
	b := stream.NewBuilder()
	weights := stream.Tumbling(time.Minute).Grace(10 * time.Second).Over(groupedOrders(b)).Reduce(plus)
	shownWindows(weights, b, 50, 65, 55, 75, 40)
	// Output:
	// red 0s to 60s: 1 g
	// red 60s to 120s: 2 g
	// red 0s to 60s: 4 g
	// red 60s to 120s: 6 g
}

// Hopping windows overlap: a record is in all that hold its time.
func ExampleHopping() {
	b := stream.NewBuilder()
	weights := stream.Hopping(time.Minute, 30*time.Second).Over(groupedOrders(b)).Reduce(plus)
	shownWindows(weights, b, 50, 70)
	// Output:
	// red 0s to 60s: 1 g
	// red 30s to 90s: 1 g
	// red 30s to 90s: 3 g
	// red 60s to 120s: 2 g
}

// There is a sliding window for each distinct set of records that are close enough.
func ExampleSliding() {
	b := stream.NewBuilder()
	weights := stream.Sliding(time.Minute).Over(groupedOrders(b)).Reduce(plus)
	shownWindows(weights, b, 100, 130)
	// Output:
	// red 40s to 100s: 1 g
	// red 100s to 160s: 2 g
	// red 70s to 130s: 3 g
}

// An unlimited window takes everything from its start on.
func ExampleUnlimited() {
	b := stream.NewBuilder()
	weights := stream.Unlimited(time.Unix(60, 0)).Over(groupedOrders(b)).Reduce(plus)
	weights.ToStream().ForEach(func(k stream.Windowed[string], grams int64) {
		fmt.Println(k.Key, "since", k.Window.Start().Format("15:04"), grams, "g")
	})
	d := streamtest.New(&exampleT{}, b)
	in := d.Input(stream.Topic[string, teamOrder]("orders"))
	in.PipeAt(time.Unix(30, 0), "red", teamOrder{100})
	in.PipeAt(time.Unix(90, 0), "red", teamOrder{5})
	in.PipeAt(time.Unix(9000, 0), "red", teamOrder{7})
	// Output:
	// red since 00:01 5 g
	// red since 00:01 12 g
}

// A session lasts while its records are close to each other. A record in between makes one of two: both are taken away.
func ExampleSession() {
	b := stream.NewBuilder()
	weights := stream.Session(30 * time.Second).Grace(time.Minute).Over(groupedOrders(b)).Reduce(plus)
	shownWindows(weights, b, 0, 50, 25)
	// Output:
	// red 0s to 0s: 1 g
	// red 50s to 50s: 2 g
	// red 0s to 0s: gone
	// red 50s to 50s: gone
	// red 0s to 50s: 6 g
}

// With OnClose each window leaves once, when a record shows that it is over.
func ExampleTimeWindowedKStream_Emit() {
	b := stream.NewBuilder()
	weights := stream.Tumbling(time.Minute).Grace(10 * time.Second).Over(groupedOrders(b)).Emit(stream.OnClose).Reduce(plus)
	shownWindows(weights, b, 50, 65, 55, 75, 140)
	// Output:
	// red 0s to 60s: 4 g
	// red 60s to 120s: 6 g
}

// Streams of different types make one aggregate.
func ExampleKGroupedStream_Cogroup() {
	type profile struct{ Logins, Cents int64 }
	b := stream.NewBuilder()
	logins := b.Stream[string, string]("logins").GroupByKey()
	buys := b.Stream[string, int64]("purchases").GroupByKey()
	logins.
		Cogroup(func(_ string, _ string, p profile) profile { p.Logins++; return p }).
		Cogroup(buys, func(_ string, cents int64, p profile) profile { p.Cents += cents; return p }).
		Aggregate(nil, stream.As("profiles")).
		ToStream().ForEach(func(user string, p profile) { fmt.Println(user, p.Logins, "logins,", p.Cents, "cents") })
	d := streamtest.New(&exampleT{}, b)
	d.Input(stream.Topic[string, string]("logins")).Pipe("ann", "10.0.0.1")
	d.Input(stream.Topic[string, int64]("purchases")).Pipe("ann", 250)
	d.Input(stream.Topic[string, string]("logins")).Pipe("ann", "10.0.0.2")
	// Output:
	// ann 1 logins, 0 cents
	// ann 1 logins, 250 cents
	// ann 2 logins, 250 cents
}

// A topic of windowed keys says nothing about its kind of window: whoever reads it does.
func ExampleTimeWindowedSerde() {
	b := stream.NewBuilder()
	b.Stream[stream.Windowed[string], int64]("weights", stream.KeySerde(stream.TimeWindowedSerde[string](nil, time.Minute))).
		ForEach(func(k stream.Windowed[string], grams int64) {
			fmt.Println(k.Key, k.Window.Start().Format("15:04"), "to", k.Window.End().Format("15:04"), grams, "g")
		})
	d := streamtest.New(&exampleT{}, b)
	minute := stream.Window{StartMs: 60_000, EndMs: 120_000}
	d.Input(stream.Topic[stream.Windowed[string], int64]("weights")).Pipe(stream.Windowed[string]{Key: "red", Window: minute}, 7)
	// Output:
	// red 00:01 to 00:02 7 g
}
