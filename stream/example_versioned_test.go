package stream_test

import (
	"fmt"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// A sale is worth what the price was when it was made, even if the price is learned a little later than the sale.
func ExampleGracePeriod() {
	prices := state.Versioned[string, int64]("prices", 24*time.Hour)
	b := stream.NewBuilder()
	table := b.Table[string, int64]("prices", stream.Into(prices))
	b.Stream[string, int64]("sales").
		JoinTable(table, func(_ string, pieces, price int64) int64 { return pieces * price }, stream.GracePeriod(5*time.Minute)).
		To("turnover")

	t := &exampleT{}
	d := streamtest.New(t, b)
	price, sales := d.Input(stream.Topic[string, int64]("prices")), d.Input(stream.Topic[string, int64]("sales"))
	turnover := d.Output(stream.Topic[string, int64]("turnover"))
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	price.PipeAt(noon, "apple", 10)
	sales.PipeAt(noon.Add(2*time.Minute), "apple", 3)  // at 11 each, as will be known
	price.PipeAt(noon.Add(time.Minute), "apple", 11)   // from before the sale
	price.PipeAt(noon.Add(3*time.Minute), "apple", 50) // from after it
	sales.PipeAt(noon.Add(8*time.Minute), "pear", 1)   // time goes on
	for _, r := range turnover.ReadAll() {
		fmt.Println(r.Timestamp.Format("15:04"), r.Key, r.Value)
	}

	then, _, _ := d.Store(prices).GetAsOf("apple", noon.Add(30*time.Second))
	fmt.Println("at first", then.Value, "until", then.To.Format("15:04"))
	// Output:
	// 12:02 apple 33
	// at first 10 until 12:01
}
