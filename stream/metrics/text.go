package metrics

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Each visits all metrics, ordered by name and labels. A distribution is visited as name_sum, name_count, name_min and
// name_max. The registry is not locked meanwhile: f may use it.
func (r *Registry) Each(f func(name string, labels map[string]string, value float64)) {
	all, _ := r.snapshot()
	for _, s := range all {
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
		f(s.name+"_min", maps.Clone(labels), s.recent.last.Min)
		f(s.name+"_max", maps.Clone(labels), s.recent.last.Max)
	}
}

// snapshot is a copy of all metrics, in order; recent.last is then what both windows hold.
func (r *Registry) snapshot() (all []series, help map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	all = make([]series, 0, len(r.m))
	for _, key := range slices.Sorted(maps.Keys(r.m)) {
		s := *r.m[key]
		s.recent.last = s.recent.both(now)
		all = append(all, s)
	}
	return all, maps.Clone(r.help)
}

// WritePrometheus writes the text format, version 0.0.4. The lowest and the highest recent value of a distribution are
// gauges of their own there, name_min and name_max.
func (r *Registry) WritePrometheus(w io.Writer) error {
	var b strings.Builder
	all, help := r.snapshot()
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].name == all[0].name {
			n++
		}
		family(&b, all[:n], help[all[0].name])
		all = all[n:]
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// family writes the metrics of one name.
func family(b *strings.Builder, all []series, help string) {
	name, k := all[0].name, all[0].kind
	head(b, name, help, k)
	for _, s := range all {
		if k != summary {
			line(b, name, s.labels, s.value)
			continue
		}
		line(b, name+"_sum", s.labels, s.value)
		line(b, name+"_count", s.labels, s.count)
	}
	if k != summary {
		return
	}
	head(b, name+"_min", "", gauge)
	for _, s := range all {
		line(b, name+"_min", s.labels, s.recent.last.Min)
	}
	head(b, name+"_max", "", gauge)
	for _, s := range all {
		line(b, name+"_max", s.labels, s.recent.last.Max)
	}
}

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func head(b *strings.Builder, name, help string, k kind) {
	if help != "" {
		b.WriteString("# HELP " + name + " " + strings.ReplaceAll(help, "\n", " ") + "\n")
	}
	b.WriteString("# TYPE " + name + " " + k.String() + "\n")
}

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
