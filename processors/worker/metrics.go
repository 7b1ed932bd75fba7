package worker

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// workerMetrics are millrun_images_*: how receipts turn out and how long work takes. Labels have few values.
type workerMetrics struct {
	receipts    *prometheus.CounterVec // origin, outcome
	ended       *prometheus.CounterVec // status, code
	letters     *prometheus.CounterVec // stage
	steps       *prometheus.CounterVec // step, outcome
	seconds     *prometheus.HistogramVec
	stepSeconds *prometheus.HistogramVec
	expired     prometheus.Counter
	undeleted   prometheus.Counter
	waits       prometheus.Counter
	markers     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*workerMetrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "millrun", Subsystem: "images", Name: name, Help: help}
	}
	hist := func(name, help string) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: "millrun", Subsystem: "images", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)}
	}
	m := &workerMetrics{
		receipts:    prometheus.NewCounterVec(opts("receipts_total", "Receipts the worker has decided about."), []string{"origin", "outcome"}),
		ended:       prometheus.NewCounterVec(opts("ended_total", "Images that were rejected or have failed in the worker."), []string{"status", "code"}),
		letters:     prometheus.NewCounterVec(opts("dead_letters_total", "Dead letters the worker has written."), []string{"stage"}),
		steps:       prometheus.NewCounterVec(opts("steps_total", "Calls of steps of the company's own code."), []string{"step", "outcome"}),
		seconds:     prometheus.NewHistogramVec(hist("work_seconds", "Time from fetching an image to its last derivative."), []string{"format"}),
		stepSeconds: prometheus.NewHistogramVec(hist("step_seconds", "Time of a step for one image."), []string{"step"}),
		expired:     prometheus.NewCounter(opts("forgotten_total", "Images forgotten at their expiry.")),
		undeleted:   prometheus.NewCounter(opts("staging_undeleted_total", "Staging blobs left to the purge because they could not be deleted.")),
		waits:       prometheus.NewCounter(opts("waits_total", "Pauses because the storage or the schema registry was away.")),
		markers:     prometheus.NewCounter(opts("markers_total", "Markers appended to changelogs.")),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.receipts, m.ended, m.letters, m.steps, m.seconds, m.stepSeconds, m.expired, m.undeleted, m.waits, m.markers} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("worker: %w", err)
		}
	}
	return m, nil
}
