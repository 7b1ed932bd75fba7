package stream_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// visits pipes visits of two pages in the seconds given, and prints what the topology makes of them.
func visits(b *stream.Builder, seconds ...int) {
	t := &exampleT{}
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{CacheBytes: -1}))
	in := d.Input[string, string]("visits")
	for _, s := range seconds {
		in.PipeAt(time.UnixMilli(0).Add(time.Duration(s)*time.Second), "/home", "visit")
	}
	for line := range strings.Lines(d.Transcript()) {
		if strings.HasPrefix(line, "> ") {
			fmt.Print(line[2:])
		}
	}
	for _, f := range t.cleanups {
		f()
	}
}

// One count for each page and minute, when the minute and ten seconds for late records are over.
func ExampleUntilWindowCloses() {
	b := stream.NewBuilder()
	stream.Tumbling(time.Minute).Grace(10*time.Second).
		Over(b.Stream[string, string]("visits").GroupByKey()).
		Count(stream.As("visits-per-minute")).
		Suppress(stream.UntilWindowCloses(), stream.Named("finals")).
		ToStream().
		Map(func(w stream.Windowed[string], n int64) (string, string) {
			return w.Key + " " + w.Window.Start().Format("15:04"), fmt.Sprint(n)
		}).
		To("out")
	visits(b, 1, 30, 62, 59, 75, 140)
	// Output:
	// out-0 "/home 00:00"="3" @59000
	// out-0 "/home 00:01"="2" @75000
}

// At most one count for each page and ten seconds.
func ExampleUntilTimeLimit() {
	b := stream.NewBuilder()
	b.Stream[string, string]("visits").GroupByKey().
		Count(stream.As("visits")).
		Suppress(stream.UntilTimeLimit(10*time.Second).MaxRecords(1000).EmitEarlyWhenFull(), stream.Named("calm")).
		ToStream().
		MapValues(func(_ string, n int64) string { return fmt.Sprint(n) }).
		To("out")
	visits(b, 1, 2, 3, 11, 12, 30)
	// Output:
	// out-0 "/home"="4" @11000
	// out-0 "/home"="6" @30000
}
