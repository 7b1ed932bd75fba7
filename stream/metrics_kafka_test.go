package stream_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/run"
	"github.com/millrun/millrun/stream/metrics"
)

// metricsTable is the catalogue as docs/metrics.md has it.
func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | level | what it says | in Kafka Streams |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, m := range run.Catalog() {
		level := "Info"
		if m.Debug {
			level = "Debug"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), level, m.Help, m.Kafka)
	}
	return b.String()
}

func TestTheTableOfMetricsIsTheCatalogue(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := metricsTable(); !strings.Contains(string(doc), want) {
		t.Errorf("docs/metrics.md does not have this table:\n%s", want)
	}
}

// everything is a topology that has what the metrics are of: a store with a cache, a repartition topic, a suppression, a sink
// that chooses its topic, a table that is restored, and records that are dropped.
func everything() *stream.Builder {
	b := stream.NewBuilder()
	lines := b.Stream[string, string]("lines")
	counts := lines.Filter(func(_, v string) bool { return v != "" }).
		GroupBy(func(_, v string) string { return v }).Count(stream.As("counted"))
	counts.ToStream().ToDynamic(func(string, int64, stream.RecordMetadata) string { return "counts" })
	counts.Suppress(stream.UntilTimeLimit(0)).ToStream().To("held")
	b.Stream[string, string]("others").GroupByKey().Count()
	return b
}

// catalogue is the names under which the registry shows the metrics.
func catalogue() map[string]run.Metric {
	out := map[string]run.Metric{}
	for _, m := range run.Catalog() {
		if m.Kind != "summary" {
			out[m.Name] = m
			continue
		}
		for _, end := range []string{"_sum", "_count", "_min", "_max"} {
			out[m.Name+end] = m
		}
	}
	return out
}

// seldom are the metrics of what does not happen in the test below.
var seldom = []string{
	"dead_letters_total", "async_calls_total", "async_failed_calls_total", "async_repeated_calls_total", "async_late_calls_total", "async_pending_records",
	"stores_wiped_total", "troubles_total", "transactions_aborted_total", "watchdog_total", "update_total", "update_remaining_records",
}

func TestEveryMetricIsInTheCatalogue(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "counts", "held", "others")
	c.produce("lines", pair{"k", "a"}, pair{"k", "b"}, pair{"k", "a"})
	c.produce("others", pair{"", "has no key"})
	known, seen := catalogue(), map[string]bool{}
	look := func(a *stream.App) (all map[string]float64) {
		all = map[string]float64{}
		a.Metrics().Each(func(name string, labels map[string]string, x float64) {
			all[name] += x
			m, ok := known[name]
			if !ok {
				t.Errorf("%s is not in the catalogue", name)
			}
			seen[m.Name] = true
			for label := range labels {
				if label != "application" && !slices.Contains(m.Labels, label) {
					t.Errorf("%s has the label %s, the catalogue has %v", name, label, m.Labels)
				}
			}
		})
		return all
	}
	cfg := stream.Config{ApplicationID: "all", MetricsLevel: metrics.Debug}
	a, stop := c.app(everything(), cfg)
	c.latest("counts", int64Of, map[string]int64{"a": 2, "b": 1})
	limit := time.After(patience)
	for all := look(a); all["millrun_stream_process_rate"] == 0; all = look(a) {
		select {
		case <-limit:
			t.Fatal("the metrics do not say that anything is processed")
		case <-time.After(10 * time.Millisecond):
			c.produce("lines", pair{"k", "a"})
		}
	}
	stop()
	look(a)
	a, stop = c.app(everything(), cfg) // restores what the first one has counted
	look(a)
	stop()
	all := look(a)
	if all["millrun_stream_restore_total"] == 0 {
		t.Error("nothing was restored")
	}
	for _, m := range run.Catalog() {
		if !seen[m.Name] && !slices.Contains(seldom, strings.TrimPrefix(m.Name, "millrun_stream_")) {
			t.Errorf("%s was never measured", m.Name)
		}
	}
}

func TestMetricsSayWhatPassed(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "lines", "counts", "held", "others")
	c.produce("lines", pair{"k", "aa"}, pair{"k", "bbb"}, pair{"k", ""})
	a, stop := c.app(everything(), stream.Config{ApplicationID: "passed", MetricsLevel: metrics.Debug, CacheBytes: -1})
	c.latest("counts", int64Of, map[string]int64{"aa": 1, "bbb": 1})
	c.read("held", func(r *kgo.Record) bool { return string(r.Key) == "bbb" })
	stop()
	got := map[string]float64{}
	a.Metrics().Each(func(name string, labels map[string]string, x float64) {
		got[strings.TrimPrefix(name, "millrun_stream_")+" "+labels["topic"]] += x
	})
	for name, want := range map[string]float64{
		"records_consumed_total lines":                      3,
		"bytes_consumed_total lines":                        8, // three keys of one byte, five bytes of values
		"records_produced_total counts":                     2,
		"bytes_produced_total counts":                       21, // five bytes of keys, two numbers
		"suppression_emit_total ":                           2,
		"failed_stream_threads_total ":                      0,
		"alive_stream_threads ":                             0,
		"state ":                                            float64(stream.NotRunning),
		"task_created_total ":                               3,
		"task_closed_total ":                                3,
		"process_total ":                                    5,
		"record_e2e_latency_seconds_count ":                 5 + 6, // sources; sinks: counts, held and the repartition topic
		"records_produced_total passed-counted-repartition": 2,
	} {
		if have, ok := got[name]; !ok || have != want {
			t.Errorf("%s is %v, want %v", name, have, want)
		}
	}
	for name := range maps.Keys(got) {
		if strings.HasPrefix(name, "active_") || strings.HasPrefix(name, "records_lag") || strings.HasPrefix(name, "restore_remaining") {
			t.Errorf("%s is left of tasks that are gone", name)
		}
	}
}

// none is the figure of a metric that nothing has.
const none = -1

// figures waits until the metrics of applications, taken together, are what is wanted. A name may have a topic behind it.
func figures(t *testing.T, want map[string]float64, apps ...*stream.App) {
	t.Helper()
	got := map[string]float64{}
	limit := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for name := range want {
			got[name] = none
		}
		for _, a := range apps {
			a.Metrics().Each(func(name string, labels map[string]string, x float64) {
				name = strings.TrimPrefix(name, "millrun_stream_")
				for _, name := range []string{name, name + " " + labels["topic"]} {
					if have, ok := got[name]; ok {
						got[name] = max(have, 0) + x
					}
				}
			})
		}
		if maps.Equal(got, want) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Errorf("the metrics are %v, want %v", got, want)
			return
		}
	}
}

// TestApacheKafkaMetricsSayWhatPassed compares what two instances measure, with copies of each other's stores, with what was
// produced, and what a third measures that begins with nothing once they are gone.
func TestApacheKafkaMetricsSayWhatPassed(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "measured")
	in, out, hop, log := app+"-in", app+"-out", app+"-counts-repartition", app+"-counts-changelog"
	c.topics(4, in, out)
	begin := func() (*stream.App, func()) {
		return c.app(countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out)),
			stream.Config{ApplicationID: app, CacheBytes: -1, StandbyReplicas: 1})
	}
	a, stop := begin()
	b, stopToo := begin()
	c.steady(app, 2)
	lines, want := letters(1000) // of two words each
	c.produce(in, lines...)
	c.latest(out, int64Of, want)
	figures(t, map[string]float64{
		"records_consumed_total " + in:  1000,
		"records_consumed_total " + hop: 2000,
		"records_produced_total " + hop: 2000,
		"records_produced_total " + out: 2000,
		"process_total":                 3000,
		"records_lag":                   0,
		"dropped_records_total":         none,
		"store_rows":                    11,
		"active_tasks":                  8,
		"active_restoring_tasks":        0,
		"restore_total":                 0,
		"standby_updating_tasks":        4,
		"update_total":                  2000,
		"update_remaining_records":      0,
		"alive_stream_threads":          2,
		"failed_stream_threads_total":   0,
		"troubles_total":                none,
		"state":                         2 * float64(stream.Running),
	}, a, b)
	stop()
	stopToo()
	rows := 0.0
	for _, n := range c.rows(log) {
		rows += float64(n)
	}
	a, _ = begin()
	figures(t, map[string]float64{
		"restore_total":             rows,
		"restore_remaining_records": 0,
		"active_tasks":              8,
		"active_restoring_tasks":    0,
		"standby_updating_tasks":    0,
		"update_total":              none,
		"store_rows":                11,
		"process_total":             0,
		"records_lag":               none, // nothing was fetched
	}, a)
	if rows != 2000 {
		t.Errorf("the changelog has %v records, want 2000", rows)
	}
	c.produce(in, lines...)
	c.latest(out, int64Of, twice(want))
	figures(t, map[string]float64{"records_consumed_total " + in: 1000, "process_total": 3000, "restore_total": rows, "records_lag": 0}, a)
}
