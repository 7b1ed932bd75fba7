package parquet

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type (
	commitRequest  = kmsg.OffsetCommitRequest
	commitResponse = kmsg.OffsetCommitResponse
)

// refused is what a commit's answer complains about.
func refused(r *commitResponse) error {
	if r == nil {
		return nil
	}
	var faults []error
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			faults = append(faults, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	return errors.Join(faults...)
}

type metrics struct {
	files, rows, failures, unreadable prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "millrun", Subsystem: "analytics", Name: name, Help: help})
	}
	m := metrics{
		files:      counter("files_total", "Parquet files written."),
		rows:       counter("rows_total", "Records of image-status in them."),
		failures:   counter("failures_total", "Attempts to write files that failed."),
		unreadable: counter("unreadable_total", "Records of image-status that became dead letters."),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.files, m.rows, m.failures, m.unreadable} {
		if err := r.Register(c); err != nil {
			return metrics{}, fmt.Errorf("parquet: %w", err)
		}
	}
	return m, nil
}
