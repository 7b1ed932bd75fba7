package stream_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream"
)

// TestAPartitionThatBringsNothingGetsANewClient lets the broker answer the first client's fetches as if there were nothing.
func TestAPartitionThatBringsNothingGetsANewClient(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	var dumb atomic.Bool
	dumb.Store(true)
	c.fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.KeepControl()
		if !dumb.Load() {
			return nil, nil, false
		}
		c.fake.SleepControl(func() { <-time.After(20 * time.Millisecond) })
		return req.ResponseKind(), nil, true
	})
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	a, _ := c.app(b, stream.Config{ApplicationID: "stuck", FetchTimeout: 400 * time.Millisecond})
	c.produce("in", pair{"k", "1"})
	noticed := func() (n float64) {
		a.Metrics().Each(func(name string, _ map[string]string, x float64) {
			if name == "millrun_stream_watchdog_total" {
				n += x
			}
		})
		return n
	}
	for ctx := c.ctx(); noticed() == 0; {
		select {
		case <-ctx.Done():
			t.Fatal("nothing was noticed")
		case <-time.After(50 * time.Millisecond):
		}
	}
	dumb.Store(false)
	c.read("out", func(r *kgo.Record) bool { return string(r.Value) == "1" })
}
