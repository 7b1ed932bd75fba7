package azblob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrun/millrun/internal/clock"
)

// CheckConfig says what is checked.
type CheckConfig struct {
	Account *Account
	Archive *Archive
	Clock   clock.Clock // Default: the machine's clock.
	Ledger  LedgerConfig
	Keep    time.Duration // for what says no expiry of its own. Default: 168 h.
}

// Report is what Check found. It names images by HMAC only.
type Report struct {
	Lines    int      `json:"lines"`    // of the ledger
	Stored   int      `json:"stored"`   // lives that the ledger has seen
	Purged   int      `json:"purged"`   // of these, purged
	Open     int      `json:"open"`     // of these, still stored
	Held     int      `json:"held"`     // images that are due and held
	Late     int      `json:"late"`     // purges later than 15 minutes after they were due, holds apart
	Overdue  int      `json:"overdue"`  // images still there 15 minutes after they were due, holds apart
	Problems []string `json:"problems"` // what contradicts the promise; empty when all is well
}

// Check compares the ledger with the storage: the chain is whole, what it calls purged is gone, what is stored it
// knows, and nothing is overdue. The error is a failure to look; what was found is in the report.
func Check(ctx context.Context, cfg CheckConfig) (Report, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	ledger, err := cfg.Ledger.withDefaults()
	if err != nil {
		return Report{}, err
	}
	cfg.Ledger = ledger
	p := &Purger{cfg: PurgerConfig{Archive: cfg.Archive, Keep: cfg.Keep, Ledger: &Ledger{cfg: ledger}}}
	if p.cfg.Keep <= 0 {
		p.cfg.Keep = 168 * time.Hour
	}
	// The archive is read first: what is purged meanwhile is then told by the ledger, not found missing in it.
	s := &pass{p: p, now: cfg.Clock.Now().UTC()}
	images, err := s.scan(ctx)
	if err != nil {
		return Report{}, err
	}
	k := &checker{lives: map[string]*lifeRecord{}, now: s.now}
	var end chain
	err = readLedger(ctx, cfg.Account.Container(ledger.Container), "", func(name string, content []byte) error {
		return end.check(name, content, k.line)
	})
	k.report.Lines = int(end.seq)
	if errors.Is(err, errChain) {
		k.problemf("%v", err)
	} else if err != nil {
		return Report{}, err
	}
	for _, i := range images {
		l, named := s.line(i, ActionStored)
		k.present(i, l, named)
	}
	k.count()
	return k.report, nil
}

// lifeRecord is what the ledger says about one life of an image.
type lifeRecord struct {
	expires, purged time.Time
	wasHeld         bool
	present         bool
}

// checker collects the ledger's word and the storage's.
type checker struct {
	report Report
	lives  map[string]*lifeRecord
	now    time.Time
}

func (k *checker) problemf(format string, args ...any) {
	k.report.Problems = append(k.report.Problems, strings.TrimPrefix(fmt.Sprintf(format, args...), "azblob: "))
}

// line takes one line of the ledger.
func (k *checker) line(l Line) {
	if l.Scope != ScopeArchive {
		return
	}
	r := k.lives[l.life()]
	if r == nil {
		r = &lifeRecord{}
		k.lives[l.life()] = r
	}
	switch l.Action {
	case ActionStored:
		r.expires, r.purged = l.ExpiresAt, time.Time{}
	case ActionHeld:
		r.wasHeld = true
	case ActionPurged:
		r.purged = l.At
		if l.At.Before(l.ExpiresAt) {
			k.problemf("line %d: image %s was purged at %s, before it was due", l.Seq, l.Image, formatTime(l.At))
		}
		if !r.wasHeld && l.At.Sub(l.ExpiresAt) > grace {
			k.report.Late++
		}
	}
}

// present takes one life that the archive holds.
func (k *checker) present(i *image, l Line, named bool) {
	overdue := k.now.Sub(i.dueAt()) > grace
	name := l.Image
	if !named {
		name = "(not written by us)"
	}
	switch {
	case i.held && !k.now.Before(i.dueAt()):
		k.report.Held++
	case overdue:
		k.report.Overdue++
		k.problemf("image %s of %s was due at %s and is still there", name, i.hour, formatTime(i.dueAt()))
	}
	if !named {
		return
	}
	r := k.lives[l.life()]
	if r == nil {
		return // not seen by a pass yet
	}
	r.present = true
	if !r.purged.IsZero() {
		k.problemf("image %s of %s is called purged at %s and is still there", name, i.hour, formatTime(r.purged))
	}
}

// count sums up, and finds what has vanished before its time.
func (k *checker) count() {
	for life, r := range k.lives {
		k.report.Stored++
		switch {
		case !r.purged.IsZero():
			k.report.Purged++
		default:
			k.report.Open++
			if !r.present && k.now.Before(r.expires) {
				_, image, _ := strings.Cut(life, "|")
				k.problemf("image %s should be stored until %s and is gone", image, formatTime(r.expires))
			}
		}
	}
}
