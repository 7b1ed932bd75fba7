package store

import (
	"bytes"
	"container/list"
	"slices"
	"sync"
)

// Budget is how many bytes the caches of one thread may hold together. It belongs to the thread.
type Budget struct {
	Max  int64
	Used int64
}

// Over says whether the caches hold more than they may.
func (b *Budget) Over() bool { return b.Used > b.Max }

// Dirty is a change that a cache still holds: the last one of its key. Its bytes are never changed.
type Dirty struct {
	Write
	Context any // the record that made it
	place   *list.Element
	clean   bool // it is written, and stays for readers
}

// dirtyOverhead is what an entry costs beside its bytes, roughly.
const dirtyOverhead = 96

func (d *Dirty) size() int64 { return int64(len(d.Key)+len(d.Local)) + dirtyOverhead }

// Cache holds the changes of a store that were not yet written to it: the last of each key, in the order of their last
// writes. It is Kafka Streams' record cache without the entries that were only read. Changes that are on their way to the
// store stay visible until they are there, so that no reader ever sees an older row after a newer one.
//
// The cache of a windowed store goes on showing rows that were written, the newest ones, up to a share of the budget: in
// Kafka Streams a row past its retention can be read, and found by a late record, while it is in the cache.
//
// It is written, and read by its own methods, by the task's goroutine; Shared is for all others.
type Cache struct {
	budget *Budget
	order  *list.List // of *Dirty, the oldest write first, without those on their way
	clean  *list.List // of *Dirty that are written, the oldest first; nil if they do not stay
	kept   int64      // bytes of the clean ones

	mu   sync.RWMutex      // held by the task's goroutine to write, by others to read
	held map[string]*Dirty // every change, those on their way among them
	keys *Tree             // their keys, in order, for ranges
}

// cleanShare is which part of the budget the rows may take that were written.
const cleanShare = 4

// NewCache returns an empty cache that counts on budget. With stay, it goes on showing what was written.
func NewCache(budget *Budget, stay bool) *Cache {
	c := &Cache{budget: budget, keys: NewTree(), held: map[string]*Dirty{}, order: list.New()}
	if stay {
		c.clean = list.New()
	}
	return c
}

// Over says whether the thread's caches are full: then this one has to be flushed.
func (c *Cache) Over() bool {
	if c.budget.Over() {
		c.mu.Lock()
		c.trim(0)
		c.mu.Unlock()
	}
	return c.budget.Over()
}

// trim lets the oldest clean rows go until those left have no more bytes than that.
func (c *Cache) trim(most int64) {
	for c.kept > most {
		c.drop(c.clean.Front().Value.(*Dirty))
	}
}

// drop forgets a row.
func (c *Cache) drop(d *Dirty) {
	delete(c.held, string(d.Key))
	c.keys.Set(d.Key, nil)
	c.unlist(d)
}

// unlist takes a row out of its list and the count.
func (c *Cache) unlist(d *Dirty) {
	c.budget.Used -= d.size()
	switch {
	case d.clean:
		c.clean.Remove(d.place)
		c.kept -= d.size()
	case d.place != nil:
		c.order.Remove(d.place)
	}
}

// Get finds a change that was not written yet; its Local is nil for a deletion.
func (c *Cache) Get(key []byte) (*Dirty, bool) {
	d, ok := c.held[string(key)]
	return d, ok
}

// Set replaces what is known of the key and moves it behind all other changes.
func (c *Cache) Set(w Write, context any) {
	d := &Dirty{Write: w.clone(), Context: context}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.held[string(w.Key)]; ok {
		c.unlist(old)
	}
	c.budget.Used += d.size()
	d.place = c.order.PushBack(d)
	c.held[string(d.Key)] = d
	c.keys.Set(d.Key, []byte{})
}

// Leaving is the changes in the order of their last writes. They are on their way now: each has to Leave.
func (c *Cache) Leaving() []*Dirty {
	out := make([]*Dirty, 0, c.order.Len())
	for e := c.order.Front(); e != nil; e = e.Next() {
		d := e.Value.(*Dirty)
		d.place = nil
		out = append(out, d)
	}
	c.order.Init()
	return out
}

// Leave takes a change out of the cache and writes it to the store, as one step to all readers. Where rows stay, it is clean
// from now on.
func (c *Cache) Leave(d *Dirty, write func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	write()
	switch {
	case c.held[string(d.Key)] != d: // it was written again since
	case c.clean == nil || d.Local == nil:
		c.drop(d)
	default:
		d.clean, d.place, d.Context = true, c.clean.PushBack(d), nil
		c.kept += d.size()
		c.trim(c.budget.Max / cleanShare)
	}
}

// Seek is Reader.Seek over the cache and what lies behind it.
func (c *Cache) Seek(behind Reader, key []byte, reverse, past bool) (k, v []byte, ok bool, err error) {
	at, beyond := key, past
	for {
		bk, bv, found, err := behind.Seek(at, reverse, beyond)
		if err != nil {
			return nil, nil, false, err
		}
		ck, _, cached, err := c.keys.Seek(at, reverse, beyond)
		if err != nil {
			return nil, nil, false, err
		}
		if !cached || found && before(bk, ck, reverse) {
			return bk, bv, found, nil
		}
		d := c.held[string(ck)]
		if d.Local != nil {
			return d.Key, d.Local, true, nil
		}
		at, beyond = d.Key, true // deleted: look behind it
	}
}

// before says whether a comes strictly before b in the direction of a walk.
func before(a, b []byte, reverse bool) bool {
	n := bytes.Compare(a, b)
	if reverse {
		return n > 0
	}
	return n < 0
}

// Shared is the cache and what lies behind it for other goroutines than the task's. Bytes of changes are handed out as they
// are, since nobody changes them; behind must hand out copies.
func (c *Cache) Shared(behind Reader) Reader { return sharedCache{c, behind} }

type sharedCache struct {
	c      *Cache
	behind Reader
}

// Get finds a value.
func (s sharedCache) Get(key []byte) ([]byte, bool, error) {
	s.c.mu.RLock()
	defer s.c.mu.RUnlock()
	if d, ok := s.c.held[string(key)]; ok {
		return d.Local, d.Local != nil, nil
	}
	return s.behind.Get(key)
}

// Seek finds a neighbour.
func (s sharedCache) Seek(key []byte, reverse, past bool) ([]byte, []byte, bool, error) {
	s.c.mu.RLock()
	defer s.c.mu.RUnlock()
	return s.c.Seek(s.behind, key, reverse, past)
}

// Len is the number of entries, those of the cache left out.
func (s sharedCache) Len() (int64, error) { return s.behind.Len() }

// clone copies a change, plain bytes being the end of the local ones where they are.
func (w Write) clone() Write {
	out := w
	out.Key = slices.Clone(w.Key)
	out.Local = bytes.Clone(w.Local)
	if n := len(w.Local) - len(w.Plain); w.Plain != nil && n >= 0 && bytes.Equal(w.Local[n:], w.Plain) {
		out.Plain = out.Local[n:]
	} else {
		out.Plain = bytes.Clone(w.Plain)
	}
	return out
}
