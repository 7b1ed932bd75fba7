package main

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ledger compares an output topic with what is expected of it.
type ledger struct {
	tally

	topic      string
	once       bool // every effect exactly once, in order
	want, seen map[string]int64
	highest    map[string]int64 // at-least-once: of a key's counts, where a smaller one followed
	home       map[string]int32 // the partition of each key
	strange    int64
	complaints []string
}

func newLedger(topic string, want map[string]int64, once bool) *ledger {
	l := &ledger{topic: topic, once: once, want: want, seen: map[string]int64{}, highest: map[string]int64{}, home: map[string]int32{}}
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

// count takes a record whose value is a count: exactly-once they are 1, 2, 3 ... in order; at-least-once the last one tells.
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
	case !l.once:
		if n < before {
			l.Fell++
			l.highest[key] = max(l.highest[key], before)
		}
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

// pair takes a record whose value is its identity.
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
		switch got := l.seen[key]; {
		case got < want:
			l.Lost += want - got
			if top := l.highest[key]; top > got {
				l.complainf("%q ends at %d of %d, after it had been %d: an older count was written over it", key, got, want, top)
				continue
			}
			l.complainf("%q ends at %d of %d", key, got, want)
		case got > want:
			over += got - want
			if l.once {
				l.Doubled += got - want
				l.complainf("%q ends at %d of %d", key, got, want)
			}
		}
	}
	if l.Expected > 0 {
		l.Excess = 100 * float64(over) / float64(l.Expected)
	}
}
