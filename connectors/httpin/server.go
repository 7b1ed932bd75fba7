package httpin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxHeaderBytes bounds a request's header fields; ours need some hundred bytes.
const maxHeaderBytes = 32 << 10

// Server is the front door. Make it with New, then Serve once. Safe for concurrent use.
type Server struct {
	cfg      Config
	auth     *authenticator
	answers  *answers
	requests *windows // a minute's requests by account
	bytes    *windows // a minute's bytes by account
	producer *kgo.Client
	view     *view
	metrics  *metrics
	health   *health
	handler  http.Handler
}

// New checks the configuration, all faults at once, and opens the clients, which connect when they are first needed.
// Who gets a Server calls Serve or Close.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, cfg.Kafka...),
		kgo.ClientID("millrun-api"),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),                    // a caller waits for every record
		kgo.MetadataMinAge(250*time.Millisecond), // a moved leader is found, and a deadline seen, that soon
		kgo.RetryBackoffFn(func(tries int) time.Duration { return min(100*time.Millisecond<<min(tries, 4), time.Second) }),
		kgo.RecordDeliveryTimeout(max(cfg.Limits.Accept, time.Second)), // the least that the client takes
	)...)
	if err != nil {
		return nil, fmt.Errorf("httpin: producer: %w", err)
	}
	return newServer(cfg, client)
}

// newServer puts a server together; cfg is checked and complete.
func newServer(cfg Config, p *kgo.Client) (*Server, error) {
	m, err := newMetrics(cfg.Registry)
	if err != nil {
		p.Close()
		return nil, err
	}
	s := &Server{
		cfg: cfg, producer: p, metrics: m,
		auth:     newAuthenticator(cfg.Keys, time.Now),
		answers:  newAnswers(cfg.Clock),
		requests: newWindows(int64(cfg.Limits.RequestsPerMinute), 10_000, time.Now),
		bytes:    newWindows(cfg.Limits.BytesPerMinute, 10_000, time.Now),
		view:     newView(&cfg),
	}
	if err := watchView(cfg.Registry, s.view); err != nil {
		p.Close()
		return nil, err
	}
	s.health = s.newHealth()
	s.handler = s.router(routes())
	return s, nil
}

// Handler is the door as an http.Handler. It answers about images only while Serve runs.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on ln until ctx ends; requests under way are then given Limits.Drain to finish. It closes ln and the
// server's clients, so it can be called once. It returns nil when ctx ended it and every request was answered.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer s.Close()
	viewCtx, stopView := context.WithCancel(context.WithoutCancel(ctx)) // requests that are drained still look at it
	viewDone := make(chan struct{})
	go func() {
		defer close(viewDone)
		s.view.run(viewCtx)
	}()
	defer func() {
		stopView()
		<-viewDone
	}()
	h := &http.Server{
		Handler: s.handler, MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: s.cfg.Limits.Stall, IdleTimeout: 2 * time.Minute,
		ErrorLog:    quietLog(s.cfg.Log),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("httpin: serve: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Limits.Drain)
	defer cancel()
	err := h.Shutdown(drain)
	if err != nil {
		err = fmt.Errorf("httpin: requests still under way after %s: %w", s.cfg.Limits.Drain, errors.Join(err, h.Close()))
	}
	if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, stopped)
	}
	return err
}

// Ready is nil once the door knows all images that were there when Serve began.
func (s *Server) Ready() error { return s.view.ready() }

// Close closes the clients. It is for a Server that is not served; Serve does it itself.
func (s *Server) Close() { s.producer.Close() }
