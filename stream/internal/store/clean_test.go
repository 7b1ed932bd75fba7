package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/millrun/millrun/stream/internal/store"
)

// written puts rows into a cache and writes them through to a tree.
func written(c *store.Cache, behind *store.Tree, keys ...string) {
	for _, k := range keys {
		c.Set(store.Write{Key: []byte(k), Local: []byte("v" + k)}, nil)
	}
	for _, d := range c.Leaving() {
		c.Leave(d, func() { behind.Set(d.Key, d.Local) })
	}
}

func readable(t *testing.T, c *store.Cache, behind store.Reader) []string {
	t.Helper()
	var out []string
	var at []byte
	for past := false; ; past = true {
		k, _, ok, err := c.Shared(behind).Seek(at, false, past)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out, at = append(out, string(k)), k
	}
}

func TestWrittenRowsStayReadableInAWindowsCache(t *testing.T) {
	t.Parallel()
	for _, stay := range []bool{false, true} {
		c, behind := store.NewCache(&store.Budget{Max: 1 << 20}, stay), store.NewTree()
		written(c, behind, "a", "b", "c")
		behind.RemoveBefore([]byte("c")) // expired
		want := []string{"c"}
		if stay {
			want = []string{"a", "b", "c"}
		}
		if got := readable(t, c, behind); !slices.Equal(got, want) {
			t.Errorf("stay %v: got %q, want %q", stay, got, want)
		}
		if got := c.Leaving(); len(got) != 0 {
			t.Errorf("stay %v: %d written rows leave again", stay, len(got))
		}
	}
}

func TestARowWrittenAgainOrDeletedIsWhatReadersSee(t *testing.T) {
	t.Parallel()
	c, behind := store.NewCache(&store.Budget{Max: 1 << 20}, true), store.NewTree()
	written(c, behind, "a", "b")
	c.Set(store.Write{Key: []byte("a"), Local: []byte("new")}, nil)
	c.Set(store.Write{Key: []byte("b")}, nil)
	if d, ok := c.Get([]byte("a")); !ok || string(d.Local) != "new" {
		t.Errorf("a is %v %v", d, ok)
	}
	written(c, behind)
	if got := readable(t, c, behind); !slices.Equal(got, []string{"a"}) {
		t.Errorf("got %q", got)
	}
}

func TestWrittenRowsTakeAPartOfTheBudgetAndGiveWay(t *testing.T) {
	t.Parallel()
	b := &store.Budget{Max: 4000}
	c, behind := store.NewCache(b, true), store.NewTree()
	for i := range 100 {
		written(c, behind, fmt.Sprintf("%03d", i))
		if b.Used > b.Max/4 {
			t.Fatalf("after %d rows the written ones take %d of %d bytes", i, b.Used, b.Max)
		}
	}
	if _, ok := c.Get([]byte("099")); !ok || b.Used == 0 {
		t.Error("the newest row has gone")
	}
	c.Set(store.Write{Key: []byte("x"), Local: make([]byte, 3500)}, nil)
	if c.Over() || b.Used > b.Max {
		t.Errorf("written rows did not give way: %d of %d bytes", b.Used, b.Max)
	}
	written(c, behind)
	b.Max = 0
	if c.Over() || b.Used != 0 {
		t.Errorf("%d bytes are left of nothing", b.Used)
	}
}
