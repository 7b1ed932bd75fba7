package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// queued is a change that suppress holds back, as the model has it.
type queued struct {
	key, value string // "-" deletes
	since, at  int64
}

// waitingRoom is the model of suppress.
type waitingRoom struct {
	all        []queued
	time, wait int64
	most       int
}

// take adds a change and returns what leaves.
func (w *waitingRoom) take(q queued) (out []string) {
	w.time = max(w.time, q.at)
	if i := slices.IndexFunc(w.all, func(x queued) bool { return x.key == q.key }); i >= 0 {
		q.since = w.all[i].since
		w.all = slices.Delete(w.all, i, i+1)
	}
	w.all = append(w.all, q)
	slices.SortFunc(w.all, func(a, b queued) int {
		if a.since != b.since {
			return int(a.since - b.since)
		}
		return strings.Compare(a.key, b.key)
	})
	for len(w.all) > 0 && (w.all[0].since <= w.time-w.wait || len(w.all) > w.most) {
		out = append(out, fmt.Sprintf("%s=%s@%d", w.all[0].key, w.all[0].value, w.all[0].at))
		w.all = w.all[1:]
	}
	return out
}

// TestSuppressIsAWaitingRoom compares suppress with a sorted list, through crashes.
func TestSuppressIsAWaitingRoom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		w := &waitingRoom{time: -1, wait: rapid.Int64Range(0, 20).Draw(rt, "wait"), most: rapid.IntRange(0, 4).Draw(rt, "most")}
		d, in := suppressed(t, stream.UntilTimeLimit(millis(w.wait)).MaxRecords(int64(w.most)).EmitEarlyWhenFull(), streamtest.WithConfig(stream.Config{CacheBytes: -1}))
		defer d.Close()
		now := int64(20)
		rt.Repeat(map[string]func(*rapid.T){
			"change": func(rt *rapid.T) {
				now = max(0, now+rapid.Int64Range(-3, 8).Draw(rt, "step"))
				q := queued{rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(rt, "key"), rapid.SampledFrom([]string{"1", "2", "-"}).Draw(rt, "value"), now, now}
				in.PipeRecord(stream.Record[string, string]{Key: q.key, Value: q.value, Timestamp: tick(now), Tombstone: q.value == "-"})
				if got, want := sent(d), strings.Join(w.take(q), " "); got != want {
					rt.Fatalf("got %q, want %q\n%s", got, want, d.Transcript())
				}
			},
			"crash": func(*rapid.T) {
				d.Crash()
				w.time = -1 // it is not remembered, as in Kafka Streams
			},
			"wait": func(*rapid.T) { d.Advance(time.Hour) },
		})
	})
}
