package crash

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// dice are random numbers that a seed decides. Each use has dice of its own, so that more records do not mean other faults.
type dice struct{ source *rand.ChaCha8 }

func newDice(seed uint64, use string) *dice {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	copy(key[8:], use)
	return &dice{rand.NewChaCha8(key)}
}

// number is one of 0 to n-1. That it is a little uneven decides nothing here.
func (d *dice) number(n int) int { return int(d.source.Uint64() % uint64(n)) }

// between is a duration from least on, and shorter than most.
func (d *dice) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.number(int(max(most-least, 1))))
}

// perm is 0 to n-1 in any order.
func (d *dice) perm(n int) []int {
	out := make([]int, n)
	for i := range out {
		j := d.number(i + 1)
		out[i], out[j] = out[j], i
	}
	return out
}
