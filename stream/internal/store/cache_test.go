package store_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream/internal/store"
)

// leave writes what the cache holds into the tree, and returns the keys in their order.
func leave(c *store.Cache, tree *store.Tree) (keys []string) {
	for _, d := range c.Leaving() {
		c.Leave(d, func() { tree.Set(d.Key, d.Local) })
		keys = append(keys, string(d.Key))
	}
	return keys
}

// walk reads a store from one end to the other, and checks that single reads say the same.
func walk(t *rapid.T, r store.Reader, reverse bool) string {
	var out []string
	var at []byte
	for past := false; ; past = true {
		k, v, ok, err := r.Seek(at, reverse, past)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if one, found, err := r.Get(k); err != nil || !found || string(one) != string(v) {
			t.Fatalf("%q is %q in order and %q %v %v alone", k, v, one, found, err)
		}
		out, at = append(out, fmt.Sprintf("%s=%s", k, v)), slices.Clone(k)
	}
	if reverse {
		slices.Reverse(out)
	}
	return fmt.Sprint(out)
}

// TestACacheAndItsStoreAreOneStore compares a cache in front of a tree with a map, read as the task does and as others do.
// Changes leave in the order of their last writes.
func TestACacheAndItsStoreAreOneStore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		budget := &store.Budget{Max: 1 << 20}
		stay := rapid.Bool().Draw(t, "stay")
		c, tree, want := store.NewCache(budget, stay), store.NewTree(), map[string]string{}
		var order []string
		key := rapid.SampledFrom([]string{"", "a", "ab", "b", "c"})
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.SampledFrom([]string{"", "x", "yy"}).Draw(t, "value")
				b := []byte(v)
				c.Set(store.Write{Key: []byte(k), Local: b, Plain: b}, nil)
				copy(b, "!!") // the caller's bytes are its own again
				want[k] = v
				order = append(slices.DeleteFunc(order, func(o string) bool { return o == k }), k)
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				c.Set(store.Write{Key: []byte(k)}, nil)
				delete(want, k)
				order = append(slices.DeleteFunc(order, func(o string) bool { return o == k }), k)
			},
			"flush": func(t *rapid.T) {
				if got := leave(c, tree); !slices.Equal(got, order) {
					t.Fatalf("left in the order %q, want %q", got, order)
				}
				if order = nil; budget.Used != 0 && !stay {
					t.Fatalf("an empty cache holds %d bytes", budget.Used)
				}
			},
			"": func(t *rapid.T) {
				var rows []string
				for _, k := range slices.Sorted(maps.Keys(want)) {
					rows = append(rows, k+"="+want[k])
				}
				for name, r := range map[string]store.Reader{"task": both{c, tree}, "others": c.Shared(tree.Shared())} {
					for _, reverse := range []bool{false, true} {
						if got := walk(t, r, reverse); got != fmt.Sprint(rows) {
							t.Fatalf("%s, reverse %v: %s, want %s", name, reverse, got, rows)
						}
					}
				}
			},
		})
	})
}

// both is a cache and a tree as the task reads them.
type both struct {
	c    *store.Cache
	tree *store.Tree
}

func (b both) Get(key []byte) ([]byte, bool, error) {
	if d, ok := b.c.Get(key); ok {
		return d.Local, d.Local != nil, nil
	}
	return b.tree.Get(key)
}

func (b both) Seek(key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	return b.c.Seek(b.tree, key, reverse, past)
}

func (b both) Len() (int64, error) { return b.tree.Len() }

// TestAChangeOnItsWayIsSeenByWhoeverIsToldOfTheOthers flushes two changes: while the first is told of, the second is read as
// it is now, and one that is made meanwhile waits for the next flush.
func TestAChangeOnItsWayIsSeenByWhoeverIsToldOfTheOthers(t *testing.T) {
	t.Parallel()
	c, tree := store.NewCache(&store.Budget{}, false), store.NewTree()
	set := func(k, v string) { c.Set(store.Write{Key: []byte(k), Local: []byte(v), Plain: []byte(v)}, nil) }
	set("a", "1")
	set("b", "1")
	for i, d := range c.Leaving() {
		c.Leave(d, func() { tree.Set(d.Key, d.Local) })
		if v, ok, _ := (both{c, tree}).Get([]byte("b")); !ok || string(v) != "1" {
			t.Errorf("after %d of 2 the other one is %q %v", i+1, v, ok)
		}
		if i == 0 {
			set("a", "2")
		}
	}
	if v, _, _ := tree.Get([]byte("a")); string(v) != "1" {
		t.Errorf("the store has %q", v)
	}
	if v, _, _ := (both{c, tree}).Get([]byte("a")); string(v) != "2" {
		t.Errorf("the newest is %q", v)
	}
	if got := leave(c, tree); !slices.Equal(got, []string{"a"}) {
		t.Errorf("the next flush has %q", got)
	}
}

// TestReadersBesideTheTaskNeverGoBack writes growing numbers through a cache, flushing now and then, while others read: no
// reader may see a smaller number after a greater one, or miss a key.
func TestReadersBesideTheTaskNeverGoBack(t *testing.T) {
	t.Parallel()
	c, tree := store.NewCache(&store.Budget{Max: 1 << 20}, false), store.NewTree()
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	set := func(k string, n uint64) {
		c.Set(store.Write{Key: []byte(k), Local: number(n), Plain: number(n)}, nil)
	}
	keys := []string{"a", "b", "c"}
	for _, k := range keys {
		set(k, 0)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			r, last := c.Shared(tree.Shared()), map[string]uint64{}
			for {
				select {
				case <-stop:
					return
				default:
				}
				var at []byte
				seen := 0
				for past := false; ; past = true {
					k, v, ok, err := r.Seek(at, false, past)
					if err != nil || !ok {
						break
					}
					if n := binary.BigEndian.Uint64(v); n < last[string(k)] {
						t.Errorf("%s went back from %d to %d", k, last[string(k)], n)
						return
					} else {
						last[string(k)] = n
					}
					at, seen = k, seen+1
				}
				if v, ok, _ := r.Get([]byte("b")); !ok || binary.BigEndian.Uint64(v) < last["b"] || seen != len(keys) {
					t.Errorf("b is %x after %d; %d keys were seen", v, last["b"], seen)
					return
				}
			}
		})
	}
	for n := range uint64(20_000) {
		set(keys[n%3], n)
		if n%7 == 0 {
			leave(c, tree)
		}
	}
	close(stop)
	wg.Wait()
}

// TestRecencyIsAListOfUses compares with a slice.
func TestRecencyIsAListOfUses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 3).Draw(t, "max")
		r := store.NewRecency(most)
		var want []string
		drop := func(k string) { want = slices.DeleteFunc(want, func(o string) bool { return o == k }) }
		key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k := key.Draw(t, "key")
				drop(k)
				want = append(want, k)
				eldest, ok := r.Put([]byte(k))
				if ok != (len(want) > most) || ok && string(eldest) != want[0] {
					t.Fatalf("put %s: %q %v has to go, of %q", k, eldest, ok, want)
				}
				if ok {
					want = want[1:]
				}
			},
			"use": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if r.Use([]byte(k)); slices.Contains(want, k) {
					drop(k)
					want = append(want, k)
				}
			},
			"forget": func(t *rapid.T) {
				k := key.Draw(t, "key")
				r.Forget([]byte(k))
				drop(k)
			},
		})
	})
}
