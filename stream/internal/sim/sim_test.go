//go:build synctests

package sim

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds = flag.String("seeds", "1..20", "the seeds to run, first..last")
	logs  = flag.Bool("logs", false, "show what the instances log")
)

// tally is what many simulations did together.
type tally struct {
	mu      sync.Mutex
	seen    map[string]int
	virtual time.Duration
	runs    int
}

func (c *tally) add(w *world) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs++
	c.virtual += w.virtual
	for k, n := range w.seen {
		c.seen[k] += n
	}
}

// String tells the kinds of faults, the most frequent last.
func (c *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d simulations, %s of virtual time, %d kinds of faults:", c.runs, c.virtual.Round(time.Second), len(c.seen))
	for _, k := range slices.Sorted(maps.Keys(c.seen)) {
		fmt.Fprintf(&b, "\n  %6d %s", c.seen[k], k)
	}
	return b.String()
}

// TestSimulation runs each of the seeds.
func TestSimulation(t *testing.T) {
	t.Parallel()
	var first, last uint64
	if _, err := fmt.Sscanf(*seeds, "%d..%d", &first, &last); err != nil {
		t.Fatalf("-seeds=%s: want first..last: %v", *seeds, err)
	}
	all := &tally{seen: map[string]int{}}
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed <= last; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				w, err := simulate(t, seed, "")
				all.add(w)
				if err != nil || t.Failed() {
					t.Error(w.story(err))
				}
			})
		}
	})
	fmt.Println(all)
}

// story is what is told of a simulation that failed.
func (w *world) story(err error) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%s\nseed %d (%s, on disk: %t): %v\nagain: make sim SEEDS=%d..%d",
		strings.Join(w.log, "\n"), w.seed, [...]string{"at least once", "exactly once", "exact state"}[w.config.Guarantee], w.disk, err, w.seed, w.seed)
}
