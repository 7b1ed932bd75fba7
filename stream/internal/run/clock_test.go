package run

import (
	"testing"
	"time"

	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/internal/wall"
)

// TestAClockThatIsSetForwardIsNoLostContact: the last answer seems to be an hour old, and is not.
func TestAClockThatIsSetForwardIsNoLostContact(t *testing.T) {
	t.Parallel()
	var c contact
	c.touch()
	last := wall.Set(*c.last.Load(), -time.Hour)
	c.last.Store(&last)
	if err := c.check(time.Minute); err != nil {
		t.Error(err)
	}
	last = time.Now().Add(-time.Hour)
	c.last.Store(&last)
	if err := c.check(time.Minute); err == nil {
		t.Error("an hour of silence is no error")
	}
}

// TestChangelogsAreNotDatedBackWhenTheClockIs: brokers compact by these times, and may not do so too soon.
func TestChangelogsAreNotDatedBackWhenTheClockIs(t *testing.T) {
	t.Parallel()
	began := time.Now()
	e := &Engine{o: Options{ExactState: true}, began: began}
	hour := began.Add(time.Hour)
	for name, c := range map[string]struct{ now, want time.Time }{
		"not set":     {hour, hour},
		"set back":    {wall.Set(hour, -48*time.Hour), hour},
		"set forward": {wall.Set(hour, 48*time.Hour), hour.Add(48 * time.Hour)},
	} {
		got := e.sentAt(&task.Output{Changelog: true, Time: 1000}, c.now)
		if !got.Round(0).Equal(c.want.Round(0)) {
			t.Errorf("%s: dated %s, want %s", name, got, c.want)
		}
	}
	if got := e.sentAt(&task.Output{Time: 1000}, hour); !got.Equal(time.UnixMilli(1000)) {
		t.Errorf("a result is dated %s", got)
	}
}

func TestTheNextProbeComesAlthoughTheClockIsSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		next, now int64
		want      bool
	}{
		{"before its time", 600, 0, false},
		{"at its time", 600, 600, true},
		{"at once", 0, 5, true},
		{"set forward", 600, 100_000, true},
		{"set back", 100_600, 0, true},
	} {
		if got := probes(c.next, c.now, 600); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
