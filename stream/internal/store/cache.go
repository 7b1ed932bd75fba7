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

// Dirty is a change that a cache still holds: the last one of its key. It is never changed.
type Dirty struct {
	Write
	Context any // the record that made it
	place   *list.Element
}

// dirtyOverhead is what an entry costs beside its bytes, roughly.
const dirtyOverhead = 96

func (d *Dirty) size() int64 { return int64(len(d.Key)+len(d.Local)) + dirtyOverhead }

// Cache holds the changes of a store that were not yet written to it: the last of each key, in the order of their last
// writes. It is Kafka Streams' record cache without the entries that were only read. Changes that are on their way to the
// store stay visible until they are there, so that no reader ever sees an older row after a newer one.
//
// It is written, and read by its own methods, by the task's goroutine; Shared is for all others.
type Cache struct {
	budget *Budget
	order  *list.List // of *Dirty, the oldest write first, without those on their way

	mu   sync.RWMutex      // held by the task's goroutine to write, by others to read
	held map[string]*Dirty // every change, those on their way among them
	keys *Tree             // their keys, in order, for ranges
}

// NewCache returns an empty cache that counts on budget.
func NewCache(budget *Budget) *Cache {
	return &Cache{budget: budget, keys: NewTree(), held: map[string]*Dirty{}, order: list.New()}
}

// Over says whether the thread's caches are full: then this one has to be flushed.
func (c *Cache) Over() bool { return c.budget.Over() }

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
		c.budget.Used -= old.size()
		if old.place != nil {
			c.order.Remove(old.place)
		}
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

// Leave takes a change out of the cache and writes it to the store, as one step to all readers.
func (c *Cache) Leave(d *Dirty, write func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	write()
	if c.held[string(d.Key)] == d { // else it was written again since
		delete(c.held, string(d.Key))
		c.keys.Set(d.Key, nil)
		c.budget.Used -= d.size()
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
