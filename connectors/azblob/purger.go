package azblob

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

const (
	// unclaimedAfter is how long staged bytes may wait for a record.
	unclaimedAfter = 24 * time.Hour

	// grace is within what time of its due date a blob must be gone.
	grace = 15 * time.Minute

	// purgeParallel is how many names are emptied at once.
	purgeParallel = 8
)

// PurgerConfig says what is purged and by whose word. Account, Archive and Ledger are required.
type PurgerConfig struct {
	Account *Account
	Archive *Archive

	// Analytics is the container of Parquet files; those with expires_at in their metadata are deleted then. Default:
	// none.
	Analytics string

	// Claimed says whether a record still speaks of a staged blob that is older than 24 h. Default: all are claimed,
	// so that only their expiry removes them.
	Claimed func(ctx context.Context, name string) (bool, error)

	// Clock decides what is due. Default: the machine's clock.
	Clock clock.Clock

	// Full is how much of the clock's time may pass between two passes; it bounds how late the end of a legal hold is
	// noticed. Default: 1 min.
	Full time.Duration

	// Keep is how long what says no expiry of its own may stay. Default: 168 h.
	Keep time.Duration

	Ledger  *Ledger
	Log     *slog.Logger // Default: slog.Default().
	Metrics *Metrics     // Default: none.

	// Poll is the real time between two looks at the clock. Default: 2 s.
	Poll time.Duration

	// Staging is what has arrived. Default: none.
	Staging *Staging
}

// Purger empties archive, staging and analytics of what is due, and tells the ledger. It can be killed at any moment:
// the next pass finds what is left and finishes it. One process runs it.
type Purger struct {
	cfg       PurgerConfig
	analytics *container.Client

	mu   sync.Mutex // one pass at a time
	next time.Time  // the earliest due date that the last pass has seen
	last time.Time  // the clock at the last whole pass; zero: none
}

// NewPurger returns a Purger.
func NewPurger(cfg PurgerConfig) (*Purger, error) {
	if cfg.Account == nil || cfg.Archive == nil || cfg.Ledger == nil {
		return nil, errors.New("azblob: a Purger needs Account, Archive and Ledger")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Full <= 0 {
		cfg.Full = time.Minute
	}
	if cfg.Keep <= 0 {
		cfg.Keep = events.Retention
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Poll <= 0 {
		cfg.Poll = 2 * time.Second
	}
	p := &Purger{cfg: cfg}
	if cfg.Analytics != "" {
		p.analytics = cfg.Account.Container(cfg.Analytics)
	}
	return p, nil
}

// Run makes a pass whenever something is due, or Full of the clock's time has passed, until ctx ends. A pass that
// fails is reported to the log and made again.
func (p *Purger) Run(ctx context.Context) error {
	tick := time.NewTicker(p.cfg.Poll)
	defer tick.Stop()
	for {
		if p.isTime() {
			if r, err := p.Pass(ctx); err != nil && ctx.Err() == nil {
				p.cfg.Log.Warn("purge pass failed", "err", err, "failed", r.Failed, "overdue", r.Overdue)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *Purger) isTime() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Clock.Now()
	return p.last.IsZero() || now.Sub(p.last) >= p.cfg.Full || (!p.next.IsZero() && !now.Before(p.next))
}

// PassReport is what one pass did and left.
type PassReport struct {
	At        time.Time // the clock at its beginning
	Images    int       // in the archive when it began
	Stored    int       // images that the ledger learned of
	Purged    int       // versions and snapshots deleted from the archive
	Gone      int       // images that are gone since the last pass
	Staging   int       // deleted from staging
	Analytics int       // deleted from analytics
	Held      int       // blobs that are due and held
	Failed    int       // names that could not be emptied
	Overdue   int       // blobs still there 15 minutes after they were due
}

// Pass makes one pass now. What cannot be purged does not keep the rest from being purged; the error names the first.
func (p *Purger) Pass(ctx context.Context) (PassReport, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	began := time.Now()
	s := &pass{p: p, now: p.cfg.Clock.Now().UTC()}
	s.report.At = s.now
	err := s.run(ctx)
	p.next, p.last = s.next, s.now
	if err != nil {
		p.last = time.Time{} // look again at the next tick
	}
	p.cfg.Metrics.countPass(s.report, time.Since(began))
	return s.report, err
}
