package store

import (
	"bytes"
	"container/list"
	"slices"
)

// Budget is how many bytes the caches of one thread may hold together. It belongs to the thread.
type Budget struct {
	Max  int64
	Used int64
}

// Over says whether the caches hold more than they may.
func (b *Budget) Over() bool { return b.Used > b.Max }

// Dirty is a change that a cache still holds: the last one of its key.
type Dirty struct {
	Write
	Context any // the record that made it
}

// dirtyOverhead is what an entry costs beside its bytes, roughly.
const dirtyOverhead = 96

func (d *Dirty) size() int64 { return int64(len(d.Key)+len(d.Local)) + dirtyOverhead }

// Cache holds the changes of a store that were not yet written to it: the last of each key, in the order of their last
// writes. It is Kafka Streams' record cache without the entries that were only read. Owned by the task's goroutine.
type Cache struct {
	budget *Budget
	keys   *Tree // every dirty key, in order, for ranges
	dirty  map[string]*list.Element
	order  *list.List // of *Dirty, the oldest write first
}

// NewCache returns an empty cache that counts on budget.
func NewCache(budget *Budget) *Cache {
	return &Cache{budget: budget, keys: NewTree(), dirty: map[string]*list.Element{}, order: list.New()}
}

// Over says whether the thread's caches are full: then this one has to be flushed.
func (c *Cache) Over() bool { return c.budget.Over() }

// Get finds a change that was not written yet; its Local is nil for a deletion.
func (c *Cache) Get(key []byte) (*Dirty, bool) {
	e, ok := c.dirty[string(key)]
	if !ok {
		return nil, false
	}
	return e.Value.(*Dirty), true
}

// Set replaces what is known of the key and moves it behind all other changes.
func (c *Cache) Set(w Write, context any) {
	if old, ok := c.dirty[string(w.Key)]; ok {
		c.budget.Used -= old.Value.(*Dirty).size()
		c.order.Remove(old)
	}
	d := &Dirty{Write: w.clone(), Context: context}
	c.budget.Used += d.size()
	c.dirty[string(w.Key)] = c.order.PushBack(d)
	c.keys.Set(w.Key, []byte{})
}

// Take empties the cache; it returns the changes in the order of their last writes.
func (c *Cache) Take() []*Dirty {
	out := make([]*Dirty, 0, c.order.Len())
	for e := c.order.Front(); e != nil; e = e.Next() {
		d := e.Value.(*Dirty)
		c.budget.Used -= d.size()
		out = append(out, d)
	}
	c.order.Init()
	clear(c.dirty)
	c.keys = NewTree()
	return out
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
		d, _ := c.Get(ck)
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
