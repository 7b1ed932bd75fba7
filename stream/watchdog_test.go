package stream_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream"
)

// dumb lets the broker answer fetches as if there were nothing, until it is over.
func (c *cluster) dumb(over func() bool) {
	c.fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.KeepControl()
		if over() {
			return nil, nil, false
		}
		<-time.After(2 * time.Millisecond) // a broker would wait for records; this one is asked again and again
		return req.ResponseKind(), nil, true
	})
}

// noticed waits until the application has replaced a client because nothing came of a topic.
func noticed(t *testing.T, a *stream.App, topic string) {
	t.Helper()
	until(t, func() bool { return measured(a, "millrun_stream_watchdog_total", topic) > 0 })
}

// births counts the clients that restore.
type births struct{ n atomic.Int64 }

func (b *births) OnNewClient(cl *kgo.Client) {
	if id, _ := cl.OptValue(kgo.ClientID).(string); strings.HasSuffix(id, "-restore") {
		b.n.Add(1)
	}
}

func TestAPartitionThatBringsNothingGetsANewClient(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	var over atomic.Bool
	c.dumb(over.Load)
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	a, _ := c.app(b, stream.Config{ApplicationID: "stuck", FetchTimeout: 400 * time.Millisecond})
	c.produce("in", pair{"k", "1"})
	noticed(t, a, "in")
	over.Store(true)
	c.read("out", func(r *kgo.Record) bool { return string(r.Value) == "1" })
}

// TestAChangelogThatBringsNothingGetsANewClient begins with what another instance left.
func TestAChangelogThatBringsNothingGetsANewClient(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	lines, want := letters(100)
	config := stream.Config{ApplicationID: "stuck", CacheBytes: -1, FetchTimeout: 400 * time.Millisecond}
	_, stop := c.app(wordCount(), config)
	c.produce("lines", lines...)
	c.latest("word-counts", int64Of, want)
	stop()
	var restorers births
	config.ClientOptions = []kgo.Opt{kgo.WithHooks(&restorers)}
	c.dumb(func() bool { return restorers.n.Load() > 1 })
	a, _ := c.app(wordCount(), config)
	noticed(t, a, "stuck-counts-changelog")
	c.produce("lines", lines...)
	c.latest("word-counts", int64Of, twice(want))
}
