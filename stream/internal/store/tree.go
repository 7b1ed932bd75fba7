package store

import (
	"bytes"
	"slices"
	"sort"
	"sync"
)

// leafMax is how many entries a leaf holds before it is split in two. Large enough that the upper level stays small (a
// million entries are 16 thousand leaves), small enough that an insert moves little memory.
const leafMax = 128

type entry struct{ key, value []byte }

type leaf struct{ entries []entry } // never empty, but for the only leaf of an empty tree

// Tree is an ordered map of bytes in memory: a list of sorted leaves. One goroutine writes; any number may read beside
// it, because every method locks. It copies what it is given.
type Tree struct {
	mu     sync.RWMutex
	leaves []*leaf
	n      int64
}

// NewTree returns an empty Tree.
func NewTree() *Tree { return &Tree{leaves: []*leaf{{}}} }

// find returns the leaf that holds key or would, and the place in it.
func (t *Tree) find(key []byte) (li, i int, ok bool) {
	li = max(0, sort.Search(len(t.leaves), func(i int) bool {
		e := t.leaves[i].entries
		return len(e) > 0 && bytes.Compare(e[0].key, key) > 0
	})-1)
	e := t.leaves[li].entries
	i = sort.Search(len(e), func(i int) bool { return bytes.Compare(e[i].key, key) >= 0 })
	return li, i, i < len(e) && bytes.Equal(e[i].key, key)
}

// Get finds a value. The slice is the tree's own: only the writing goroutine may use it, until its next write.
func (t *Tree) Get(key []byte) ([]byte, bool, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	li, i, ok := t.find(key)
	if !ok {
		return nil, false, nil
	}
	return t.leaves[li].entries[i].value, true, nil
}

// Len is the number of entries.
func (t *Tree) Len() (int64, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.n, nil
}

// Set puts a value, or removes the key where value is nil. It says by how many bytes of keys and values the tree has grown.
func (t *Tree) Set(key, value []byte) (grown int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	li, i, ok := t.find(key)
	l := t.leaves[li]
	if ok {
		grown = len(value) - len(l.entries[i].value)
	}
	switch {
	case value == nil && ok:
		grown -= len(key)
		t.remove(li, i)
	case value == nil:
	case ok && grown == 0:
		copy(l.entries[i].value, value)
	case ok:
		l.entries[i].value = append(make([]byte, 0, len(value)), value...)
	default:
		grown = len(key) + len(value)
		t.insert(li, i, key, value)
	}
	return grown
}

// Put is Set; a tree keeps everything.
func (t *Tree) Put(key, value []byte) bool {
	t.Set(key, value)
	return true
}

func (t *Tree) insert(li, i int, key, value []byte) {
	l := t.leaves[li]
	both := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	cut := len(key)
	l.entries = slices.Insert(l.entries, i, entry{both[:cut:cut], both[cut:]})
	t.n++
	if len(l.entries) <= leafMax {
		return
	}
	half := len(l.entries) / 2
	upper := &leaf{append(make([]entry, 0, leafMax+1), l.entries[half:]...)}
	clear(l.entries[half:])
	l.entries = l.entries[:half]
	t.leaves = slices.Insert(t.leaves, li+1, upper)
}

func (t *Tree) remove(li, i int) {
	l := t.leaves[li]
	l.entries = slices.Delete(l.entries, i, i+1)
	t.n--
	if len(l.entries) == 0 && len(t.leaves) > 1 {
		t.leaves = slices.Delete(t.leaves, li, li+1)
	}
}

// RemoveBefore removes every entry before key.
func (t *Tree) RemoveBefore(key []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	li, i, _ := t.find(key)
	for _, l := range t.leaves[:li] {
		t.n -= int64(len(l.entries))
	}
	t.leaves = slices.Delete(t.leaves, 0, li)
	l := t.leaves[0]
	t.n -= int64(i)
	l.entries = slices.Delete(l.entries, 0, i)
	if len(l.entries) == 0 && len(t.leaves) > 1 {
		t.leaves = slices.Delete(t.leaves, 0, 1)
	}
}

// Seek finds a neighbour; see Reader. The slices are the tree's own, as in Get.
func (t *Tree) Seek(key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	li, i := t.place(key, reverse, past)
	if li < 0 || i < 0 || i >= len(t.leaves[li].entries) {
		return nil, nil, false, nil
	}
	e := t.leaves[li].entries[i]
	return e.key, e.value, true, nil
}

// place is where the neighbour of key is; outside of the leaf when there is none.
func (t *Tree) place(key []byte, reverse, past bool) (li, i int) {
	last := len(t.leaves) - 1
	switch {
	case key == nil && reverse:
		return last, len(t.leaves[last].entries) - 1
	case key == nil:
		return 0, 0
	}
	li, i, ok := t.find(key)
	switch {
	case reverse && (!ok || past):
		i--
	case !reverse && ok && past:
		i++
	}
	if i < 0 && li > 0 {
		li--
		i = len(t.leaves[li].entries) - 1
	}
	if i >= len(t.leaves[li].entries) && li < last {
		li, i = li+1, 0
	}
	return li, i
}

// Shared is the tree for other goroutines than the writing one: it copies what it returns, since the writer overwrites
// values in place.
func (t *Tree) Shared() Reader { return shared{t} }

type shared struct{ t *Tree }

func (s shared) Len() (int64, error) { return s.t.Len() }

func (s shared) Get(key []byte) ([]byte, bool, error) {
	s.t.mu.RLock()
	defer s.t.mu.RUnlock()
	li, i, ok := s.t.find(key)
	if !ok {
		return nil, false, nil
	}
	return bytes.Clone(s.t.leaves[li].entries[i].value), true, nil
}

func (s shared) Seek(key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	s.t.mu.RLock()
	defer s.t.mu.RUnlock()
	li, i := s.t.place(key, reverse, past)
	if li < 0 || i < 0 || i >= len(s.t.leaves[li].entries) {
		return nil, nil, false, nil
	}
	e := s.t.leaves[li].entries[i]
	return bytes.Clone(e.key), bytes.Clone(e.value), true, nil
}
