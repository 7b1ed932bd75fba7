package run

import (
	"testing"
	"time"
)

func TestThePaceOfARestoration(t *testing.T) {
	t.Parallel()
	begun := time.UnixMilli(0)
	var p pace
	for _, step := range []struct {
		after               time.Duration
		records, next, left int64
		rate                float64
		rest                time.Duration
	}{
		{0, 0, 100, 900, 0, unknownLeft},
		{time.Second, 0, 100, 900, 0, unknownLeft},             // nothing has come yet
		{2 * time.Second, 50, 300, 700, 25, 7 * time.Second},   // a quarter of the offsets has records
		{4 * time.Second, 400, 900, 100, 100, time.Second / 2}, // it has become faster
		{5 * time.Second, 450, 1000, 0, 90, 0},                 // there is nothing left
	} {
		rate, rest := p.at(step.records, step.next, step.left, begun.Add(step.after))
		if rate != step.rate || rest != step.rest {
			t.Errorf("after %s: %v records a second and %s left, want %v and %s", step.after, rate, rest, step.rate, step.rest)
		}
	}
}

func TestThePaceOfAnEmptyChangelog(t *testing.T) {
	t.Parallel()
	var p pace
	if rate, rest := p.at(0, 7, 0, time.UnixMilli(0)); rate != 0 || rest != 0 {
		t.Errorf("%v records a second and %s left", rate, rest)
	}
}
