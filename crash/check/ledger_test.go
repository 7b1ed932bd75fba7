package main

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestALedgerTellsLostFromDoubled gives each guarantee the counts of one word that was seen four times.
func TestALedgerTellsLostFromDoubled(t *testing.T) {
	t.Parallel()
	type faults struct{ lost, doubled int64 }
	for name, c := range map[string]struct {
		counts                     []int64
		atLeastOnce, once, exactly faults
	}{
		"each once":               {counts: []int64{1, 2, 3, 4}},
		"the last two again":      {counts: []int64{1, 2, 3, 4, 3, 4}, once: faults{0, 2}},
		"counted on, as at least": {counts: []int64{1, 2, 3, 4, 5, 6}, once: faults{0, 2}, exactly: faults{0, 2}},
		"too high for a while":    {counts: []int64{1, 2, 3, 5, 4}, once: faults{1, 2}, exactly: faults{0, 1}},
		"one never counted":       {counts: []int64{1, 2, 3}, atLeastOnce: faults{1, 0}, once: faults{1, 0}, exactly: faults{1, 0}},
		"an old one written over": {counts: []int64{1, 2, 3, 4, 3}, atLeastOnce: faults{1, 0}, once: faults{0, 1}, exactly: faults{1, 0}},
		"nothing":                 {atLeastOnce: faults{4, 0}, once: faults{4, 0}, exactly: faults{4, 0}},
	} {
		for _, g := range []struct {
			guarantee string
			want      faults
		}{{atLeastOnce, c.atLeastOnce}, {exactlyOnce, c.once}, {exactState, c.exactly}} {
			l := newLedger("counts", map[string]int64{"word": 4}, g.guarantee)
			for i, n := range c.counts {
				l.count(&kgo.Record{Key: []byte("word"), Value: binary.BigEndian.AppendUint64(nil, uint64(n)), Offset: int64(i)})
			}
			l.close()
			if got := (faults{l.Lost, l.Doubled}); got != g.want || l.strange != 0 {
				t.Errorf("%s, %s: lost and doubled are %v, want %v; %d strange: %v", g.guarantee, name, got, g.want, l.strange, l.complaints)
			}
		}
	}
}

// TestAPairThatComesAgainIsAFaultExactlyOnceOnly does the same with a pair that was to come once.
func TestAPairThatComesAgainIsAFaultExactlyOnceOnly(t *testing.T) {
	t.Parallel()
	for guarantee, doubled := range map[string]int64{atLeastOnce: 0, exactlyOnce: 1, exactState: 0} {
		l := newLedger("joined", map[string]int64{"l+r": 1}, guarantee)
		for i := range 2 {
			l.pair(&kgo.Record{Value: []byte("l+r"), Offset: int64(i)})
		}
		l.close()
		if l.Doubled != doubled || l.Lost != 0 || l.Excess != 100 {
			t.Errorf("%s: %d doubled, %d lost, %.0f %% in excess", guarantee, l.Doubled, l.Lost, l.Excess)
		}
		none := newLedger("joined", map[string]int64{"l+r": 1}, guarantee)
		none.close()
		if none.Lost != 1 {
			t.Errorf("%s: %d lost, want 1", guarantee, none.Lost)
		}
	}
}
