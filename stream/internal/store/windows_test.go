package store_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream/internal/store"
)

// naive is what a windowed store is to do, said plainly: a list of rows, and the newest time.
type naive struct {
	shape  *store.Shape
	rows   []naiveRow
	newest int64
}

type naiveRow struct {
	key        string
	start, end int64 // end of sessions only
	seq        int32
	value      string
}

func (m *naive) time(r naiveRow) int64 {
	if m.shape.Kind == store.Session {
		return r.end
	}
	return r.start
}

func (m *naive) segment(t int64) int64 { return max(0, t/max(m.shape.Retention/2, 60_000)) }

// put says whether the row is kept.
func (m *naive) put(r naiveRow, there bool) bool {
	m.newest = max(m.newest, m.time(r))
	dead := m.segment(m.newest - m.shape.Retention)
	kept := m.segment(m.time(r)) >= dead
	if m.shape.Memory {
		kept = m.time(r) > m.newest-m.shape.Retention
	}
	if kept {
		m.rows = slices.DeleteFunc(m.rows, func(o naiveRow) bool {
			return o.key == r.key && o.start == r.start && o.end == r.end && o.seq == r.seq
		})
		if there {
			m.rows = append(m.rows, r)
		}
	}
	m.rows = slices.DeleteFunc(m.rows, func(o naiveRow) bool { return m.segment(m.time(o)) < dead })
	return kept
}

func (m *naive) visible(r naiveRow) bool {
	if m.shape.Lasting {
		return true
	}
	late := int64(0)
	if m.shape.ByTime && !m.shape.Memory && m.shape.Kind != store.Session {
		late = 1
	}
	return m.time(r) > m.newest-m.shape.Retention-late
}

func (m *naive) local(r naiveRow) []byte {
	if m.shape.Kind == store.Session {
		return m.shape.Session(nil, []byte(r.key), r.start, r.end)
	}
	return m.shape.Window(nil, []byte(r.key), r.start, r.seq)
}

// read are the rows of some keys in a span, in the order of the local keys.
func (m *naive) read(low, high *string, least, most int64) []string {
	var found []naiveRow
	for _, r := range m.rows {
		in := r.start >= least && r.start <= most
		if m.shape.Kind == store.Session {
			in = r.end >= least && r.start <= most
		}
		if in && m.visible(r) && (low == nil || r.key >= *low) && (high == nil || r.key <= *high) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b naiveRow) int { return bytes.Compare(m.local(a), m.local(b)) })
	return texts(found)
}

func texts(rows []naiveRow) []string {
	out := []string{}
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%q %d %d #%d %s", r.key, r.start, r.end, r.seq, r.value))
	}
	return out
}

// closed are the rows that a store which emits on close gives, by time.
func (m *naive) closed(from, to int64) []string {
	var found []naiveRow
	for _, r := range m.rows {
		seen := m.visible(r) || m.shape.Kind == store.Session && !m.shape.Memory
		if t := m.time(r); t >= from && t <= to && seen {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b naiveRow) int {
		if c := int(m.time(a) - m.time(b)); c != 0 {
			return c
		}
		if m.shape.Kind == store.Session && !m.shape.Memory && a.start != b.start {
			return int(a.start - b.start)
		}
		if c := strings.Compare(a.key, b.key); c != 0 {
			return c
		}
		return int(b.start - a.start)
	})
	return texts(found)
}

func decoded(s *store.Shape, local, value []byte) string {
	r := naiveRow{key: string(s.Key(local)), start: s.Start(local), value: string(value)}
	if s.Kind == store.Session {
		r.end = s.End(local)
	} else {
		r.seq = s.Seq(local)
	}
	return texts([]naiveRow{r})[0]
}

func shapes(t *rapid.T) *store.Shape {
	s := &store.Shape{
		Kind:      rapid.SampledFrom([]store.Kind{store.Window, store.Session, store.JoinWindow}).Draw(t, "kind"),
		Retention: rapid.SampledFrom([]int64{1, 90, 50_000, 150_000, 400_000, 1<<63 - 1}).Draw(t, "retention"),
		Size:      50, Memory: rapid.Bool().Draw(t, "memory"), Lasting: rapid.IntRange(0, 3).Draw(t, "lasting") == 0,
	}
	s.ByTime = s.Kind != store.JoinWindow && rapid.Bool().Draw(t, "by time")
	return s
}

func drawRow(t *rapid.T, s *store.Shape) naiveRow {
	near := rapid.Int64Range(0, 300)
	far := rapid.Int64Range(0, 700_000)
	r := naiveRow{key: rapid.SampledFrom([]string{"", "a", "a\x00", "ab", "a\x00\x00\x00\x00\x00\x00\x00\x05zz", "b", "\xff\xff"}).Draw(t, "key")}
	r.start = rapid.OneOf(near, far).Draw(t, "start")
	r.value = rapid.SampledFrom([]string{"", "x", "yy"}).Draw(t, "value")
	switch s.Kind {
	case store.Session:
		r.end = r.start + rapid.SampledFrom([]int64{0, 1, 30, 100_000}).Draw(t, "length")
	case store.JoinWindow:
		r.seq = rapid.Int32Range(1, 3).Draw(t, "seq")
	}
	return r
}

func TestWindowsAreWhatTheNaiveListIs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := shapes(t)
		w, m := store.NewWindows(s, store.NewTree(), store.NewTree()), &naive{shape: s, newest: -1}
		var log []naiveRow // every put, a deletion as an empty key's worth of nothing
		var gone []bool
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				r, there := drawRow(t, s), rapid.IntRange(0, 4).Draw(t, "there") > 0
				log, gone = append(log, r), append(gone, !there)
				var v []byte
				if there {
					v = []byte(r.value)
				}
				if got, want := w.Put(m.local(r), v), m.put(r, there); got != want {
					t.Fatalf("kept %v, want %v", got, want)
				}
			},
			"crash": func(t *rapid.T) {
				w = store.NewWindows(s, store.NewTree(), store.NewTree())
				for i, r := range log {
					var v []byte
					if !gone[i] {
						v = []byte(r.value)
					}
					w.Restore(s.Logged(m.local(r)), v)
				}
			},
			"get": func(t *rapid.T) {
				r := drawRow(t, s)
				if len(m.rows) > 0 && rapid.Bool().Draw(t, "known") {
					r = rapid.SampledFrom(m.rows).Draw(t, "row")
				}
				v, ok, err := w.Get(m.local(r))
				i := slices.IndexFunc(m.rows, func(o naiveRow) bool {
					return o.key == r.key && o.start == r.start && o.end == r.end && o.seq == r.seq && m.visible(o)
				})
				if err != nil || ok != (i >= 0) || ok && string(v) != m.rows[i].value {
					t.Fatalf("%v: got %q %v %v", r, v, ok, err)
				}
			},
			"": func(t *rapid.T) { sameReads(t, w, m) },
		})
	})
}

func sameReads(t *rapid.T, w *store.Windows, m *naive) {
	edge := rapid.OneOf(rapid.Int64Range(-5, 310), rapid.Int64Range(0, 800_000), rapid.Just(int64(1<<63-1)))
	least, most := edge.Draw(t, "min"), edge.Draw(t, "max")
	one := rapid.Bool().Draw(t, "one")
	bound := func(label string) *string {
		if !one && rapid.Bool().Draw(t, label+" open") {
			return nil
		}
		return new(rapid.SampledFrom([]string{"", "a", "a\x00", "ab", "b", "c"}).Draw(t, label))
	}
	low := bound("low")
	high := low
	if !one {
		high = bound("high")
	}
	want := m.read(low, high, least, most)
	for _, reverse := range []bool{false, true} {
		var scan store.Scan
		scan.Begin(w, m.shape, key(low), key(high), one, least, most, reverse)
		if got := drain(t, &scan, m.shape); !slices.Equal(got, want) {
			t.Fatalf("low %v high %v one %v [%d, %d] reverse %v, newest %d:\n got %q\nwant %q", text(low), text(high), one, least, most, reverse, m.newest, got, want)
		}
		slices.Reverse(want)
	}
	if m.shape.ByTime {
		got := []string{}
		lost, err := w.Timeline(least, most, func(k, v []byte) error {
			got = append(got, decoded(m.shape, k, v))
			return nil
		})
		hidden := 0
		for _, r := range m.rows {
			if at := m.time(r); at >= least && at <= most && !m.visible(r) && (m.shape.Memory || m.shape.Kind != store.Session) {
				hidden++
			}
		}
		if lost < hidden {
			t.Fatalf("%d rows were lost and %d are told", hidden, lost)
		}
		if want := m.closed(least, most); err != nil || !slices.Equal(got, want) {
			t.Fatalf("closed in [%d, %d], newest %d:\n got %q\nwant %q", least, most, m.newest, got, want)
		}
	}
	if n, _ := w.Len(); n != int64(len(m.rows)) {
		t.Fatalf("%d rows in memory, want %d", n, len(m.rows))
	}
}

func key(s *string) []byte {
	if s == nil {
		return nil
	}
	return []byte(*s)
}

func text(s *string) string {
	if s == nil {
		return "open"
	}
	return fmt.Sprintf("%q", *s)
}

func drain(t *rapid.T, s *store.Scan, shape *store.Shape) []string {
	out := []string{}
	for {
		k, v, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, decoded(shape, k, v))
	}
}

func TestExpiredWindowsLeaveTheMemory(t *testing.T) {
	t.Parallel()
	for _, kind := range []store.Kind{store.Window, store.Session} {
		s := &store.Shape{Kind: kind, Retention: 1000, ByTime: true}
		w := store.NewWindows(s, store.NewTree(), store.NewTree())
		for i := range int64(20_000) {
			at := i * 100
			k := s.Window(nil, []byte("k"), at, 0)
			if kind == store.Session {
				k = s.Session(nil, []byte("k"), at, at)
			}
			w.Put(k, []byte("v"))
			if n, _ := w.Len(); n > (1000+2*60_000)/100 {
				t.Fatalf("kind %d: %d rows after %d ms", kind, n, at)
			}
		}
	}
}

func TestOldRowsAreRefusedBySegmentOrExactly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		memory bool
		start  int64
		kept   bool
	}{
		{false, 100_000, true}, {false, 60_000, true}, {false, 59_999, false},
		{true, 100_001, true}, {true, 100_000, false},
	} {
		s := &store.Shape{Kind: store.Window, Retention: 100_000, Memory: c.memory}
		w := store.NewWindows(s, store.NewTree(), store.NewTree())
		w.Put(s.Window(nil, []byte("k"), 200_000, 0), []byte("v"))
		late := s.Window(nil, []byte("k"), c.start, 0)
		if got := w.Put(late, []byte("v")); got != c.kept {
			t.Errorf("%+v: kept %v", c, got)
		}
		if _, ok, _ := w.Get(late); ok != (c.start > 100_000) {
			t.Errorf("%+v: read %v", c, ok)
		}
	}
}

func TestRestoredNumbersGoOn(t *testing.T) {
	t.Parallel()
	s := &store.Shape{Kind: store.JoinWindow, Retention: 1000}
	w := store.NewWindows(s, store.NewTree(), store.NewTree())
	for _, seq := range []int32{1, 7, 3} {
		w.Restore(s.Logged(s.Window(nil, []byte("k"), 5, seq)), []byte("v"))
	}
	if got := w.LastSeq(); got != 7 {
		t.Errorf("got %d, want 7", got)
	}
}

func TestKeysTooShortForAWindowAreNone(t *testing.T) {
	t.Parallel()
	for kind, least := range map[store.Kind]int{store.Window: 12, store.Session: 16, store.JoinWindow: 12} {
		s := &store.Shape{Kind: kind, Retention: 1}
		if s.Valid(make([]byte, least-1)) || !s.Valid(make([]byte, least)) {
			t.Errorf("kind %d: the least key has %d bytes", kind, least)
		}
	}
}

func TestRowsLostToAJumpOfTimeAreCounted(t *testing.T) {
	t.Parallel()
	s := &store.Shape{Kind: store.Window, Retention: 100, Size: 50, ByTime: true}
	w := store.NewWindows(s, store.NewTree(), store.NewTree())
	put := func(key string, start int64) { w.Put(s.Window(nil, []byte(key), start, 0), []byte("v")) }
	seen := func(from, to int64) (n, lost int) {
		lost, err := w.Timeline(from, to, func(_, _ []byte) error {
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n, lost
	}
	put("a", 0)
	put("a", 50)
	if n, lost := seen(0, 0); n != 1 || lost != 0 {
		t.Errorf("the first window: %d seen, %d lost", n, lost)
	}
	put("b", 50)
	put("a", 200) // the windows from 50 on are hidden
	if n, lost := seen(1, 50); n != 0 || lost != 2 {
		t.Errorf("hidden ones: %d seen, %d lost", n, lost)
	}
	put("a", 10_000_000) // the one from 200 on is removed with its segment
	if n, lost := seen(51, 9_000_000); n != 0 || lost != 1 {
		t.Errorf("a removed one: %d seen, %d lost", n, lost)
	}
}
