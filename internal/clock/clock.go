// Package clock is the time that Millrun's parts ask for: the machine's, or one that tests and the demo move forward.
//
// Nothing in this package sleeps. Who waits for a moment polls its Clock by real time, so a moved clock is seen
// within one poll.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time. Safe for concurrent use; never goes back while the process lives, the machine's own
// adjustments apart.
type Clock interface {
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now is time.Now.
func (System) Now() time.Time { return time.Now() }

// Manual stands still until it is moved. Safe for concurrent use.
type Manual struct {
	mu  sync.Mutex
	now time.Time
}

// NewManual returns a clock that stands at t.
func NewManual(t time.Time) *Manual { return &Manual{now: t} }

// Now is where the clock stands.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Advance moves the clock forward; a negative d is ignored, since nothing here may go back.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d > 0 {
		m.now = m.now.Add(d)
	}
}
