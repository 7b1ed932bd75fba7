package azblob

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// remember is for how long a purge is remembered to its tenant.
const remember = 30 * 24 * time.Hour

// PurgedSet is the memory of purges that the API answers 410 from: HMACs and dates of the last 30 days, read from the
// ledger. Safe for concurrent use.
type PurgedSet struct {
	cfg   LedgerConfig
	fault error // of the configuration, told by Refresh
	c     *container.Client

	mu sync.RWMutex
	at map[string]time.Time // by HMAC: the latest purge

	reading sync.Mutex      // one refresh at a time
	day     time.Time       // the newest day with a file
	seen    map[string]bool // its files that were read
}

// NewPurgedSet returns an empty set; Refresh or Run fills it.
func NewPurgedSet(a *Account, cfg LedgerConfig) *PurgedSet {
	cfg, fault := cfg.withDefaults()
	return &PurgedSet{cfg: cfg, fault: fault, c: a.Container(cfg.Container), at: map[string]time.Time{}, seen: map[string]bool{}}
}

// PurgedAt is when the tenant's image was purged; false when it was not, or longer than 30 days ago.
func (p *PurgedSet) PurgedAt(tenant, imageID string) (time.Time, bool) {
	p.mu.RLock()
	at, ok := p.at[imageHMAC(p.cfg.Key, tenant, imageID)]
	p.mu.RUnlock()
	if !ok || p.cfg.Clock.Now().Sub(at) > remember {
		return time.Time{}, false
	}
	return at, true
}

// Refresh reads what the ledger has gained and forgets what is older than 30 days. It lists the days from the newest
// that it has seen, so it costs one or two requests when nothing has happened.
func (p *PurgedSet) Refresh(ctx context.Context) error {
	if p.fault != nil {
		return p.fault
	}
	now := p.cfg.Clock.Now().UTC()
	p.reading.Lock()
	defer p.reading.Unlock()
	first := now.Add(-remember).Truncate(24 * time.Hour)
	if p.day.After(first) {
		first = p.day
	}
	// A day more than today: the writer's clock may be ahead of ours.
	for day := first; !day.After(now.Add(24 * time.Hour)); day = day.Add(24 * time.Hour) {
		if err := p.readDay(ctx, day); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for image, at := range p.at {
		if now.Sub(at) > remember {
			delete(p.at, image)
		}
	}
	return nil
}

// readDay reads the files of one day that are not known yet. The caller holds reading.
func (p *PurgedSet) readDay(ctx context.Context, day time.Time) error {
	var names []string
	err := each(ctx, p.c, day.Format("2006/01/02/"), container.ListBlobsInclude{}, func(e Entry) error {
		if !p.seen[e.Name] {
			names = append(names, e.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := readLedger(ctx, p.c, name, p.take); err != nil {
			return err
		}
		if day.After(p.day) {
			p.day = day
			clear(p.seen)
		}
		p.seen[name] = true
	}
	return nil
}

// take reads the purges in one file. The chain is Check's affair.
func (p *PurgedSet) take(name string, content []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for raw := range bytes.Lines(content) {
		var l Line
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("azblob: ledger %s: %w", name, err)
		}
		if l.Action == ActionPurged && l.Image != "" && l.At.After(p.at[l.Image]) {
			p.at[l.Image] = l.At
		}
	}
	return nil
}

// Run refreshes the set every so often of real time until ctx ends, and then returns nil. A ledger that is away leaves
// the set as it is; the log is told when it goes and when it is back.
func (p *PurgedSet) Run(ctx context.Context, every time.Duration) error {
	if p.fault != nil {
		return p.fault
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	away := false
	for {
		err := p.Refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !away:
			p.cfg.Log.Warn("the ledger cannot be read: purges of late are not remembered", "err", err)
		case err == nil && away:
			p.cfg.Log.Info("the ledger can be read again")
		}
		away = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
