// Package wall makes the moments that a program sees whose machine's clock is set: for tests.
package wall

import (
	"time"
	"unsafe"
)

// Set is a moment that time.Now has told, as it would tell it had the clock been set forward just before, or back where by is
// negative: another time of day, and the same time passed. By counts in whole seconds.
func Set(at time.Time, by time.Duration) time.Time {
	words := (*[2]uint64)(unsafe.Pointer(&at)) // the first: a flag that the second is the time passed, seconds, nanoseconds
	words[0] += uint64(by/time.Second) << 30
	return at
}
