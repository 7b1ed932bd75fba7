package metrics_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrun/millrun/stream/metrics"
)

// Not parallel: a bubble's tests are not.
func TestTheHighestValueIsARecentOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New()
		var d metrics.Distribution
		for _, x := range []float64{3, 9, 2} {
			d.Add(x)
		}
		r.ObserveAll("d", d)
		want := func(when string, sum, count, least, most float64) {
			t.Helper()
			got := map[string]float64{}
			r.Each(func(name string, _ map[string]string, x float64) { got[name] = x })
			if got["d_sum"] != sum || got["d_count"] != count || got["d_min"] != least || got["d_max"] != most {
				t.Errorf("%s: %v", when, got)
			}
		}
		want("at once", 14, 3, 2, 9)
		time.Sleep(40 * time.Second)
		r.Observe("d", 4)
		want("in the next window", 18, 4, 2, 9)
		time.Sleep(40 * time.Second)
		want("when the first window has gone", 18, 4, 4, 4)
		r.ObserveAll("d", metrics.Distribution{})
		time.Sleep(2 * time.Minute)
		want("when nothing has come for long", 18, 4, 0, 0)
	})
}

func TestGaugesOfWhatIsGoneAreForgottenAndCountersStay(t *testing.T) {
	t.Parallel()
	r := metrics.New()
	r.Add("done_total", 1, "task", "0_0")
	r.Observe("took", 1, "task", "0_0")
	r.Set("waiting", 5, "task", "0_0", "topic", "a")
	r.Set("waiting", 5, "task", "0_1", "topic", "a")
	r.RemoveGauges("task", "0_0")
	got := map[string]float64{}
	r.Each(func(name string, labels map[string]string, x float64) { got[name+labels["task"]] = x })
	if len(got) != 6 || got["done_total0_0"] != 1 || got["took_sum0_0"] != 1 || got["waiting0_1"] != 5 {
		t.Errorf("left: %v", got)
	}
}

func TestDistributionsOfNegativeValuesKnowTheirEnds(t *testing.T) {
	t.Parallel()
	var d, all metrics.Distribution
	d.Add(-2)
	d.Add(-5)
	all.AddAll(metrics.Distribution{})
	all.AddAll(d)
	if want := (metrics.Distribution{Count: 2, Sum: -7, Min: -5, Max: -2}); d != want || all != want {
		t.Errorf("got %v and %v", d, all)
	}
}
