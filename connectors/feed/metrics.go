package feed

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// outcomeAccepted counts a record that became a receipt; the others are counted by the reason of their dead letter.
const outcomeAccepted = "accepted"

// metrics are the bridge's figures.
type metrics struct {
	records  *prometheus.CounterVec
	bytes    prometheus.Counter
	restarts prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrun_images_fed_total", Help: "Records of the company's feed carried over, by outcome: accepted, or the reason of the dead letter.",
		}, []string{"outcome"}),
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "millrun_images_fed_bytes_total", Help: "Bytes of the feed's images staged."}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{Name: "millrun_images_feed_restarts_total", Help: "Times the feed began again at its last commit."}),
	}
	if reg == nil {
		return m, nil
	}
	var faults []error
	for _, c := range []prometheus.Collector{m.records, m.bytes, m.restarts} {
		if err := reg.Register(c); err != nil {
			faults = append(faults, fmt.Errorf("feed: metrics: %w", err))
		}
	}
	return m, errors.Join(faults...)
}
