package store

import "container/list"

// Recency remembers in which order keys were last used, of a store that holds only so many. Owned by the task's goroutine.
type Recency struct {
	max   int
	order *list.List // of string, the one used longest ago first
	at    map[string]*list.Element
}

// NewRecency returns a Recency without keys, for a store of at most n.
func NewRecency(n int) *Recency {
	return &Recency{max: n, order: list.New(), at: map[string]*list.Element{}}
}

// Use notes that a key which is there was read.
func (r *Recency) Use(key []byte) {
	if e, ok := r.at[string(key)]; ok {
		r.order.MoveToBack(e)
	}
}

// Put notes that a key was written. It returns the key that has to go for it, if one has to.
func (r *Recency) Put(key []byte) (eldest []byte, ok bool) {
	if e, ok := r.at[string(key)]; ok {
		r.order.MoveToBack(e)
		return nil, false
	}
	k := string(key)
	r.at[k] = r.order.PushBack(k)
	if r.order.Len() <= r.max {
		return nil, false
	}
	first := r.order.Front()
	r.order.Remove(first)
	gone := first.Value.(string)
	delete(r.at, gone)
	return []byte(gone), true
}

// Forget notes that a key was removed.
func (r *Recency) Forget(key []byte) {
	if e, ok := r.at[string(key)]; ok {
		r.order.Remove(e)
		delete(r.at, string(key))
	}
}
