package disk

import (
	"bytes"
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream/internal/store"
)

var windows = &store.Shape{Kind: store.Window, Retention: 1 << 30, Size: 10}

func windowKey() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		user := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 255}), 0, 2).Draw(t, "user")
		return windows.Window(nil, user, rapid.Int64Range(0, 20_000).Draw(t, "start"), 0)
	})
}

// Rows of a time that is asked for are never passed over, whatever files they are in; others may be.
func TestARowOfATimeAskedForIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h, err := On(1<<20, vfs.NewMem()).open("store", windows)
		ok(t, err)
		defer func() { ok(t, h.Close()) }()
		want := store.NewTree()
		steps(t, h, want)
		m := h.maps[store.Rows]
		for range 20 {
			from, reverse, past := windowKey().Draw(t, "from"), rapid.Bool().Draw(t, "reverse"), rapid.Bool().Draw(t, "past")
			since := rapid.Int64Range(-5, 25_000).Draw(t, "since")
			gk, gv, found, err := m.SeekSince(since, from, reverse, past)
			ok(t, err)
			checkSince(t, want, since, from, reverse, past, gk, gv, found)
		}
		n, err := m.Len()
		ok(t, err)
		if w, _ := want.Len(); n != w {
			t.Fatalf("%d rows, want %d", n, w)
		}
	})
}

// steps writes, removes, commits, writes files and merges them, on disk and in a tree.
func steps(t *rapid.T, h *Home, want *store.Tree) {
	m := h.maps[store.Rows]
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		k := windowKey().Draw(t, "key")
		switch rapid.IntRange(0, 9).Draw(t, "step") {
		case 0:
			ok(t, h.Commit(store.Mark{}))
		case 1:
			ok(t, h.Commit(store.Mark{}))
			ok(t, h.db.Flush())
		case 2:
			ok(t, h.db.Compact(context.Background(), []byte{0}, []byte{255}, false))
		case 3:
			m.Put(k, nil)
			want.Set(k, nil)
		case 4:
			if rapid.IntRange(0, 5).Draw(t, "cut") == 0 {
				m.RemoveBefore(k)
				want.RemoveBefore(k)
			}
		case 5:
			_, _, err := m.Get(k)
			ok(t, err)
		default:
			m.Put(k, k)
			want.Set(k, k)
		}
	}
}

// checkSince compares with the tree's neighbours: the first of a time asked for, or one that comes before it.
func checkSince(t *rapid.T, want *store.Tree, since int64, from []byte, reverse, past bool, gk, gv []byte, found bool) {
	k, v, there, _ := want.Seek(from, reverse, past)
	for ; there; k, v, there, _ = want.Seek(k, reverse, true) {
		if found && bytes.Equal(gk, k) {
			if !bytes.Equal(gv, v) {
				t.Fatalf("value %q of %q, want %q", gv, gk, v)
			}
			return
		}
		if windows.Time(k) >= since {
			t.Fatalf("since %d from %q (reverse %v, past %v): %q %v, want %q", since, from, reverse, past, gk, found, k)
		}
	}
	if found {
		t.Fatalf("since %d from %q: %q, which is not there", since, from, gk)
	}
}

// What is older than a reader asks for is not even looked at: blocks of old rows are passed over.
func TestOldBlocksArePassedOver(t *testing.T) {
	t.Parallel()
	h, err := On(1<<20, vfs.NewMem()).open("store", windows)
	ok(t, err)
	defer func() { ok(t, h.Close()) }()
	m := h.maps[store.Rows]
	m.Put(windows.Window(nil, []byte("old"), 1, 0), make([]byte, 100_000))
	m.Put(windows.Window(nil, []byte("young"), 50_000, 0), []byte("v"))
	ok(t, h.Commit(store.Mark{}))
	ok(t, h.db.Flush())
	k, _, found, err := m.SeekSince(40_000, nil, false, false)
	ok(t, err)
	if !found || windows.Time(k) != 50_000 {
		t.Fatalf("found %q %v, want the younger row", k, found)
	}
	for _, seek := range []func() ([]byte, []byte, bool, error){
		func() ([]byte, []byte, bool, error) { return m.Seek(nil, false, false) },
		func() ([]byte, []byte, bool, error) { return m.SeekSince(0, nil, false, false) },
	} {
		if k, _, _, err = seek(); err != nil || windows.Time(k) != 1 {
			t.Fatalf("found %q %v, want the older row", k, err)
		}
	}
}

// A key that is not there is mostly not looked for in files.
func TestFilesHaveFilters(t *testing.T) {
	t.Parallel()
	h, err := On(1<<20, vfs.NewMem()).open("store", nil)
	ok(t, err)
	defer func() { ok(t, h.Close()) }()
	h.maps[store.Rows].Put([]byte("a"), []byte("1"))
	h.maps[store.Rows].Put([]byte("c"), []byte("1"))
	ok(t, h.Commit(store.Mark{}))
	ok(t, h.db.Flush())
	if _, found, err := h.maps[store.Rows].Get([]byte("b")); found || err != nil {
		t.Fatalf("found %v %v", found, err)
	}
	if f := h.db.Metrics().Filter; f.Hits == 0 {
		t.Fatalf("%+v: the filter was not asked", f)
	}
}
