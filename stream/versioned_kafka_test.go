package stream_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// dated writes records of one key at their times, in minutes after noon.
func (c *cluster) dated(topic, key string, values map[int]string) {
	c.t.Helper()
	noon := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	var records []*kgo.Record
	for at, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(v), Timestamp: noon.Add(time.Duration(at) * time.Minute)})
	}
	if err := c.client.ProduceSync(c.ctx(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// rated answers each ask with the rate of its time.
func rated() *stream.Builder {
	b := stream.NewBuilder()
	rates := b.Table[string, string]("rates", stream.Into(state.Versioned[string, string]("rates", time.Hour)))
	b.Stream(stream.Topic[string, string]("asks")).
		JoinTable(rates, func(_, _, rate string) string { return rate }).
		To(stream.Topic[string, string]("answers"))
	return b
}

func TestVersionsOnDiskOutliveARestart(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "rates", "asks", "answers")
	c.dated("rates", "euro", map[int]string{0: "1.0", 10: "1.1", 20: "1.2"})
	dir := t.TempDir()
	run := func(dir string, at int, want string) int64 {
		j := &journal{}
		_, stop := c.app(rated(), onDisk(dir, j))
		defer stop()
		c.dated("asks", "euro", map[int]string{at: "what?"})
		c.newest("answers", map[string]string{"euro": want})
		return j.records.Load()
	}
	run(dir, 25, "1.2")
	c.dated("rates", "euro", map[int]string{30: "1.3"})
	run(dir, 35, "1.3")
	if n := run(dir, 15, "1.1"); n != 0 {
		t.Errorf("%d records were restored although everything was on disk", n)
	}
	if n := run(t.TempDir(), 5, "1.0"); n != 4 {
		t.Errorf("%d records were restored into an empty directory, want the four versions", n)
	}
}
