package stream_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
)

// spoken hands out the records of a log that have one message.
type spoken struct {
	slog.Handler
	message string
	told    chan map[string]slog.Value
}

func (s spoken) Enabled(context.Context, slog.Level) bool { return true }

func (s spoken) WithAttrs([]slog.Attr) slog.Handler { return s }

// Handle passes a record on if anybody waits for it.
func (s spoken) Handle(_ context.Context, r slog.Record) error {
	if r.Message != s.message {
		return nil
	}
	got := map[string]slog.Value{}
	r.Attrs(func(a slog.Attr) bool { got[a.Key] = a.Value; return true })
	select {
	case s.told <- got:
	default:
	}
	return nil
}

func TestASummarySaysWhatWasDoneSinceTheLastOne(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "word-counts")
	c.produce("lines", pair{"", "a b"})
	told := make(chan map[string]slog.Value, 10_000)
	c.app(wordCount(), stream.Config{
		ApplicationID: "summed", SummaryInterval: 20 * time.Millisecond, Log: slog.New(spoken{slog.DiscardHandler, "summary", told}),
	})
	c.latest("word-counts", int64Of, map[string]int64{"a": 1, "b": 1})
	var processed, polled, reads int64
	limit := time.After(patience)
	for {
		var got map[string]slog.Value
		select {
		case got = <-told:
		case <-limit:
			t.Fatalf("%d processed, %d polled after %s", processed, polled, patience)
		}
		processed += got["processed"].Int64()
		polled += got["polled"].Int64()
		if _, ok := got["cache_hit_ratio"]; ok {
			reads++
		}
		if got["dropped"].Int64() != 0 || got["errors"].Int64() != 0 {
			t.Errorf("told: %v", got)
		}
		if processed < 3 || got["processed"].Int64() > 0 {
			continue
		}
		if _, ok := got["cache_hit_ratio"]; ok || reads == 0 {
			t.Errorf("nothing was looked up, and %v is told; %d times before", got["cache_hit_ratio"], reads)
		}
		if _, ok := got["restore_remaining"]; ok {
			t.Error("a rest to be restored is told of nothing")
		}
		if got["lag"].Int64() == 0 && got["state"].String() == "RUNNING" && got["tasks_active"].Int64() == 2 && polled >= 3 {
			return
		}
	}
}
