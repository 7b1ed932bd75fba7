package httpin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/millrun/millrun/internal/events"
)

// leftover is how long what is left of a request's body is taken after the answer: a caller that is still sending gets
// to read the answer, one that holds the connection does not keep it.
const leftover = 2 * time.Second

// call is one request on its way through the door. One goroutine owns it.
type call struct {
	r       *http.Request
	w       *writer
	route   *route
	id      string // request id
	trace   string // W3C traceparent
	who     *principal
	started time.Time
	read    int64 // bytes of the body
}

// begin makes a call of a request and sets what every answer has.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, rt *route) *call {
	c := &call{
		r: r, route: rt, started: time.Now(), id: requestID(r), trace: events.Trace(r.Header.Get("Traceparent")),
		w: &writer{ResponseWriter: w, control: http.NewResponseController(w), stall: s.cfg.Limits.Stall},
	}
	h := w.Header()
	h.Set("X-Request-ID", c.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	s.metrics.inFlight.Inc()
	return c
}

// requestID is the caller's X-Request-ID when it is harmless, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-ID")
	if id == "" || len(id) > 64 {
		return rand.Text()
	}
	for i := range len(id) {
		b := id[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '-' && b != '_' && b != '.' {
			return rand.Text()
		}
	}
	return id
}

// handle is the one way of a request: admitted, carried out, answered, counted and logged.
func (s *Server) handle(rt *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.begin(w, r, rt)
		err := s.carryOut(c)
		if err != nil {
			err = c.refuse(err)
		}
		s.end(r.Context(), c, err)
		if r.Body != nil && r.Body != http.NoBody {
			_ = c.w.control.SetReadDeadline(time.Now().Add(leftover)) // not supported: nothing to bound
		}
		if c.w.broken {
			panic(http.ErrAbortHandler) // the headers are out and the body is not whole: the connection must say so
		}
	})
}

// carryOut runs the route's handler for a caller who may; a panic becomes an error here and nowhere else.
func (s *Server) carryOut(c *call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("httpin: panic: %v\n%s", p, debug.Stack())
		}
	}()
	if p := s.admit(c); p != nil {
		return p
	}
	return c.route.do(s, c)
}

// refuse answers with a problem, unless an answer has begun. It returns what the log should know.
func (c *call) refuse(err error) error {
	var p *problem
	if !errors.As(err, &p) {
		p = kindInternal.because("The request id names it in our log.").causedBy(err)
	}
	if c.w.status != 0 {
		c.w.broken = true
		return err
	}
	if c.r.Body != nil && c.r.Body != http.NoBody {
		c.w.Header().Set("Connection", "close") // what is left of the body is not worth reading
	}
	told := p.answer(c.r.URL.EscapedPath(), c.id).write(c.w) == nil
	if told && p.status >= http.StatusInternalServerError {
		return err
	}
	return nil // the caller went away, or was told what it did wrong: neither is our error
}

// end counts and logs the call.
func (s *Server) end(ctx context.Context, c *call, err error) {
	took := time.Since(c.started)
	status := c.w.status
	s.metrics.inFlight.Dec()
	s.metrics.requests.WithLabelValues(c.route.pattern, c.route.method, strconv.Itoa(status)).Inc()
	s.metrics.seconds.WithLabelValues(c.route.pattern, c.route.method).Observe(took.Seconds())
	s.metrics.received.Add(float64(c.read))
	s.metrics.sent.Add(float64(c.w.sent))
	attrs := []slog.Attr{
		slog.String("method", c.route.method), slog.String("route", c.route.pattern), slog.Int("status", status),
		slog.Int64("read", c.read), slog.Int64("sent", c.w.sent), slog.Duration("took", took), slog.String("request_id", c.id),
	}
	if c.who != nil {
		attrs = append(attrs, slog.String("key", c.who.name))
	}
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", err.Error()))
	} else if c.route.scope == "" {
		level = slog.LevelDebug // probes and scrapes
	}
	s.cfg.Log.LogAttrs(ctx, level, "request", attrs...)
}

// send answers with what is held whole.
func (c *call) send(a answer) error { return a.write(c.w) }

// sendJSON answers with v.
func (c *call) sendJSON(status int, v any) error {
	a, err := jsonAnswer(status, v)
	if err != nil {
		return err
	}
	return c.send(a)
}

// writer remembers what was answered and gives every write a deadline of its own, so that a caller who reads slowly is
// served and one who stops reading is not waited for.
type writer struct {
	http.ResponseWriter

	control  *http.ResponseController
	status   int
	sent     int64
	broken   bool
	stall    time.Duration
	deadline time.Time
}

// WriteHeader remembers the status.
func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write moves the deadline on.
func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if now := time.Now(); w.deadline.Sub(now) < 2*w.stall {
		w.deadline = now.Add(3 * w.stall)
		if err := w.control.SetWriteDeadline(w.deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, fmt.Errorf("httpin: answer: %w", err)
		}
	}
	n, err := w.ResponseWriter.Write(b)
	w.sent += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
