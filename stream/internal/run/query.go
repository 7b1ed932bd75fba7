package run

import (
	"errors"
	"maps"
	"slices"

	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// ErrMoved is what a query reads after the stores it was opened on have moved.
var ErrMoved = errors.New("stream: store is restoring or has moved")

// Query is this instance's part of a store, for any goroutine. It is good until a store opens or closes here.
func (e *Engine) Query(name string) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	held := e.stores[name]
	if e.state != Running || len(held) == 0 {
		return nil, ErrMoved
	}
	epoch := e.epoch.Load()
	u := &store.Union{Check: func() error {
		if e.epoch.Load() != epoch {
			return ErrMoved
		}
		return nil
	}}
	for _, id := range slices.SortedFunc(maps.Keys(held), func(a, b task.ID) int { return int(a.Partition - b.Partition) }) {
		u.Parts = append(u.Parts, held[id].Shared())
	}
	return e.o.Program.Stores[name].Opener.Read(u), nil
}
