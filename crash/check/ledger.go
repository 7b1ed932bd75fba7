package main

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The guarantees, by their names on the command line.
const (
	atLeastOnce = "at_least_once" // each count ends at what was expected or higher
	exactlyOnce = "exactly_once"  // every effect exactly once, in order
	exactState  = "exact_state"   // results may repeat, but no count is ever too high, and each ends at what was expected
)

// ledger compares an output topic with what is expected of it.
type ledger struct {
	tally

	topic      string
	guarantee  string
	want, seen map[string]int64
	highest    map[string]int64 // not exactly-once: of a key's counts
	home       map[string]int32 // the partition of each key
	strange    int64
	complaints []string
}

func newLedger(topic string, want map[string]int64, guarantee string) *ledger {
	l := &ledger{topic: topic, guarantee: guarantee, want: want, seen: map[string]int64{}, highest: map[string]int64{}, home: map[string]int32{}}
	l.Keys = len(want)
	for _, n := range want {
		l.Expected += n
	}
	return l
}

// complainf keeps the first few complaints of a topic.
func (l *ledger) complainf(format string, args ...any) {
	const most = 10
	if len(l.complaints) < most {
		l.complaints = append(l.complaints, l.topic+": "+fmt.Sprintf(format, args...))
	}
}

// known says whether anything was expected of a key, and that it keeps to one partition.
func (l *ledger) known(rec *kgo.Record, key string) bool {
	l.Records++
	if _, ok := l.want[key]; !ok {
		l.strange++
		l.complainf("%q at %d@%d has no cause", key, rec.Partition, rec.Offset)
		return false
	}
	if home, ok := l.home[key]; ok && home != rec.Partition {
		l.strange++
		l.complainf("%q is in the partitions %d and %d", key, home, rec.Partition)
	}
	l.home[key] = rec.Partition
	return true
}

// count takes a record whose value is a count: exactly-once they are 1, 2, 3 ... in order; otherwise the last one
// tells, and with exact state the highest as well: a right one does not undo a wrong one.
func (l *ledger) count(rec *kgo.Record) {
	key := string(rec.Key)
	if !l.known(rec, key) {
		return
	}
	if len(rec.Value) != 8 {
		l.strange++
		l.complainf("%q at %d@%d is no number: %x", key, rec.Partition, rec.Offset, rec.Value)
		return
	}
	n, before := int64(binary.BigEndian.Uint64(rec.Value)), l.seen[key]
	switch {
	case l.guarantee != exactlyOnce:
		if n < before {
			l.Fell++
		}
		l.highest[key] = max(l.highest[key], n)
		l.seen[key] = n
	case n == before+1:
		l.seen[key] = n
	case n <= before:
		l.Doubled++
		l.complainf("%q is %d again after %d, at %d@%d", key, n, before, rec.Partition, rec.Offset)
	default:
		l.Lost += n - before - 1
		l.complainf("%q goes from %d to %d, at %d@%d", key, before, n, rec.Partition, rec.Offset)
		l.seen[key] = n
	}
}

// pair takes a record whose value is its identity. That it comes again says nothing about state: only exactly-once forbids it.
func (l *ledger) pair(rec *kgo.Record) {
	key := string(rec.Value)
	if l.known(rec, key) {
		l.seen[key]++
	}
}

// close compares the ends.
func (l *ledger) close() {
	var over int64
	for key, want := range l.want {
		got, top := l.seen[key], l.highest[key]
		if got < want {
			l.Lost += want - got
			after := ""
			if top > got {
				after = fmt.Sprintf(", after it had been %d: an older count was written over it", top)
			}
			l.complainf("%q ends at %d of %d%s", key, got, want, after)
		}
		over += max(0, got-want)
		if l.guarantee == exactState && top > want {
			l.Doubled += top - want
			l.complainf("%q has been %d of %d, and ends at %d", key, top, want, got)
		}
		if l.guarantee == exactlyOnce && got > want {
			l.Doubled += got - want
			l.complainf("%q ends at %d of %d", key, got, want)
		}
	}
	if l.Expected > 0 {
		l.Excess = 100 * float64(over) / float64(l.Expected)
	}
}
