package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/connectors/postgres/changes"
)

// Applier applies one topic of change events to the shop's database. Several may run in one process, and several processes
// may run the same one. Run is called once; Ready at any time.
type Applier struct {
	cfg     Config
	login   string
	role    string
	metrics *metrics
	pool    *pgxpool.Pool // of Run
	state   atomic.Pointer[readiness]
}

// readiness is the last known state for Ready.
type readiness struct{ err error }

// NewApplier checks the configuration, all faults at once, and opens nothing.
func NewApplier(cfg Config) (*Applier, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	a := &Applier{cfg: cfg, metrics: m}
	a.login, _ = changes.Login(cfg.Topic)
	a.role, _ = changes.Role(cfg.Topic)
	a.cfg.Log = cfg.Log.With("applier", cfg.Topic, "login", a.login)
	a.setReady(errors.New("postgres: not started"))
	return a, nil
}

// Ready is nil while the applier has PostgreSQL and its place in the consumer group, else why not.
func (a *Applier) Ready() error { return a.state.Load().err }

func (a *Applier) setReady(err error) { a.state.Store(&readiness{err}) }

// Run applies events until ctx ends, and then returns nil. It returns an error for what no waiting cures: an
// *access.ExcessError or *access.MissingError when the login's rights are not the declared ones, a refused password, a
// missing table, a log that ends before what was applied. It stops everything it started before it returns.
func (a *Applier) Run(ctx context.Context) error {
	pc, err := a.cfg.poolConfig()
	if err != nil {
		return err
	}
	if a.pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer a.pool.Close()
	defer a.setReady(errors.New("postgres: stopped"))
	err = a.keepTrying(ctx, "check the login's rights", a.checkLogin)
	for err == nil && ctx.Err() == nil {
		err = a.keepTrying(ctx, "apply", a.session)
	}
	if ended(ctx, err) {
		return nil
	}
	return err
}

// checkLogin refuses a login that may do more, or less, than is declared.
func (a *Applier) checkLogin(ctx context.Context) error {
	conn, err := a.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("postgres: connect: %w", err)
	}
	defer conn.Release()
	err = access.Check(ctx, conn.Conn(), a.cfg.Policy, a.login)
	var excess *access.ExcessError
	var missing *access.MissingError
	if errors.As(err, &excess) || errors.As(err, &missing) {
		return &fatalError{err}
	}
	return err
}

// keepTrying calls f until it succeeds, fails for good, or ctx ends.
func (a *Applier) keepTrying(ctx context.Context, what string, f func(context.Context) error) error {
	wait := newBackoff()
	for {
		began := time.Now()
		err := f(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if classifyOwn(err) == fatal {
			return err
		}
		if time.Since(began) > time.Minute {
			wait = newBackoff()
		}
		a.setReady(err)
		a.retrying(what, err, wait.attempts)
		if wait.sleep(ctx) != nil {
			return ctx.Err()
		}
	}
}

// retrying counts an attempt that will be repeated; the first and every tenth are logged.
func (a *Applier) retrying(what string, err error, attempts int) {
	cause := "connection"
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		cause = pg.Code
	}
	a.metrics.retries.WithLabelValues(a.cfg.Topic, cause).Inc()
	if attempts%10 == 0 {
		a.cfg.Log.Warn("will try again", "what", what, "attempts", attempts+1, "err", err)
	}
}

// backoff waits longer each time.
type backoff struct {
	attempts int
	wait     time.Duration
}

// The bounds of a backoff.
const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 3 * time.Second
)

func newBackoff() *backoff { return &backoff{wait: backoffFirst} }

// sleep returns ctx's error when it ends first.
func (b *backoff) sleep(ctx context.Context) error {
	b.attempts++
	t := time.NewTimer(b.wait)
	defer t.Stop()
	b.wait = min(2*b.wait, backoffMost)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
