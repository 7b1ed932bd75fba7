package postgres

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by all appliers of one registerer, told apart by the label topic.
type metrics struct {
	applied, duplicates, parkedTotal, released, retries, lost, deadLetters *prometheus.CounterVec
	parked, watermark                                                      *prometheus.GaugeVec
	batch                                                                  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	r := registration{reg: reg}
	m := &metrics{
		applied:     r.counter("millrun_orders_applied_total", "Change events that had their effect.", "topic"),
		duplicates:  r.counter("millrun_orders_duplicates_total", "Copies of events applied before.", "topic"),
		parkedTotal: r.counter("millrun_orders_parked_total", "Events that had to wait for an item, order or member.", "topic"),
		released:    r.counter("millrun_orders_released_total", "Parked events that were applied after all.", "topic"),
		retries:     r.counter("millrun_orders_retries_total", "Attempts repeated, by SQLSTATE or 'connection'.", "topic", "cause"),
		lost:        r.counter("millrun_orders_lost_records_total", "Records that expired in Kafka before they were applied.", "topic"),
		deadLetters: r.counter("millrun_dlq_records_total", "Dead letters written, by stage and SQLSTATE.", "topic", "stage", "sqlstate"),
		parked:      r.gauge("millrun_orders_parked", "Events waiting now.", "topic", "partition"),
		watermark:   r.gauge("millrun_orders_watermark", "Offset up to which everything is settled.", "topic", "partition"),
		batch: register(&r, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "millrun_orders_batch_seconds",
			Help: "Time of one committed batch.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}, []string{"topic"})),
	}
	return m, errors.Join(r.errs...)
}

// registration registers collectors and gathers what went wrong.
type registration struct {
	reg  prometheus.Registerer
	errs []error
}

func (r *registration) counter(name, help string, labels ...string) *prometheus.CounterVec {
	return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

func (r *registration) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
}

// register returns c, or the equal collector that another applier registered before.
func register[C prometheus.Collector](r *registration, c C) C {
	if r.reg == nil {
		return c
	}
	err := r.reg.Register(c)
	if before, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := before.ExistingCollector.(C); ok {
			return same
		}
	}
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("postgres: metrics: %w", err))
	}
	return c
}
