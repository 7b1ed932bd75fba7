package crash

import (
	"reflect"
	"testing"
	"time"
)

func TestASeedDecidesTheSchedule(t *testing.T) {
	t.Parallel()
	o := Defaults()
	a, b := schedule(&o), schedule(&o)
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed has made two schedules")
	}
	o.Seed++
	if reflect.DeepEqual(a, schedule(&o)) {
		t.Error("two seeds have made one schedule")
	}
	var r Report
	for _, f := range a {
		if f.kind == Stop && (f.length < o.StopMin || f.length > o.StopMax) {
			t.Errorf("a stop of %s", f.length)
		}
		r.Faults = append(r.Faults, Outcome{Kind: f.kind, Victims: f.victims})
	}
	for _, x := range []struct{ got, want int }{{r.count(Kill), o.Kills}, {r.count(Stop), o.Stops}, {r.count(Crash, Bounce), o.Bounces},
		{r.count(Cut, Stall), o.Cuts}, {r.count(Restart), o.Restarts}} {
		if x.got != x.want {
			t.Errorf("%d faults of a kind, want %d", x.got, x.want)
		}
	}
}

// TestOnlyTransactionsAreLeftWithoutANetworkForLongerThanASession keeps stalls so short that nobody counts meanwhile what the
// worker then sends.
func TestOnlyTransactionsAreLeftWithoutANetworkForLongerThanASession(t *testing.T) {
	t.Parallel()
	for guarantee, long := range map[string]bool{AtLeastOnce: false, ExactState: false, ExactlyOnce: true} {
		o := Defaults()
		o.Guarantee, o.Cuts = guarantee, 100
		var longest time.Duration
		for _, f := range schedule(&o) {
			if f.kind == Stall {
				longest = max(longest, f.length)
			}
		}
		if got := longest > o.Session; got != long {
			t.Errorf("%s: the longest stall is %s, the session %s", guarantee, longest, o.Session)
		}
	}
}

func TestAQuantileIsTheLeastThatAShareDoesNotExceed(t *testing.T) {
	t.Parallel()
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(i+1))
	}
	for q, want := range map[float64]time.Duration{0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(all, q); got != want {
			t.Errorf("%v: %d, want %d", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("nothing has a median")
	}
}
