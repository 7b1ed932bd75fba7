// Package metrics holds what an application measures: Kafka Streams' metrics (KIP-444) and the user's own.
//
// The library's names are KIP-444's in snake case behind millrun_stream_, for instance
// millrun_stream_dropped_records_total; the labels are application, thread, task and node where they apply.
package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Level is how much an application measures: Kafka Streams' metrics.recording.level.
type Level int

// The levels.
const (
	Info  Level = iota // what operating an application needs
	Debug              // what every processor and store does as well; counting it costs a little time for each record
)

// String is Kafka Streams' name.
func (l Level) String() string {
	if l == Debug {
		return "DEBUG"
	}
	return "INFO"
}

// kind is what a metric is in Prometheus' text format.
type kind uint8

const (
	counter kind = iota
	gauge
	summary
)

func (k kind) String() string { return [...]string{"counter", "gauge", "summary"}[k] }

// series is one metric with one set of labels.
type series struct {
	name   string
	labels []string // key, value, … sorted by key
	kind   kind
	value  float64 // of a summary, the sum
	count  float64
	recent recent
}

// Registry is a set of metrics. It is safe for concurrent use; applications may share one.
type Registry struct {
	mu   sync.Mutex
	m    map[string]*series
	help map[string]string // by name
}

// New returns an empty Registry.
func New() *Registry { return &Registry{m: map[string]*series{}, help: map[string]string{}} }

// Describe says what a metric means, in one line.
func (r *Registry) Describe(name, help string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.help[name] = help
}

// Add adds to a counter. Labels are pairs of name and value.
func (r *Registry) Add(name string, n float64, labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at(counter, name, labels).value += n
}

// Set sets a gauge.
func (r *Registry) Set(name string, x float64, labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at(gauge, name, labels).value = x
}

// Observe records a value of a distribution. Of one, the sum and the number of all values are kept, and the lowest and the
// highest of the last 30 to 60 seconds.
func (r *Registry) Observe(name string, x float64, labels ...string) {
	var d Distribution
	d.Add(x)
	r.ObserveAll(name, d, labels...)
}

// ObserveAll is Observe for each value of d. If there are none, the distribution is known all the same.
func (r *Registry) ObserveAll(name string, d Distribution, labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.at(summary, name, labels)
	s.value += d.Sum
	s.count += float64(d.Count)
	s.recent.add(d, time.Now())
}

// Remove forgets every metric that carries all the given labels.
func (r *Registry) Remove(labels ...string) {
	r.remove(labels, func(*series) bool { return true })
}

// RemoveGauges forgets every gauge that carries all the given labels: what was true of something that is gone. Counters and
// distributions stay, so that sums go on.
func (r *Registry) RemoveGauges(labels ...string) {
	r.remove(labels, func(s *series) bool { return s.kind == gauge })
}

func (r *Registry) remove(labels []string, which func(*series) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := sorted(labels)
	maps.DeleteFunc(r.m, func(_ string, s *series) bool { return which(s) && s.carries(want) })
}

func (s *series) carries(want []string) bool {
	for i := 0; i+1 < len(want); i += 2 {
		found := false
		for j := 0; j+1 < len(s.labels); j += 2 {
			found = found || s.labels[j] == want[i] && s.labels[j+1] == want[i+1]
		}
		if !found {
			return false
		}
	}
	return true
}

func (r *Registry) at(k kind, name string, labels []string) *series {
	labels = sorted(labels)
	key := name + "\x00" + strings.Join(labels, "\x00")
	s, ok := r.m[key]
	if !ok {
		s = &series{name: name, labels: labels, kind: k}
		r.m[key] = s
	}
	return s
}

// sorted orders pairs by name; a name without a value is left out.
func sorted(labels []string) []string {
	pairs := make([][2]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, [2]string{labels[i], labels[i+1]})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	out := make([]string, 0, len(labels))
	for _, p := range pairs {
		out = append(out, p[0], p[1])
	}
	return out
}
