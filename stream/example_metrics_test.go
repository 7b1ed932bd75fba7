package stream_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/metrics"
)

// An application's own metrics are in the registry that Config.Metrics names, beside those of the library, and are scraped
// with them. A processor finds the registry by ctx.Metrics.
func Example_metrics() {
	reg := metrics.New()
	reg.Describe("shop_orders_total", "orders, by country")
	b := stream.NewBuilder()
	b.Stream[string, int64]("orders").
		Peek(func(country string, cents int64) {
			reg.Add("shop_orders_total", 1, "country", country)
			reg.Observe("shop_order_euros", float64(cents)/100)
		}).
		To("invoices")

	work(b, stream.Config{ApplicationID: "shop", Metrics: reg})

	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_ = reg.WritePrometheus(w) // the scraper has gone
	}))
	defer page.Close()
	scrape(page.URL, "shop_", "# HELP shop_", "millrun_stream_process_total")
	// Output:
	// millrun_stream_process_total{application="shop",task="0_0",thread="..."} 3
	// shop_order_euros_sum 50
	// shop_order_euros_count 3
	// shop_order_euros_min 5
	// shop_order_euros_max 25.01
	// # HELP shop_orders_total orders, by country
	// shop_orders_total{country="de"} 2
	// shop_orders_total{country="fr"} 1
}

// work lets an application process a few orders of an embedded broker, and ends it.
func work(b *stream.Builder, cfg stream.Config) {
	t := &exampleT{}
	defer t.end()
	c := fake(t)
	c.topics(1, "orders", "invoices")
	cents := func(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }
	c.produce("orders", pair{"de", cents(1999)}, pair{"fr", cents(500)}, pair{"de", cents(2501)})
	_, stop := c.app(b, cfg)
	seen := 0
	c.read("invoices", func(*kgo.Record) bool { seen++; return seen == 3 })
	stop()
}

// random is what differs from run to run.
var random = regexp.MustCompile(`thread="[^"]*"`)

// scrape prints the lines of a page that begin in one of the ways.
func scrape(url string, names ...string) {
	resp, err := http.Get(url)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		for _, name := range names {
			if strings.HasPrefix(lines.Text(), name) {
				fmt.Println(random.ReplaceAllString(lines.Text(), `thread="..."`))
			}
		}
	}
}
