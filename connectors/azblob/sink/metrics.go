package sink

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// sinkMetrics are the role's part of millrun_archive_*.
type sinkMetrics struct {
	images    *prometheus.CounterVec // outcome
	blobs     *prometheus.CounterVec // kind, outcome
	bytes     prometheus.Counter
	undeleted prometheus.Counter
	waits     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*sinkMetrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "millrun", Subsystem: "archive", Name: name, Help: help}
	}
	m := &sinkMetrics{
		images:    prometheus.NewCounterVec(opts("images_total", "Processed images by what became of them."), []string{"outcome"}),
		blobs:     prometheus.NewCounterVec(opts("sink_blobs_total", "Blobs the role has put, or found already there."), []string{"kind", "outcome"}),
		bytes:     prometheus.NewCounter(opts("sink_bytes_total", "Bytes put.")),
		undeleted: prometheus.NewCounter(opts("staging_undeleted_total", "Staging blobs left to the purge because they could not be deleted.")),
		waits:     prometheus.NewCounter(opts("waits_total", "Pauses because a storage or the schema registry was away.")),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.images, m.blobs, m.bytes, m.undeleted, m.waits} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("sink: %w", err)
		}
	}
	return m, nil
}

func (m *sinkMetrics) stored(name string, existed bool, bytes int) {
	kind, _, _ := strings.Cut(name, "/")
	if existed {
		m.blobs.WithLabelValues(kind, "existed").Inc()
		return
	}
	m.blobs.WithLabelValues(kind, "written").Inc()
	m.bytes.Add(float64(bytes))
}
