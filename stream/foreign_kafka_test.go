package stream_test

import (
	"maps"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream"
)

// newest reads a topic until the latest value of each key is what is wanted; a tombstone forgets its key.
func (c *cluster) newest(topic string, want map[string]string) {
	c.t.Helper()
	got := map[string]string{}
	c.read(topic, func(r *kgo.Record) bool {
		if got[string(r.Key)] = string(r.Value); r.Value == nil {
			delete(got, string(r.Key))
		}
		return maps.Equal(got, want)
	})
}

// Two tables of different widths: what the orders subscribed to is kept when the application goes, and answered by the next.
func TestForeignKeyJoinOnABroker(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(3, "orders", "out")
	c.topics(2, "customers")
	program := func() *stream.Builder {
		b := stream.NewBuilder()
		orders(b, true)
		return b
	}
	cfg := stream.Config{ApplicationID: "foreign"}
	_, stop := c.app(program(), cfg)
	want := map[string]string{}
	for i := range 20 {
		key := "o" + strconv.Itoa(i)
		order := []string{"ann:", "bob:", "eve:", "guest"}[i%4]
		c.produce("orders", pair{key, order})
		want[key] = order + " false"
		if city := map[int]string{0: "Rome", 1: "Oslo"}[i%4]; city != "" {
			want[key] = order + " " + city + "true"
		}
	}
	c.produce("customers", pair{"ann", "Rome"}, pair{"bob", "Oslo"})
	c.newest("out", want)
	stop()

	c.app(program(), cfg)
	c.produce("customers", pair{"ann", "Bern"})
	for key, was := range want {
		if was == "ann: Rometrue" {
			want[key] = "ann: Berntrue"
		}
	}
	c.newest("out", want)
}
