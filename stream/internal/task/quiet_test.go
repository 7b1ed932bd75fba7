package task

import (
	"testing"
	"time"
)

func TestStreamTimeGoesOnWhenTheInputIsQuiet(t *testing.T) {
	t.Parallel()
	wall := func(ms int64) time.Time { return time.UnixMilli(1_000_000 + ms) }
	q := NewQuiet(100 * time.Millisecond)
	if got := q.At(wall(5000)); got != unknown {
		t.Errorf("before the first record it is %d", got)
	}
	q.See(10, wall(5000))
	for _, c := range []struct{ after, want int64 }{{0, 10}, {99, 10}, {100, 110}, {250, 260}} {
		if got := q.At(wall(5000 + c.after)); got != c.want {
			t.Errorf("%d ms of silence: %d, want %d", c.after, got, c.want)
		}
	}
	if got := q.See(40, wall(5300)); got != 260 {
		t.Errorf("a record of the past takes it back to %d", got)
	}
	if got := q.At(wall(5350)); got != 260 {
		t.Errorf("it goes on by %d while records come", got)
	}
	if got := q.At(wall(5400)); got != 360 {
		t.Errorf("after another silence it is %d, want 360", got)
	}
	if got := q.See(1000, wall(5500)); got != 1000 {
		t.Errorf("a record ahead of it: %d", got)
	}
}
