package stream_test

import (
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// TestQueriesReadThroughTheCacheBesideTheTask counts without ever committing: all counts are in the cache only. Queries read
// them there, while the task goes on counting.
func TestQueriesReadThroughTheCacheBesideTheTask(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	a, stop := c.app(wordCount(), stream.Config{ApplicationID: "held", CommitInterval: time.Hour})
	store, err := a.Query(state.TimestampedKeyValue[string, int64]("counts"))
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 50
	sent, last := 0, int64(0)
	until(t, func() bool {
		if sent < rounds {
			sent++
			c.produce("lines", pair{"", "a b a"})
		}
		n, _, err := store.Get("a")
		if n < last || err != nil {
			t.Errorf("%d after %d (%v)", n, last, err)
		}
		last = n
		rows := store.All()
		for k, n := range rows.All() {
			if k == "a" && n < last {
				t.Errorf("%d in a range after %d", n, last)
			}
		}
		if rows.Err() != nil {
			t.Error(rows.Err())
		}
		return n == 2*rounds
	})
	stop()
	c.latest("word-counts", int64Of, map[string]int64{"a": 2 * rounds, "b": rounds})
}
