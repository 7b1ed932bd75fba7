package state_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// Models of the window and session stores that a processor opens: a list of rows, through any crashes.

const (
	rowSize, rowRetention                              = 20, 100 // milliseconds
	putIn                 stream.Topic[string, string] = "in"
)

// span is a row of a store.
type span struct {
	key        string
	start, end int64
	value      string
}

func (s span) String() string { return fmt.Sprintf("%s[%d,%d]=%s", s.key, s.start, s.end, s.value) }

// spans is what a store is to hold.
type spans struct {
	rows   []span
	newest int64
	time   func(span) int64 // what a row lives by
}

func (m *spans) put(s span, there bool) {
	m.newest = max(m.newest, m.time(s))
	m.rows = slices.DeleteFunc(m.rows, func(o span) bool { return o.key == s.key && o.start == s.start && o.end == s.end })
	if there {
		m.rows = append(m.rows, s)
	}
	m.rows = slices.DeleteFunc(m.rows, func(o span) bool { return m.time(o) <= m.newest-rowRetention })
}

// find are the rows that f takes, in an order.
func (m *spans) find(order func(a, b span) int, f func(span) bool) []string {
	var found []span
	for _, r := range m.rows {
		if f(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, order)
	out := []string{}
	for _, r := range found {
		out = append(out, r.String())
	}
	return out
}

func byKey(a, b span) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.end, b.end), cmp.Compare(a.start, b.start))
}

func byTime(a, b span) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.key, b.key)) }

func read(t *rapid.T, rows *state.Rows[state.Slot[string], string]) []string {
	out := []string{}
	for s, v := range rows.All() {
		out = append(out, span{s.Key, s.Start.UnixMilli(), s.End.UnixMilli(), v}.String())
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func equal(t *rapid.T, what string, got, want []string) {
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func millis(n int64) time.Time { return time.UnixMilli(n).UTC() }

var putters = rapid.Custom(func(t *rapid.T) span {
	at := rapid.Int64Range(0, 250).Draw(t, "at")
	return span{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"), at, at + rowSize, rapid.SampledFrom([]string{"x", "y", ""}).Draw(t, "value")}
})

// putting puts each record into a store, the record's time being the row's; a record without value deletes.
func putting[S, R any](h state.Handle[S, R], put func(s S, r stream.Record[string, string]) error) *stream.Builder {
	b := stream.NewBuilder()
	b.Stream(putIn).Process(stream.ProcessorFunc(func(c *stream.ProcessorContext[struct{}, struct{}], r stream.Record[string, string]) error {
		return put(c.Store(h), r)
	}), stream.Uses(h))
	return b
}

func pipe(in *streamtest.TestInput[string, string], s span, there bool) {
	in.PipeRecord(stream.Record[string, string]{Key: s.key, Value: s.value, Timestamp: millis(s.start), Tombstone: !there})
}

func TestAWindowStoreIsAListOfRows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		memory := rapid.Bool().Draw(rt, "memory")
		engine := map[bool]state.Option{true: state.InMemory(), false: state.Persistent()}[memory]
		h := state.Window[string, string]("w", rowSize*time.Millisecond, rowRetention*time.Millisecond, engine)
		d := streamtest.New(t, putting(h, func(s state.WindowStore[string, string], r stream.Record[string, string]) error {
			if r.Tombstone {
				return s.Delete(r.Key, r.Timestamp)
			}
			return s.Put(r.Key, r.Value, r.Timestamp, r.Timestamp)
		}))
		defer d.Close()
		in := d.Input(putIn)
		m := &spans{newest: -1, time: func(s span) int64 { return s.start }}
		order := byKey
		if memory {
			order = byTime
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				s, there := putters.Draw(rt, "row"), rapid.IntRange(0, 4).Draw(rt, "there") > 0
				pipe(in, s, there)
				m.put(s, there)
			},
			"crash": func(*rapid.T) { d.Crash() },
			"": func(rt *rapid.T) {
				w := d.Store(h)
				from, to := rapid.Int64Range(-10, 260).Draw(rt, "from"), rapid.Int64Range(-10, 260).Draw(rt, "to")
				in := func(s span) bool { return s.start >= from && s.start <= to }
				all := m.find(order, in)
				some := m.find(order, func(s span) bool { return in(s) && s.key <= "b" })
				one := m.find(byTime, func(s span) bool { return in(s) && s.key == "b" })
				equal(rt, "all", read(rt, w.FetchAll(millis(from), millis(to))), all)
				equal(rt, "range", read(rt, w.FetchRange("a", "b", millis(from), millis(to))), some)
				equal(rt, "one", read(rt, w.Fetch("b", millis(from), millis(to))), one)
				slices.Reverse(all)
				slices.Reverse(some)
				slices.Reverse(one)
				equal(rt, "all backwards", read(rt, w.ReverseFetchAll(millis(from), millis(to))), all)
				equal(rt, "range backwards", read(rt, w.ReverseFetchRange("a", "b", millis(from), millis(to))), some)
				equal(rt, "one backwards", read(rt, w.ReverseFetch("b", millis(from), millis(to))), one)
				for _, r := range m.rows {
					if v, ok, err := w.Get(r.key, millis(r.start)); err != nil || !ok || v.Value != r.value || v.Time.UnixMilli() != r.start {
						rt.Fatalf("%v: got %v %v %v", r, v, ok, err)
					}
				}
			},
		})
	})
}

func TestASessionStoreIsAListOfRows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		memory := rapid.Bool().Draw(rt, "memory")
		engine := map[bool]state.Option{true: state.InMemory(), false: state.Persistent()}[memory]
		h := state.Session[string, string]("s", rowRetention*time.Millisecond, engine)
		slot := func(r stream.Record[string, string]) state.Slot[string] {
			long := time.Duration(len(r.Value)) * rowSize * time.Millisecond // sessions of different lengths
			return state.Slot[string]{Key: r.Key, Start: r.Timestamp, End: r.Timestamp.Add(long)}
		}
		d := streamtest.New(t, putting(h, func(s state.SessionStore[string, string], r stream.Record[string, string]) error {
			return s.Put(slot(r), r.Value)
		}))
		defer d.Close()
		in := d.Input(putIn)
		m := &spans{newest: -1, time: func(s span) int64 { return s.end }}
		order := byKey
		if memory {
			order = func(a, b span) int { return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(b.start, a.start)) }
		}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				s := putters.Draw(rt, "row")
				s.end = s.start + int64(len(s.value))*rowSize
				pipe(in, s, true)
				m.put(s, true)
			},
			"delete": func(rt *rapid.T) {
				if len(m.rows) == 0 {
					return
				}
				s := rapid.SampledFrom(m.rows).Draw(rt, "row")
				if err := d.Store(h).Delete(state.Slot[string]{Key: s.key, Start: millis(s.start), End: millis(s.end)}); err != nil {
					rt.Fatal(err)
				}
				m.put(s, false)
				in.PipeRecord(stream.Record[string, string]{Key: "a", Value: "", Timestamp: millis(m.newest)}) // so that the deletion is sent
				m.put(span{"a", m.newest, m.newest, ""}, true)
			},
			"crash": func(*rapid.T) { d.Crash() },
			"": func(rt *rapid.T) {
				s := d.Store(h)
				end, start := rapid.Int64Range(-10, 260).Draw(rt, "earliest end"), rapid.Int64Range(-10, 260).Draw(rt, "latest start")
				own := func(r span) bool { return r.key == "b" }
				equal(rt, "fetch", read(rt, s.Fetch("b")), m.find(order, own))
				equal(rt, "find", read(rt, s.Find("b", millis(end), millis(start))), m.find(order, func(r span) bool {
					return own(r) && r.end >= end && r.start <= start
				}))
				for _, r := range m.rows {
					v, ok, err := s.Get(state.Slot[string]{Key: r.key, Start: millis(r.start), End: millis(r.end)})
					if err != nil || !ok || v != r.value {
						rt.Fatalf("%v: got %v %v %v", r, v, ok, err)
					}
				}
			},
		})
	})
}

// TestWhatIsTooOldIsLoggedAllTheSame: as in Kafka Streams, whose changelog says more than its store keeps.
func TestWhatIsTooOldIsLoggedAllTheSame(t *testing.T) {
	t.Parallel()
	h := state.Window[string, string]("w", rowSize*time.Millisecond, rowRetention*time.Millisecond, state.InMemory())
	d := streamtest.New(t, putting(h, func(s state.WindowStore[string, string], r stream.Record[string, string]) error {
		return s.Put(r.Key, r.Value, r.Timestamp, r.Timestamp)
	}))
	in := d.Input(putIn)
	for _, at := range []int64{1000, 900} {
		pipe(in, span{"a", at, 0, "x"}, true)
	}
	if sent := d.Sent(); len(sent) != 2 || string(sent[1].Key) != "a\x00\x00\x00\x00\x00\x00\x03\x84\x00\x00\x00\x00" {
		t.Errorf("the changelog has %v", sent)
	}
	if _, ok, err := d.Store(h).Get("a", millis(900)); ok || err != nil {
		t.Errorf("what is too old was kept: %v", err)
	}
}
