package task

import (
	"slices"
	"testing"
	"time"

	"github.com/millrun/millrun/stream/internal/wall"
)

// TestAClockThatIsSetIsNoSilence: that the input was quiet is told from the time that passed, where the clock knows it.
func TestAClockThatIsSetIsNoSilence(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		now := time.Now()
		q := NewQuiet(100 * time.Millisecond)
		q.See(10, now)
		if got := q.At(wall.Set(now.Add(50*time.Millisecond), by)); got != 10 {
			t.Errorf("set by %s, after 50 ms: %d", by, got)
		}
		if got := q.At(wall.Set(now.Add(150*time.Millisecond), by)); got != 160 {
			t.Errorf("set by %s, after 150 ms: %d", by, got)
		}
	}
}

// TestSilenceBeginsAnewWhenAPlainClockIsSetBack: of a clock that knows nothing but the time of day.
func TestSilenceBeginsAnewWhenAPlainClockIsSetBack(t *testing.T) {
	t.Parallel()
	q := NewQuiet(100 * time.Millisecond)
	q.See(10, time.UnixMilli(1_000_000))
	if got := q.At(time.UnixMilli(1_000_200)); got != 210 {
		t.Fatalf("before: %d", got)
	}
	for _, c := range []struct{ wall, want int64 }{{500_000, 210}, {500_099, 210}, {500_100, 310}} {
		if got := q.At(time.UnixMilli(c.wall)); got != c.want {
			t.Errorf("at %d: %d, want %d", c.wall, got, c.want)
		}
	}
}

// TestAnEmptyQueueIsWaitedForNoLongerWhenTheClockIsSet: max.task.idle.ms is a span of time that passes.
func TestAnEmptyQueueIsWaitedForNoLongerWhenTheClockIsSet(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	for name, c := range map[string]struct {
		looks []time.Time
		want  bool
	}{
		"set forward at once":        {[]time.Time{begin, wall.Set(begin, time.Hour)}, false},
		"set back, too early":        {[]time.Time{begin, wall.Set(begin.Add(time.Second), -time.Hour)}, false},
		"set back, time is over":     {[]time.Time{begin, wall.Set(begin.Add(2*time.Second), -time.Hour)}, true},
		"a plain clock is set back":  {[]time.Time{time.Unix(9000, 0), time.Unix(10, 0)}, false},
		"and goes on from there":     {[]time.Time{time.Unix(9000, 0), time.Unix(10, 0), time.Unix(11, 0)}, false},
		"until the time is over too": {[]time.Time{time.Unix(9000, 0), time.Unix(10, 0), time.Unix(12, 0)}, true},
	} {
		x := &Task{program: &Program{MaxIdle: 2 * time.Second}}
		q := newQueue("in", 0)
		q.next, q.end = 0, 0
		var got bool
		for _, x.now = range c.looks {
			got = x.idle(q)
		}
		if got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestAPunctuationGoesOnWhenTheClockIsSet says at which ticks, of ten seconds each, a punctuation of every minute is called.
func TestAPunctuationGoesOnWhenTheClockIsSet(t *testing.T) {
	t.Parallel()
	const ten = 10 * time.Second
	for name, c := range map[string]struct {
		start time.Duration // 0: Schedule
		jump  time.Duration // after 150 s
		want  []int         // ticks
	}{
		"not set":                          {want: []int{6, 12, 18, 24}},
		"back an hour":                     {jump: -time.Hour, want: []int{6, 12, 18, 24}},
		"back ten seconds":                 {jump: -ten, want: []int{6, 12, 19, 25}},
		"back half a minute":               {jump: -3 * ten, want: []int{6, 12, 21, 27}},
		"back a minute":                    {jump: -time.Minute, want: []int{6, 12, 24}},
		"back two minutes":                 {jump: -2 * time.Minute, want: []int{6, 12, 18, 24}},
		"forward an hour":                  {jump: time.Hour, want: []int{6, 12, 15, 18, 24}},
		"forward ten seconds":              {jump: ten, want: []int{6, 12, 17, 23}},
		"at a start, back an hour":         {start: ten, jump: -time.Hour, want: []int{1, 7, 13, 19, 25}},
		"at a start, forward an hour":      {start: ten, jump: time.Hour, want: []int{1, 7, 13, 15, 19, 25}},
		"waits for its start, back":        {start: 20 * ten, jump: -5 * ten, want: []int{25}},
		"waits for its start, forward":     {start: 20 * ten, jump: 5 * ten, want: []int{15, 21, 27}},
		"its start was before, so no wait": {start: -5 * ten, jump: -time.Hour, want: []int{1, 7, 13, 19, 25}},
	} {
		begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		x := &Task{now: begin, program: &Program{}}
		var got []int
		tick, now := 0, begin
		call := func(at time.Time) error {
			if !at.Equal(now) {
				t.Errorf("%s: called with %s at %s", name, at, now)
			}
			got = append(got, tick)
			return nil
		}
		if c.start == 0 {
			x.Schedule(0, time.Minute, WallClock, call)
		} else {
			x.ScheduleAt(0, begin.Add(c.start), time.Minute, WallClock, call)
		}
		for tick = 1; tick < 28; tick++ {
			now = now.Add(ten)
			if tick == 15 {
				now = now.Add(c.jump)
			}
			if _, err := x.Punctuate(now); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: called at %v, want %v", name, got, c.want)
		}
	}
}
