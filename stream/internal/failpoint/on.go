//go:build synctests

package failpoint

import (
	"context"
	"maps"
	"sync"
)

// Set is what is planned for one instance. It is safe for concurrent use.
type Set struct {
	mu   sync.Mutex
	at   func(name string)
	hits map[string]int
	bugs map[string]bool
}

// New returns a Set that calls at, which may be nil, whenever the instance passes a failpoint, on the goroutine that passes
// it. The bugs named are planted.
func New(at func(name string), bugs ...string) *Set {
	s := &Set{at: at, hits: map[string]int{}, bugs: map[string]bool{}}
	for _, b := range bugs {
		s.bugs[b] = true
	}
	return s
}

type key struct{}

// With gives the instance that runs under the context its Set.
func With(ctx context.Context, s *Set) context.Context { return context.WithValue(ctx, key{}, s) }

// From is the context's Set, or nil.
func From(ctx context.Context) *Set {
	s, _ := ctx.Value(key{}).(*Set)
	return s
}

// At passes the failpoint of this name.
func (s *Set) At(name string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.hits[name]++
	s.mu.Unlock()
	if s.at != nil {
		s.at(name)
	}
}

// Planted says whether the bug of this name is planted.
func (s *Set) Planted(name string) bool { return s != nil && s.bugs[name] }

// Hits is how often each failpoint was passed.
func (s *Set) Hits() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]int, len(s.hits))
	maps.Copy(out, s.hits)
	return out
}
