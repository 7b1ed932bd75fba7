package run

// gate lets one goroutine in at a time, as a mutex does. Whoever must wait does so at a channel: under the virtual time of
// simulations that counts as being idle, and waiting for a mutex does not.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

// Lock enters.
func (g gate) Lock() { g <- struct{}{} }

// Unlock leaves.
func (g gate) Unlock() { <-g }
