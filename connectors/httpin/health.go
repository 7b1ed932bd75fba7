package httpin

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkTimeout bounds one dependency's answer; checkAge is how long an answer is good for, so that a flood of probes
// costs the dependencies nothing.
const (
	checkTimeout = 2 * time.Second
	checkAge     = time.Second
)

// healthz says that the process answers.
func (s *Server) healthz(c *call) error {
	return c.sendJSON(http.StatusOK, map[string]string{"status": "alive"})
}

// dependency is a part behind the door, by name. Why it is away is in the log: the page is open to everybody.
type dependency struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
}

// readyz says whether each part that the door needs answers.
func (s *Server) readyz(c *call) error {
	status, word := http.StatusOK, "ready"
	dependencies := s.health.ask(c.r.Context())
	if slices.ContainsFunc(dependencies, func(d dependency) bool { return !d.Ready }) {
		status, word = http.StatusServiceUnavailable, "not ready"
		c.w.Header().Set("Retry-After", "1")
	}
	return c.sendJSON(status, map[string]any{"status": word, "dependencies": dependencies})
}

// health asks the dependencies, all at once and at most once a second. Safe for concurrent use.
type health struct {
	checks map[string]func(context.Context) error
	failed func(name string, err error) // told about each failure

	mu   sync.Mutex
	last time.Time
	seen []dependency
}

func (s *Server) newHealth() *health {
	checks := map[string]func(context.Context) error{
		"kafka": s.producer.Ping,
		"view":  func(context.Context) error { return s.view.ready() },
	}
	maps.Copy(checks, s.cfg.Checks)
	return &health{checks: checks, failed: func(name string, err error) { s.cfg.Log.Warn("not ready", "dependency", name, "error", err) }}
}

// ask holds the lock while the dependencies answer: who comes meanwhile gets the same answer.
func (h *health) ask(ctx context.Context) []dependency {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.last) < checkAge {
		return h.seen
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	names := slices.Sorted(maps.Keys(h.checks))
	seen := make([]dependency, len(names))
	var asked sync.WaitGroup
	for i, name := range names {
		asked.Go(func() {
			err := h.checks[name](ctx)
			seen[i] = dependency{Name: name, Ready: err == nil}
			if err != nil {
				h.failed(name, err)
			}
		})
	}
	asked.Wait()
	h.seen, h.last = seen, time.Now()
	return seen
}

// metricsPage shows the metrics in Prometheus' format.
func (s *Server) metricsPage(c *call) error {
	promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{}).ServeHTTP(c.w, c.r)
	return nil
}
