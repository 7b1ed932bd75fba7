package stream_test

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

const (
	lines  stream.Topic[string, string] = "lines"
	counts stream.Topic[string, int64]  = "word-counts"
)

// wordCount is the program of the README.
func wordCount() *stream.Builder { return countWords(lines, counts) }

func countWords(in stream.Topic[string, string], out stream.Topic[string, int64]) *stream.Builder {
	b := stream.NewBuilder()
	b.Stream(in).
		FlatMapValues(func(_ string, line string, emit func(string)) {
			for w := range strings.FieldsSeq(strings.ToLower(line)) {
				emit(w)
			}
		}).
		GroupBy(func(_ string, word string) string { return word }).
		Count(stream.As("counts")).
		ToStream().
		To(out)
	return b
}

func int64Of(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

func TestWordCountOfWhatWasProducedBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(4, "lines", "word-counts")
	c.produce("lines", pair{"", "all streams lead to kafka"}, pair{"", "hello kafka streams"}, pair{"", "join kafka summit"})
	_, stop := c.app(wordCount(), stream.Config{ApplicationID: "wc"})
	want := map[string]int64{"all": 1, "streams": 2, "lead": 1, "to": 1, "kafka": 3, "hello": 1, "join": 1, "summit": 1}
	c.latest("word-counts", int64Of, want)
	stop()
	// A second instance begins where the first ended, with the state of the changelog.
	c.produce("lines", pair{"", "kafka"})
	c.app(wordCount(), stream.Config{ApplicationID: "wc"})
	want["kafka"] = 4
	c.latest("word-counts", int64Of, want)
}

var seen = state.KeyValue[string, int64]("seen")

// census counts records per key in its own store and tells what it has every 10 ms.
type census struct {
	seen state.KeyValueStore[string, int64]
}

func newCensus() *census { return &census{} }

func (p *census) Init(ctx *stream.ProcessorContext[string, int64]) error {
	p.seen = ctx.Store(seen)
	ctx.Schedule(10*time.Millisecond, stream.WallClockTime, func(time.Time) error {
		rows := p.seen.All()
		for k, n := range rows.All() {
			if err := ctx.Emit(k, n); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return nil
}

func (p *census) Process(_ *stream.ProcessorContext[string, int64], r stream.Record[string, string]) error {
	n, _, err := p.seen.Get(r.Key)
	if err != nil {
		return err
	}
	return p.seen.Put(r.Key, n+1)
}

func TestAProcessorWithAStoreTellsItByTheWallClock(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "in", "out")
	c.produce("in", pair{"a", "1"}, pair{"b", "1"}, pair{"a", "2"})
	b := stream.NewBuilder()
	b.Stream[string, string]("in").Process(newCensus, stream.Uses(seen)).To("out")
	c.app(b, stream.Config{ApplicationID: "census"})
	c.latest("out", int64Of, map[string]int64{"a": 2, "b": 1})
}
