package stream_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// partitioned is a key of a partition.
func partitioned(p, n int32) string {
	for i := 0; ; i++ {
		if k := fmt.Sprint(i); layout.Partition([]byte(k), n) == p {
			return k
		}
	}
}

// mortals are the rows of a table with a TTL, in one partition, kept without an index.
type mortals struct {
	time int64
	rows map[string]mortalRow
	sent []string // what is passed on, as changesOf shows it
}

type mortalRow struct {
	value string
	time  int64
}

const modelTTL = 10

// see moves stream time and ends rows.
func (m *mortals) see(at int64) {
	m.time = max(m.time, at)
	var gone []string
	for k, r := range m.rows {
		if r.time < m.time-modelTTL {
			gone = append(gone, k)
		}
	}
	slices.SortFunc(gone, func(a, b string) int { return cmp.Or(cmp.Compare(m.rows[a].time, m.rows[b].time), cmp.Compare(a, b)) })
	for _, k := range gone {
		m.sent = append(m.sent, fmt.Sprintf("%s=-@%d", k, m.rows[k].time+modelTTL))
		delete(m.rows, k)
	}
}

// put changes a row; the empty value deletes.
func (m *mortals) put(k, v string, at int64) {
	m.see(at)
	switch {
	case v == "":
		delete(m.rows, k)
		m.sent = append(m.sent, fmt.Sprintf("%s=-@%d", k, at))
	case at >= m.time-modelTTL:
		m.rows[k] = mortalRow{v, at}
		m.sent = append(m.sent, fmt.Sprintf("%s=%s@%d", k, v, at))
	}
}

// living are the rows of all partitions.
func living(all []mortals) map[string]string {
	rows := map[string]string{}
	for _, m := range all {
		for k, r := range m.rows {
			rows[k] = r.value
		}
	}
	return rows
}

// TestTTLAgainstTheModel changes a table at random, crashes after commits, and compares what the table holds, everything that
// it passed on and the groups below it with a map that looks at all rows every time.
func TestTTLAgainstTheModel(t *testing.T) {
	t.Parallel()
	groups := state.TimestampedKeyValue[string, int64]("groups")
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		parts := rapid.Int32Range(1, 3).Draw(rt, "partitions")
		b := stream.NewBuilder()
		table := b.Table(inText, stream.Into(brief))
		table.ToStream().To("out")
		if parts == 1 { // the driver's one task a partition would see the time of other partitions in the groups' topic
			table.GroupBy(func(_, v string) (string, string) { return v, v }).
				Count(stream.Into(groups), stream.DeleteWhen(func(n int64) bool { return n == 0 }))
		}
		d := streamtest.New(t, b, streamtest.WithPartitions(int(parts)), streamtest.WithConfig(stream.Config{
			CommitInterval: time.Hour, CacheBytes: rapid.SampledFrom(cacheSizes).Draw(rt, "cache"),
		}))
		defer d.Close()
		in, out := d.Input(inText), d.Output(toText)
		all := make([]mortals, parts)
		for i := range all {
			all[i] = mortals{time: -1, rows: map[string]mortalRow{}}
		}
		for range rapid.IntRange(1, 50).Draw(rt, "steps") {
			switch rapid.IntRange(0, 12).Draw(rt, "step") {
			case 0:
				d.Commit()
			case 1:
				settle(d)
				d.Crash()
			default:
				k := rapid.SampledFrom([]string{"a", "b", "c", "d", ""}).Draw(rt, "key")
				v := rapid.SampledFrom([]string{"", "x", "y", "z"}).Draw(rt, "value")
				m := &all[layout.Partition([]byte(k), parts)]
				now := max(0, m.time+rapid.Int64Range(-15, 8).Draw(rt, "time"))
				if v == "" {
					in.PipeRecord(stream.Record[string, string]{Key: k, Tombstone: true, Timestamp: at(now)})
				} else {
					in.PipeAt(at(now), k, v)
				}
				m.put(k, v, now)
				want := m.sent
				m.sent = nil
				if got := changesOf(out); !slices.Equal(got, want) {
					rt.Fatalf("passed on %q, want %q\n%s", got, want, d.Transcript())
				}
			}
			if rows := living(all); !maps.Equal(content(rt, d.Store(brief)), rows) {
				rt.Fatalf("the table has %v, want %v\n%s", content(rt, d.Store(brief)), rows, d.Transcript())
			}
		}
		settle(d)
		if parts > 1 {
			return
		}
		count := map[string]int64{}
		for _, v := range living(all) {
			count[v]++
		}
		if got := content(rt, d.Store(groups)); !maps.Equal(got, count) {
			rt.Fatalf("the groups are %v, want %v\n%s", got, count, d.Transcript())
		}
	})
}
