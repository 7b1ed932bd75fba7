package httpin

import (
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the door's figures. No label holds a tenant, an image or a path as it was asked for.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	received prometheus.Counter
	sent     prometheus.Counter
	refused  *prometheus.CounterVec
	images   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrun_http_requests_total", Help: "Requests answered, by route as configured, method and status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "millrun_http_request_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: []float64{.001, .005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "millrun_http_in_flight", Help: "Requests under way."}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: "millrun_http_received_bytes_total", Help: "Bytes of requests' bodies read."}),
		sent:     prometheus.NewCounter(prometheus.CounterOpts{Name: "millrun_http_sent_bytes_total", Help: "Bytes of answers' bodies written."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrun_http_refused_total", Help: "Requests refused for their caller, by reason: unauthenticated, too-many-requests (wrong keys), malformed, requests, bytes.",
		}, []string{"reason"}),
		images: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrun_http_images_total", Help: "Images handed in, by outcome: accepted, duplicate, or the problem they were refused with.",
		}, []string{"outcome"}),
	}
	var faults []error
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.inFlight, m.received, m.sent, m.refused, m.images} {
		if err := reg.Register(c); err != nil {
			faults = append(faults, fmt.Errorf("httpin: metrics: %w", err))
		}
	}
	return m, errors.Join(faults...)
}

// watchView shows how many images the view holds.
func watchView(reg prometheus.Registerer, v *view) error {
	err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "millrun_http_view_images", Help: "Images that this process knows of.",
	}, func() float64 { return float64(v.size()) }))
	if err != nil {
		return fmt.Errorf("httpin: metrics: %w", err)
	}
	return nil
}

// quietLog takes what net/http has to say, which is about connections and not ours, at debug level.
func quietLog(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }
