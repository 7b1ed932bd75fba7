package store_test

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream/internal/store"
)

// TestTreeIsASortedMap compares the tree with a map and a sort after every step.
func TestTreeIsASortedMap(t *testing.T) {
	t.Parallel()
	key := rapid.Custom(func(t *rapid.T) []byte { return rapid.SliceOfN(rapid.ByteRange(0, 5), 0, 4).Draw(t, "key") })
	rapid.Check(t, func(t *rapid.T) {
		tree, want := store.NewTree(), map[string]string{}
		for range rapid.IntRange(0, 3).Draw(t, "fill") { // so that leaves split
			for i := range 100 {
				k := []byte{byte(i % 6), byte(i / 6), 1}
				tree.Set(k, k)
				want[string(k)] = string(k)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value")
				if v == nil {
					v = []byte{}
				}
				tree.Set(k, v)
				want[string(k)] = string(v)
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				tree.Set(k, nil)
				delete(want, string(k))
			},
			"": func(t *rapid.T) { same(t, tree, want, key.Draw(t, "probe")) },
		})
	})
}

func same(t *rapid.T, tree *store.Tree, want map[string]string, probe []byte) {
	keys := []string{}
	for k := range want {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if n, _ := tree.Len(); n != int64(len(keys)) {
		t.Fatalf("%d entries, want %d", n, len(keys))
	}
	for _, reverse := range []bool{false, true} {
		var got []string
		var at []byte
		for past := false; ; past = true {
			k, v, ok, err := tree.Shared().Seek(at, reverse, past)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if string(v) != want[string(k)] {
				t.Fatalf("%q is %q, want %q", k, v, want[string(k)])
			}
			got, at = append(got, string(k)), k
		}
		if reverse {
			slices.Reverse(got)
		}
		if !slices.Equal(got, keys) {
			t.Fatalf("reverse %v: got %q, want %q", reverse, got, keys)
		}
	}
	i, exact := slices.BinarySearch(keys, string(probe))
	v, ok, _ := tree.Shared().Get(probe)
	if ok != exact || exact && string(v) != want[string(probe)] {
		t.Fatalf("get %q: %q %v", probe, v, ok)
	}
	k, _, ok, _ := tree.Seek(probe, false, false)
	if len(probe) > 0 && (ok != (i < len(keys)) || ok && string(k) != keys[i]) {
		t.Fatalf("seek %q: %q %v", probe, k, ok)
	}
}

func TestReadersBesideTheWriterSeeWholeValues(t *testing.T) {
	t.Parallel()
	tree := store.NewTree()
	tree.Set([]byte("k"), []byte("aaaa"))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v, _, _ := tree.Shared().Get([]byte("k"))
				if !bytes.Equal(v, []byte("aaaa")) && !bytes.Equal(v, []byte("bbbb")) {
					t.Errorf("torn: %q", v)
					return
				}
				_, _, _, _ = tree.Shared().Seek(nil, false, false)
			}
		})
	}
	for i := range 10_000 {
		tree.Set([]byte("k"), [][]byte{[]byte("aaaa"), []byte("bbbb")}[i%2])
		tree.Set([]byte{byte(i), byte(i >> 8)}, []byte("x"))
	}
	close(stop)
	wg.Wait()
}

func TestUnionReadsPartsInTheOrderOfKeys(t *testing.T) {
	t.Parallel()
	a, b := store.NewTree(), store.NewTree()
	a.Set([]byte("1"), []byte("a"))
	b.Set([]byte("2"), []byte("b"))
	a.Set([]byte("3"), []byte("c"))
	u := &store.Union{Parts: []store.Reader{a.Shared(), b.Shared()}, Check: func() error { return nil }}
	var got []string
	var at []byte
	for past := false; ; past = true {
		k, v, ok, err := u.Seek(at, true, past)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		got, at = append(got, string(k)+string(v)), k
	}
	if n, _ := u.Len(); n != 3 || !slices.Equal(got, []string{"3c", "2b", "1a"}) {
		t.Errorf("got %v, %d", got, n)
	}
	if v, ok, _ := u.Get([]byte("2")); !ok || string(v) != "b" {
		t.Errorf("got %q", v)
	}
	if _, ok, _ := u.Get([]byte("9")); ok {
		t.Error("there is no 9")
	}
}
