package store_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/store/disk"
)

// everPut is the model of a versioned store: all that was ever put in time, by key and time, nothing forgotten.
type everPut struct {
	history, newest int64
	values          map[string]map[int64]*string
}

func (m *everPut) put(k string, v *string, at int64) (to int64, kept bool) {
	if at < m.newest-m.history {
		return 0, false
	}
	m.newest = max(m.newest, at)
	if m.values[k] == nil {
		m.values[k] = map[int64]*string{}
	}
	if v == nil && m.undone(k, at) {
		delete(m.values[k], at)
	} else {
		m.values[k][at] = v
	}
	to = store.Open
	for from := range m.values[k] {
		if from > at {
			to = min(to, from)
		}
	}
	return to, true
}

// undone says whether a deletion is of the current value as of its own beginning, with no value before it.
func (m *everPut) undone(k string, at int64) bool {
	froms := slices.Sorted(maps.Keys(m.values[k]))
	last := len(froms) - 1
	if last < 0 || froms[last] != at || m.values[k][at] == nil {
		return false
	}
	return last == 0 || m.values[k][froms[last-1]] == nil
}

// all is every version of a key that has a value.
func (m *everPut) all(k string) []store.Version {
	var out []store.Version
	froms := slices.Sorted(maps.Keys(m.values[k]))
	for i, from := range froms {
		to := store.Open
		if i+1 < len(froms) {
			to = froms[i+1]
		}
		if v := m.values[k][from]; v != nil {
			out = append(out, store.Version{Value: []byte(*v), From: from, To: to})
		}
	}
	return out
}

// known says whether a question about a time may be answered by a version.
func (m *everPut) known(v store.Version, at int64) bool {
	return v.To == store.Open || at >= m.newest-m.history
}

func (m *everPut) asOf(k string, at int64) (store.Version, bool) {
	for _, v := range m.all(k) {
		if v.From <= at && (at < v.To || v.To == store.Open) && m.known(v, at) {
			return v, true
		}
	}
	return store.Version{}, false
}

func (m *everPut) between(k string, from, to int64) (out []store.Version) {
	for _, v := range m.all(k) {
		if v.From <= to && v.To > from && v.To > m.newest-m.history && m.known(v, to) {
			out = append(out, v)
		}
	}
	return out
}

// inMemory is an empty store.
func inMemory(history int64) *store.Versions {
	return store.NewVersions(history, store.NewTree(), store.NewTree())
}

// versionsOnDisk is a store that can be closed and opened again.
type versionsOnDisk struct {
	*store.Versions
	t       *rapid.T
	history int64
	backend store.Backend
	home    store.Home
}

func (d *versionsOnDisk) open() {
	var err error
	if d.home, err = d.backend.Open("versions", nil); err != nil {
		d.t.Fatal(err)
	}
	d.Versions = store.NewVersions(d.history, d.home.Map(store.Rows), d.home.Map(store.Second))
	d.Resume(d.home.Mark().Note)
}

func (d *versionsOnDisk) commit() {
	if err := d.home.Commit(store.Mark{Note: d.Note()}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *versionsOnDisk) close() {
	if err := d.home.Close(); err != nil {
		d.t.Fatal(err)
	}
}

// TestVersionsAreAHistory compares stores with the model after every step; one in thirty, since those take longer, is on disk and is
// committed and opened again at times.
func TestVersionsAreAHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history := rapid.SampledFrom([]int64{1, 10, 100}).Draw(t, "history")
		if rapid.IntRange(0, 29).Draw(t, "on disk") > 0 {
			s := inMemory(history)
			likeTheModel(t, history, func() *store.Versions { return s }, map[string]func(*rapid.T){})
			return
		}
		d := &versionsOnDisk{t: t, history: history, backend: disk.New(1 << 20).InMemory()}
		d.open()
		defer d.close()
		likeTheModel(t, history, func() *store.Versions { return d.Versions }, map[string]func(*rapid.T){
			"commit": func(*rapid.T) { d.commit() },
			"open again": func(*rapid.T) {
				d.commit()
				d.close()
				d.open()
			},
		})
	})
}

// likeTheModel compares a store with the model after every step, some of which the caller adds.
func likeTheModel(t *rapid.T, history int64, now func() *store.Versions, steps map[string]func(*rapid.T)) {
	keys := rapid.SampledFrom([]string{"", "a", "ab", "b"})
	m := &everPut{history, -1, map[string]map[int64]*string{}}
	time := rapid.Int64Range(0, 3*history)
	base := int64(0)
	put := func(t *rapid.T, v *string) {
		k, at := keys.Draw(t, "key"), base+time.Draw(t, "at")
		var value []byte
		if v != nil {
			value = []byte(*v)
		}
		to, kept, err := now().Put([]byte(k), value, at)
		wantTo, wantKept := m.put(k, v, at)
		if to != wantTo || kept != wantKept || err != nil {
			t.Fatalf("put %q at %d: until %d, %v, %v; want %d, %v", k, at, to, kept, err, wantTo, wantKept)
		}
	}
	steps["put"] = func(t *rapid.T) { put(t, new(rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "value"))) }
	steps["delete"] = func(t *rapid.T) { put(t, nil) }
	steps["later"] = func(t *rapid.T) { base += rapid.Int64Range(0, 2*history).Draw(t, "by") }
	steps[""] = func(t *rapid.T) {
		k, at := keys.Draw(t, "probe"), base+time.Draw(t, "as of")-history
		to := at + rapid.Int64Range(0, history).Draw(t, "span")
		shared, _ := now().Shared().(store.VersionReader)
		for _, s := range []store.VersionReader{now(), shared} {
			compare(t, s, m, k, at)
			compare(t, s, m, k, store.Open)
			got, err := s.History([]byte(k), at, to)
			if want := m.between(k, at, to); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("history of %q from %d to %d: %v, %v, want %v", k, at, to, got, err, want)
			}
		}
	}
	t.Repeat(steps)
}

func compare(t *rapid.T, s store.VersionReader, m *everPut, k string, at int64) {
	v, ok, err := s.AsOf([]byte(k), at)
	want, wantOK := m.asOf(k, at)
	if err != nil || ok != wantOK || fmt.Sprint(v) != fmt.Sprint(want) {
		t.Fatalf("%q as of %d: %v, %v, %v; want %v, %v", k, at, v, ok, err, want, wantOK)
	}
}

// What nobody can ask for any more is not held: only current values outlive history.
func TestVersionsForgetWhatIsOver(t *testing.T) {
	t.Parallel()
	s := inMemory(10)
	put := func(k, v []byte, at int64) {
		if _, _, err := s.Put(k, v, at); err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(1000) {
		k := fmt.Appendf(nil, "k%d", i%10)
		put(k, []byte("v"), i)
		put(k, nil, i)
	}
	put([]byte("stays"), []byte("v"), 1000)
	put([]byte("last"), []byte("v"), 2000)
	if n, err := s.Shared().Len(); n != 2 || err != nil {
		t.Errorf("%d versions are held, %v, want the two of keys that have a value", n, err)
	}
	if _, ok, _ := s.AsOf([]byte("stays"), 1500); !ok {
		t.Error("a current value is gone beyond history")
	}
}

// A query may run beside the task; what it was told stays as it was.
func TestVersionsAreReadBesideTheirWriter(t *testing.T) {
	t.Parallel()
	s := inMemory(100)
	shared, _ := s.Shared().(store.VersionReader)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range int64(500) {
				if v, ok, _ := shared.AsOf([]byte("k"), store.Open); ok && len(v.Value) != 3 {
					t.Errorf("a value of %d bytes", len(v.Value))
				}
				_, _ = shared.History([]byte("k"), i, i+50)
			}
		})
	}
	for i := range int64(500) {
		if _, _, err := s.Put([]byte("k"), []byte("abc"), i); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
