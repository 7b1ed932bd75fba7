package azblob

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the archive's figures, millrun_archive_*. A nil *Metrics counts nothing. Safe for concurrent use.
type Metrics struct {
	puts     *prometheus.CounterVec
	bytes    prometheus.Counter
	purged   *prometheus.CounterVec
	failures prometheus.Counter
	overdue  prometheus.Gauge
	held     prometheus.Gauge
	images   prometheus.Gauge
	lastPass prometheus.Gauge
	passTime prometheus.Histogram
}

// NewMetrics registers the figures.
func NewMetrics(r prometheus.Registerer) *Metrics {
	name := func(n string) string { return "millrun_archive_" + n }
	m := &Metrics{
		puts:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("puts_total"), Help: "Objects handed to the archive by result: stored, existed, refused (too late, other bytes, no protection), failed."}, []string{"result"}),
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: name("stored_bytes_total"), Help: "Bytes newly stored in the archive."}),
		purged:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: name("purged_blobs_total"), Help: "Versions, snapshots and files deleted by the purger, by container kind."}, []string{"scope"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: name("purge_failures_total"), Help: "Names that a pass of the purger could not empty."}),
		overdue:  prometheus.NewGauge(prometheus.GaugeOpts{Name: name("overdue_blobs"), Help: "Blobs still there 15 minutes after they were due, legal holds apart. Must be 0."}),
		held:     prometheus.NewGauge(prometheus.GaugeOpts{Name: name("held_blobs"), Help: "Blobs that are due and stay because of a legal hold."}),
		images:   prometheus.NewGauge(prometheus.GaugeOpts{Name: name("images"), Help: "Images in the archive at the last pass of the purger."}),
		lastPass: prometheus.NewGauge(prometheus.GaugeOpts{Name: name("last_pass_timestamp_seconds"), Help: "When the purger last finished a pass, by the retention clock."}),
		passTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: name("pass_seconds"), Help: "How long passes of the purger take.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 9)}),
	}
	r.MustRegister(m.puts, m.bytes, m.purged, m.failures, m.overdue, m.held, m.images, m.lastPass, m.passTime)
	return m
}

func (m *Metrics) countPut(s Stored, err error) {
	if m == nil {
		return
	}
	result := "failed"
	switch {
	case err == nil && s.Existed:
		result = "existed"
	case err == nil:
		result = "stored"
		m.bytes.Add(float64(s.Blob.Bytes))
	case IsFinal(err):
		result = "refused"
	}
	m.puts.WithLabelValues(result).Inc()
}

func (m *Metrics) countPass(r PassReport, took time.Duration) {
	if m == nil {
		return
	}
	for scope, n := range map[string]int{ScopeArchive: r.Purged, ScopeStaging: r.Staging, ScopeAnalytics: r.Analytics} {
		m.purged.WithLabelValues(scope).Add(float64(n))
	}
	m.failures.Add(float64(r.Failed))
	m.overdue.Set(float64(r.Overdue))
	m.held.Set(float64(r.Held))
	m.images.Set(float64(r.Images))
	m.lastPass.Set(float64(r.At.Unix()))
	m.passTime.Observe(took.Seconds())
}
