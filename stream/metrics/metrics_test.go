package metrics_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/millrun/millrun/stream/metrics"
)

// A registry in Prometheus' text format.
func ExampleRegistry_WritePrometheus() {
	r := metrics.New()
	r.Describe("requests_total", "what was asked")
	r.Add("requests_total", 1, "code", "200")
	r.Add("requests_total", 2, "code", "200")
	r.Set("temperature", -1.5, "room", `the "hall"`)
	r.Observe("latency_seconds", 0.5)
	r.Observe("latency_seconds", 0.25)
	if err := r.WritePrometheus(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// # TYPE latency_seconds summary
	// latency_seconds_sum 0.75
	// latency_seconds_count 2
	// # TYPE latency_seconds_min gauge
	// latency_seconds_min 0.25
	// # TYPE latency_seconds_max gauge
	// latency_seconds_max 0.5
	// # HELP requests_total what was asked
	// # TYPE requests_total counter
	// requests_total{code="200"} 3
	// # TYPE temperature gauge
	// temperature{room="the \"hall\""} -1.5
}

func TestLabelsAreOneSetWhateverTheirOrder(t *testing.T) {
	t.Parallel()
	r := metrics.New()
	r.Add("n", 1, "a", "1", "b", "2")
	r.Add("n", 1, "b", "2", "a", "1")
	r.Add("n", 1, "b", "2", "odd")
	r.Observe("d", 3)
	var got []string
	r.Each(func(name string, labels map[string]string, x float64) { got = append(got, fmt.Sprint(name, labels, x)) })
	slices.Sort(got)
	want := []string{"d_countmap[]1", "d_maxmap[]3", "d_minmap[]3", "d_summap[]3", "nmap[a:1 b:2]2", "nmap[b:2]1"}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if strings.ReplaceAll(got[i], " ", "") != strings.ReplaceAll(want[i], " ", "") {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
	r.Remove("b", "2")
	n := 0
	r.Each(func(string, map[string]string, float64) { n++ })
	if n != 4 {
		t.Errorf("%d are left", n)
	}
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestAWriterThatFailsIsReported(t *testing.T) {
	t.Parallel()
	if err := metrics.New().WritePrometheus(broken{}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}
