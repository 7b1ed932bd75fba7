// Package metrics holds what an application measures: Kafka Streams' metrics (KIP-444) and the user's own.
//
// The library's names are KIP-444's in snake case behind millrun_stream_, for instance
// millrun_stream_dropped_records_total; the labels are application, thread, task and node where they apply.
package metrics

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// kind is what a metric is in Prometheus' text format.
type kind uint8

const (
	counter kind = iota
	gauge
	summary
)

func (k kind) String() string { return [...]string{"counter", "gauge", "summary"}[k] }

// series is one metric with one set of labels. For a summary, value is the sum.
type series struct {
	name   string
	labels []string // key, value, … sorted by key
	kind   kind
	value  float64
	count  float64
	max    float64
}

// Registry is a set of metrics. It is safe for concurrent use; applications may share one.
type Registry struct {
	mu sync.Mutex
	m  map[string]*series
}

// New returns an empty Registry.
func New() *Registry { return &Registry{m: map[string]*series{}} }

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

// Observe records a value of a distribution, of which the sum, the number and the highest value are kept.
func (r *Registry) Observe(name string, x float64, labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.at(summary, name, labels)
	s.value += x
	s.count++
	s.max = math.Max(s.max, x)
}

// Remove forgets every metric that carries all the given labels: those of a task that has left.
func (r *Registry) Remove(labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := sorted(labels)
	maps.DeleteFunc(r.m, func(_ string, s *series) bool { return s.carries(want) })
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

// Each visits all metrics, ordered by name and labels. A distribution is visited as name_sum, name_count and name_max. The
// registry is not locked meanwhile: f may use it.
func (r *Registry) Each(f func(name string, labels map[string]string, value float64)) {
	for _, s := range r.snapshot() {
		labels := map[string]string{}
		for i := 0; i+1 < len(s.labels); i += 2 {
			labels[s.labels[i]] = s.labels[i+1]
		}
		if s.kind != summary {
			f(s.name, labels, s.value)
			continue
		}
		f(s.name+"_sum", labels, s.value)
		f(s.name+"_count", maps.Clone(labels), s.count)
		f(s.name+"_max", maps.Clone(labels), s.max)
	}
}

func (r *Registry) snapshot() []series {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]series, 0, len(r.m))
	for _, key := range slices.Sorted(maps.Keys(r.m)) {
		out = append(out, *r.m[key])
	}
	return out
}

// WritePrometheus writes the text format, version 0.0.4.
func (r *Registry) WritePrometheus(w io.Writer) error {
	var b strings.Builder
	last := ""
	for _, s := range r.snapshot() {
		if s.name != last {
			fmt.Fprintf(&b, "# TYPE %s %s\n", s.name, s.kind)
			last = s.name
		}
		if s.kind != summary {
			line(&b, s.name, s.labels, s.value)
			continue
		}
		line(&b, s.name+"_sum", s.labels, s.value)
		line(&b, s.name+"_count", s.labels, s.count)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func line(b *strings.Builder, name string, labels []string, x float64) {
	b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		b.WriteString([...]string{"{", ","}[min(i, 1)])
		b.WriteString(labels[i] + `="` + escape.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 1 {
		b.WriteByte('}')
	}
	b.WriteByte(' ')
	b.WriteString(strconv.FormatFloat(x, 'g', -1, 64))
	b.WriteByte('\n')
}
