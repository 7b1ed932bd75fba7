package stream_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// graceJoin joins the topic s with the versioned table t, which waits.
func graceJoin(left bool, grace, history time.Duration) *stream.Builder {
	b := stream.NewBuilder()
	s := b.Stream[string, string]("s")
	table := b.Table[string, string]("t", stream.Into(state.Versioned[string, string]("rows", history)))
	pair := func(_, v, o string, ok bool) string { return fmt.Sprintf("%s|%s,%t", v, o, ok) }
	opts := []stream.Joined{stream.Named("look"), stream.GracePeriod(grace)}
	if left {
		s.LeftJoinTable(table, pair, opts...).To("out")
	} else {
		s.JoinTable(table, func(_, v, o string) string { return v + "|" + o }, opts...).To("out")
	}
	return b
}

func TestGraceWaitsForTheTable(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, graceJoin(true, 10*ms, 100*ms))
	s, table := d.Input(stream.Topic[string, string]("s")), d.Input(stream.Topic[string, string]("t"))
	out := d.Output(stream.Topic[string, string]("out"))
	s.PipeRecord(stream.Record[string, string]{Key: "a", Value: "1", Timestamp: at(20), Headers: serde.Headers{{Key: "h", Value: []byte("x")}}})
	table.PipeAt(at(15), "a", "before")
	table.PipeAt(at(25), "a", "after")
	out.Want()
	s.PipeAt(at(30), "b", "2")
	r, ok := out.Read()
	if got := fmt.Sprint(r.Key, r.Value, r.Timestamp.UnixMilli(), r.Headers, ok); got != fmt.Sprint("a", "1|before,true", 20, serde.Headers{{Key: "h", Value: []byte("x")}}, true) {
		t.Errorf("got %s", got)
	}
	s.PipeAt(at(19), "a", "too late to wait")
	out.Want(out.R("a", "too late to wait|before,true"))
	s.PipeRecord(stream.Record[string, string]{Value: "no key", Timestamp: at(30), Keyless: true})
	if r, _ := out.Read(); r.Value != "no key|,false" || !r.Keyless {
		t.Errorf("without a key: %v", r)
	}
	s.PipeRecord(stream.Record[string, string]{Key: "a", Timestamp: at(90), Tombstone: true})
	out.Want() // dropped: it does not move the time either
}

// What waits is in the changelog, and goes on as itself after a crash.
func TestWhatWaitsSurvivesACrash(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, graceJoin(false, 10*ms, 100*ms))
	s, table := d.Input(stream.Topic[string, string]("s")), d.Input(stream.Topic[string, string]("t"))
	out := d.Output(stream.Topic[string, string]("out"))
	table.PipeAt(at(0), "a", "row")
	s.PipeAt(at(20), "a", "1")
	s.PipeAt(at(20), "a", "2")
	d.Crash()
	s.PipeAt(at(20), "a", "3")
	s.PipeAt(at(12), "a", "late, but not for the time that was before the crash")
	d.Crash()
	s.PipeAt(at(30), "b", "4")
	out.Want(out.R("a", "late, but not for the time that was before the crash|row"), out.R("a", "1|row"), out.R("a", "2|row"), out.R("a", "3|row"))
}

// A joiner that fails gives up one record, not those that wait with it.
func TestAFailingJoinerGivesUpOneRecord(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	table := b.Table[string, string]("t", stream.Into(state.Versioned[string, string]("rows", 100*ms)))
	b.Stream[string, string]("s").LeftJoinTable(table, func(_, v, _ string, _ bool) string {
		if v == "bad" {
			panic("bad")
		}
		return v
	}, stream.GracePeriod(5*ms)).To("out")
	var failed []string
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{ProcessingErrors: func(_ context.Context, f stream.Failure) stream.Response {
		failed = append(failed, fmt.Sprint(f.Topic, f.Offset))
		return stream.Continue()
	}}))
	s, out := d.Input(stream.Topic[string, string]("s")), d.Output(stream.Topic[string, string]("out"))
	s.PipeAt(at(1), "a", "good")
	s.PipeAt(at(2), "a", "bad")
	s.PipeAt(at(3), "a", "fine")
	s.PipeAt(at(50), "a", "later")
	out.Want(out.R("a", "good"), out.R("a", "fine"))
	if !slices.Equal(failed, []string{"s1"}) {
		t.Errorf("failed: %v, want the second record of s", failed)
	}
	d.Crash()
	s.PipeAt(at(100), "a", "last")
	out.Want(out.R("a", "later"))
}

func TestGraceNeedsHistory(t *testing.T) {
	t.Parallel()
	plain := stream.NewBuilder()
	plain.Stream[string, string]("s").JoinTable(plain.Table[string, string]("t"), func(_, v, _ string) string { return v }, stream.GracePeriod(time.Second))
	for want, b := range map[string]*stream.Builder{
		"needs a versioned table":       plain,
		"longer than the table's":       graceJoin(false, 101*ms, 100*ms),
		"GracePeriod(-1ms) is negative": graceJoin(false, -ms, 100*ms),
	} {
		if _, err := b.Build(stream.Config{ApplicationID: "a"}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "grace_test.go:") {
			t.Errorf("got %v, want %q and the line", err, want)
		}
	}
}

// waitingRecord is a record of the stream in the model.
type waitingRecord struct {
	key, value string
	at         int64
}

// graceModel is a join with grace done by hand: all rows of the table there ever were, and what waits.
type graceModel struct {
	left                       bool
	grace, history, rowsNewest int64
	time                       int64
	rows                       map[string]map[int64]string
	waits                      []waitingRecord
	out                        []string
}

func (m *graceModel) row(k, v string, at int64) {
	if at < m.rowsNewest-m.history {
		return
	}
	m.rowsNewest = max(m.rowsNewest, at)
	if m.rows[k] == nil {
		m.rows[k] = map[int64]string{}
	}
	if v == "" && m.undone(k, at) {
		delete(m.rows[k], at)
		return
	}
	m.rows[k][at] = v
}

// undone says whether a deletion leaves no trace: of the current row as of its own beginning, with no row before it.
func (m *graceModel) undone(k string, at int64) bool {
	froms := slices.Sorted(maps.Keys(m.rows[k]))
	last := len(froms) - 1
	if last < 0 || froms[last] != at || m.rows[k][at] == "" {
		return false
	}
	return last == 0 || m.rows[k][froms[last-1]] == ""
}

func (m *graceModel) record(r waitingRecord) {
	if r.at < m.time-m.grace {
		m.join(r)
		return
	}
	m.time = max(m.time, r.at)
	m.waits = append(m.waits, r)
	slices.SortStableFunc(m.waits, func(a, b waitingRecord) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return strings.Compare(a.key, b.key)
	})
	for len(m.waits) > 0 && m.waits[0].at <= m.time-m.grace {
		m.join(m.waits[0])
		m.waits = m.waits[1:]
	}
}

func (m *graceModel) join(r waitingRecord) {
	found, last := int64(-1), int64(-1)
	for from := range m.rows[r.key] {
		if last = max(last, from); from <= r.at {
			found = max(found, from)
		}
	}
	v, ok := "", found >= 0 && (found == last || r.at >= m.rowsNewest-m.history)
	if ok {
		v = m.rows[r.key][found]
		ok = v != ""
	}
	switch {
	case m.left:
		m.out = append(m.out, fmt.Sprintf("%s %s|%s,%t %d", r.key, r.value, v, ok, r.at))
	case ok:
		m.out = append(m.out, fmt.Sprintf("%s %s|%s %d", r.key, r.value, v, r.at))
	}
}

// TestJoinsWithGraceAgainstTheModel drives a join by random records in and out of order, and crashes.
func TestJoinsWithGraceAgainstTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		m := &graceModel{
			left: rapid.Bool().Draw(rt, "left"), grace: rapid.SampledFrom([]int64{0, 5, 30}).Draw(rt, "grace"), history: 50,
			rowsNewest: -1, time: -1, rows: map[string]map[int64]string{},
		}
		d := streamtest.New(t, graceJoin(m.left, time.Duration(m.grace)*ms, time.Duration(m.history)*ms))
		defer d.Close()
		s, table := d.Input(stream.Topic[string, string]("s")), d.Input(stream.Topic[string, string]("t"))
		out := d.Output(stream.Topic[string, string]("out"))
		n, base := 0, int64(50)
		keys := rapid.SampledFrom([]string{"a", "b", "c"})
		when := func(rt *rapid.T) int64 {
			base += rapid.Int64Range(0, 15).Draw(rt, "later")
			return base + rapid.Int64Range(-50, 10).Draw(rt, "at")
		}
		var got []string
		rt.Repeat(map[string]func(*rapid.T){
			"record": func(rt *rapid.T) {
				n++
				r := waitingRecord{keys.Draw(rt, "key"), fmt.Sprint(n), when(rt)}
				s.PipeAt(at(r.at), r.key, r.value)
				m.record(r)
			},
			"row": func(rt *rapid.T) {
				k, v, ts := keys.Draw(rt, "key"), rapid.SampledFrom([]string{"x", "y", ""}).Draw(rt, "value"), when(rt)
				table.PipeRecord(stream.Record[string, string]{Key: k, Value: v, Timestamp: at(ts), Tombstone: v == ""})
				m.row(k, v, ts)
			},
			"crash": func(*rapid.T) { d.Crash() },
			"": func(rt *rapid.T) {
				for _, r := range out.ReadAll() {
					got = append(got, fmt.Sprintf("%s %s %d", r.Key, r.Value, r.Timestamp.UnixMilli()))
				}
				if !slices.Equal(got, m.out) {
					rt.Fatalf("got\n%s\nwant\n%s\n%s", strings.Join(got, "\n"), strings.Join(m.out, "\n"), d.Transcript())
				}
			},
		})
	})
}
