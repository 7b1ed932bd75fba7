package stream_test

import (
	"fmt"
	"strings"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// bought is an order: what was bought, and by whom; nobody is a guest.
type bought struct{ What, Customer string }

// shop pipes two orders and the changes of a customer, and prints what the join makes of them.
func shop(b *stream.Builder) {
	t := &exampleT{}
	d := streamtest.New(t, b)
	orders, customers := d.Input[string, bought]("orders"), d.Input[string, string]("customers")
	orders.Pipe("o1", bought{"tea", "ann"})
	orders.Pipe("o2", bought{"milk", ""})
	customers.Pipe("ann", "Rome")
	customers.Delete("ann")
	for line := range strings.Lines(d.Transcript()) {
		if strings.HasPrefix(line, "> ") {
			fmt.Print(line[2:])
		}
	}
	for _, f := range t.cleanups {
		f()
	}
}

// Orders with the city of their customer: an order is found by its customer whenever either changes.
func ExampleKTable_JoinForeign() {
	b := stream.NewBuilder()
	orders, customers := b.Table[string, bought]("orders"), b.Table[string, string]("customers")
	orders.JoinForeign(customers,
		func(_ string, o bought) (string, bool) { return o.Customer, o.Customer != "" },
		func(_ string, o bought, city string) string { return o.What + " to " + city },
		stream.Named("shipping"), stream.As("shipments"),
	).ToStream().To("out")
	shop(b)
	// Output:
	// out-0 "o1"="tea to Rome" @0
	// out-0 "o1"=null @0
}

// The left join keeps orders of customers who are not known, and of nobody.
func ExampleKTable_LeftJoinForeign() {
	b := stream.NewBuilder()
	orders, customers := b.Table[string, bought]("orders"), b.Table[string, string]("customers")
	orders.LeftJoinForeign(customers,
		func(_ string, o bought) (string, bool) { return o.Customer, o.Customer != "" },
		func(_ string, o bought, city string, ok bool) string {
			if !ok {
				return o.What + " to be fetched"
			}
			return o.What + " to " + city
		},
	).ToStream().To("out")
	shop(b)
	// Output:
	// out-0 "o1"="tea to be fetched" @0
	// out-0 "o2"="milk to be fetched" @0
	// out-0 "o1"="tea to Rome" @0
	// out-0 "o1"="tea to be fetched" @0
}

// Customers were written by a producer that puts them by their first letter. The join has to know, or it would look for them
// in another partition.
func ExampleForeignPartition() {
	b := stream.NewBuilder()
	orders, customers := b.Table[string, bought]("orders"), b.Table[string, string]("customers")
	orders.JoinForeign(customers,
		func(_ string, o bought) (string, bool) { return o.Customer, o.Customer != "" },
		func(_ string, o bought, city string) string { return o.What + " to " + city },
		stream.ForeignPartition[string](nil, func(_, name string, n int) int {
			if name == "" {
				return 0 // an order that refers to nobody may go anywhere
			}
			return int(name[0]) % n
		}),
	).ToStream().To("out")
	shop(b)
	// Output:
	// out-0 "o1"="tea to Rome" @0
	// out-0 "o1"=null @0
}
