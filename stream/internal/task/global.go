package task

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
)

// Global keeps the global stores of an instance up to date: one writer, whom everybody else may read beside. It belongs to
// one goroutine; what Globals hands out may be used by any.
type Global struct {
	t      *Task
	topics map[string]bool
}

// NewGlobal makes the global stores of a program, empty, or nil if it has none.
func NewGlobal(p *Program, now time.Time, env Env) (*Global, error) {
	var subs []*plan.Sub
	for _, sub := range p.Plan.Subs {
		if sub.Global {
			subs = append(subs, sub)
		}
	}
	if len(subs) == 0 {
		return nil, nil
	}
	t, err := assembled(p, ID{Sub: GlobalSub}, subs, env, nil)
	if err != nil {
		return nil, err
	}
	g := &Global{t: t, topics: map[string]bool{}}
	for _, q := range t.queues {
		g.topics[q.topic] = true
	}
	t.eager = true
	if err := t.Init(now, nil); err != nil {
		return nil, err
	}
	return g, nil
}

// GlobalSub stands for the sub-topology in the ID of what runs the global stores: it is none of those that have tasks.
const GlobalSub = -1

// Reads says whether a topic is that of a global store.
func (g *Global) Reads(topic string) bool { return g != nil && g.topics[topic] }

// Apply puts records of one topic into its store, in their order.
func (g *Global) Apply(now time.Time, topic string, in []Input) error {
	g.t.Add(topic, in)
	for {
		did, err := g.t.Process(now)
		if err != nil || !did {
			return err
		}
		g.t.Take()
	}
}

// Counts is what was done since the last call.
func (g *Global) Counts() Counts { return g.t.Counts() }

// Stores are the names of the global stores.
func (g *Global) Stores() (names []string) {
	for _, s := range g.t.ordered {
		names = append(names, s.spec.Name)
	}
	return names
}

// Store finds a global store.
func (g *Global) Store(name string) (*Store, bool) {
	if g == nil {
		return nil, false
	}
	return g.t.Store(name)
}

// Close ends the processors.
func (g *Global) Close() error { return g.t.Close() }

// Globals is where the functions of a topology find its global stores once they are whole. Safe for concurrent use.
type Globals struct{ now atomic.Pointer[served] }

// served are the stores in use and how a query reads them.
type served struct {
	stores map[string]*Store
	faces  map[string]any
}

// Serve makes the stores readable in place of those before.
func (g *Globals) Serve(from *Global) {
	s := &served{map[string]*Store{}, map[string]any{}}
	for _, one := range from.t.ordered {
		s.stores[one.spec.Name] = one
		s.faces[one.spec.Name] = one.spec.Opener.Read(one.Shared())
	}
	g.now.Store(s)
}

// Read is a store as a query reads it, from any goroutine.
func (g *Globals) Read(name string) (any, error) {
	s := g.now.Load()
	if s == nil || s.faces[name] == nil {
		return nil, fmt.Errorf("the global store %q is not there yet: it is read from within a running topology", name)
	}
	return s.faces[name], nil
}

// Open is a store as a processor opens it, for that processor alone. It cannot be written.
func (g *Globals) Open(name string) (any, bool) {
	s := g.now.Load()
	if s == nil || s.stores[name] == nil {
		return nil, false
	}
	one := s.stores[name]
	return one.spec.Opener.Open(readOnly{one.Shared()}), true
}

// readOnly refuses changes: a global store has one writer.
type readOnly struct{ store.Reader }

var errGlobal = errors.New("a global store is written by its own processor alone")

// Set refuses.
func (readOnly) Set(store.Write) error { return errGlobal }

// Now is asked by writers only.
func (readOnly) Now() int64 { return unknown }
