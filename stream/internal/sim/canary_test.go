//go:build synctests

package sim

import (
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
)

var trials = flag.Int("trials", 1, "how often each bug is planted anew")

// bugs are planted in the library by these names, each a line where it would be easy to make: package run has them all. A
// simulation that does not catch them proves nothing about others.
var bugs = []string{
	"offsets-before-flush",  // offsets are committed while records are on their way
	"unchecked-promise",     // a record that was not acknowledged is not noticed
	"half-a-commit",         // a part of the offsets is left out
	"unfenced-commit",       // a commit does not say who commits
	"saved-before-commit",   // local state is lasting before the commit it belongs to
	"position-ahead",        // local state claims more of its changelog than it has
	"changelog-elsewhere",   // a changelog's records go to another partition
	"read-uncommitted",      // input of aborted transactions is read
	"restored-uncommitted",  // state of aborted transactions is restored
	"restored-short",        // the end of a changelog is left out
	"begun-before-restored", // a task works before its stores are whole
	"state-survives-abort",  // an aborted transaction leaves its state behind
	"input-not-read-again",  // an aborted transaction's input is passed over
	"purged-ahead",          // input that was not processed is deleted
	"copy-without-past",     // a copy begins where its changelog ends
	"stamps-ignored",        // what was written behind the last commit is restored, under exact state
	"suspended-for-ever",    // a task that comes back goes on with the state it had before it left
}

// patient is after how many seeds a bug counts as not caught.
const patient = 1000

// TestCanaries plants each bug and counts the seeds until one fails.
func TestCanaries(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var report []string
	t.Run("bugs", func(t *testing.T) {
		for _, bug := range bugs {
			t.Run(bug, func(t *testing.T) {
				t.Parallel()
				var took []int
				for trial := range *trials {
					took = append(took, caught(t, bug, uint64(trial)*1_000_000+1))
				}
				slices.Sort(took)
				mu.Lock()
				defer mu.Unlock()
				report = append(report, fmt.Sprintf("  %4d median, %4d at most: %s", took[len(took)/2], took[len(took)-1], bug))
			})
		}
	})
	slices.Sort(report)
	fmt.Printf("seeds until a planted bug is caught, %d trials each:\n", *trials)
	for _, line := range report {
		fmt.Println(line)
	}
}

// caught counts the seeds until a bug shows.
func caught(t *testing.T, bug string, first uint64) int {
	t.Helper()
	for n := range patient {
		if _, err := simulate(t, first+uint64(n), bug); err != nil {
			return n + 1
		}
	}
	t.Errorf("%s was not caught by the seeds %d..%d", bug, first, first+patient-1)
	return patient
}
