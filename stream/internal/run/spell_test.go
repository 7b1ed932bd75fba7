package run

import (
	"testing"
	"testing/synctest"
	"time"
)

// A task whose records take long stops after workMost, or the one record that takes longer; one whose records take nothing does
// not stop.
func TestATaskWorksForATimeNotForANumberOfRecords(t *testing.T) {
	t.Parallel()
	for each, most := range map[time.Duration]time.Duration{0: 0, time.Microsecond: workMost, 29 * time.Millisecond: workMost + 29*time.Millisecond, time.Second: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, n := spell{began: time.Now()}, 0
			for ; n < 1_000_000 && !s.over(n); n++ {
				time.Sleep(each)
			}
			if took := time.Since(s.began); took > most+workMost/10 || each > 0 && took < workMost {
				t.Errorf("records of %s: stopped after %d and %s, want %s", each, n, took, most)
			}
		})
	}
}
