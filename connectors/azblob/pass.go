package azblob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// pass is one pass of a Purger over all containers.
type pass struct {
	p      *Purger
	now    time.Time
	next   time.Time
	report PassReport

	mu    sync.Mutex
	fault error // the first name that could not be emptied
}

// image is a life of an image in the archive. Whose it is and when it is due is said by the oldest version of its
// original: a later one may be anybody's, whatever its metadata says.
type image struct {
	tenant, id string // empty when nothing of it was written by us
	hour       string
	original   bool      // tenant, id and version are those of a raw/ blob
	version    string    // that tenant and id are from
	due        time.Time // of the original; without one, the latest of its own blobs
	foreign    time.Time // when blobs without an expiry of their own would be due
	policy     string
	held       bool
	blobs      int
	names      map[string]bool // those with something that may be due
}

// dueAt is when the whole life must go.
func (i *image) dueAt() time.Time {
	if i.due.IsZero() {
		return i.foreign
	}
	return i.due
}

func (s *pass) run(ctx context.Context) error {
	ledger := s.p.cfg.Ledger
	if !ledger.isLoaded() {
		if err := ledger.Reload(ctx); err != nil {
			return err
		}
	}
	images, err := s.scan(ctx)
	if err != nil {
		return err
	}
	s.report.Images = len(images)
	if err := s.recordStored(ctx, images); err != nil {
		return err
	}
	if err := s.purgeArchive(ctx, images); err != nil {
		return err
	}
	errs := []error{s.sweepStaging(ctx), s.sweepAnalytics(ctx), s.fault}
	return errors.Join(errs...)
}

// scan reads the archive's whole list and groups it by life.
func (s *pass) scan(ctx context.Context) (map[string]*image, error) {
	images := map[string]*image{}
	err := s.p.cfg.Archive.List(ctx, "", func(e Entry) error {
		l := lifeOf(e)
		i := images[l]
		if i == nil {
			hour, _, _ := splitName(e.Name)
			i = &image{hour: strings.ReplaceAll(hour, "/", "-"), policy: "none", names: map[string]bool{}}
			images[l] = i
		}
		i.add(e, s.p.cfg.Keep)
		return nil
	})
	return images, err
}

// add takes one entry into the life.
func (i *image) add(e Entry, keep time.Duration) {
	i.blobs++
	i.held = i.held || e.Hold
	i.names[e.Name] = true
	due, own := dueOf(e)
	if !own {
		if !e.Uncommitted {
			i.foreign = later(i.foreign, e.Created.Add(keep))
		}
		return
	}
	i.learn(e, due)
	switch {
	case e.Locked:
		i.policy = "locked"
	case !e.Until.IsZero():
		i.policy = "unlocked"
	}
}

// learn takes an entry that was written by us, or looks like it.
func (i *image) learn(e Entry, due time.Time) {
	original := strings.HasPrefix(e.Name, "raw/") && e.Snapshot == ""
	switch {
	case i.original && (!original || e.VersionID > i.version):
		return
	case original:
		i.due = due
	default:
		i.due = later(i.due, due)
	}
	if original || i.id == "" || e.VersionID < i.version {
		i.tenant, i.id, i.version, i.original = e.Meta(metaTenant), e.Meta(metaImageID), e.VersionID, original
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// see keeps the earliest due date that lies ahead.
func (s *pass) see(due time.Time) {
	if due.After(s.now) && (s.next.IsZero() || due.Before(s.next)) {
		s.next = due
	}
}

// line begins a line about the life; ok is false for one that the ledger cannot name.
func (s *pass) line(i *image, action Action) (Line, bool) {
	if i.id == "" {
		return Line{}, false
	}
	return Line{
		Action: action, Scope: ScopeArchive, Image: s.p.cfg.Ledger.HMAC(i.tenant, i.id), Hour: i.hour,
		ExpiresAt: i.dueAt(), Policy: i.policy, Count: i.blobs,
	}, true
}

// recordStored tells the ledger of lives that it does not know, or knows with another expiry, and of holds that have
// begun or ended to matter.
func (s *pass) recordStored(ctx context.Context, images map[string]*image) error {
	open := s.p.cfg.Ledger.openLives()
	var lines []Line
	for _, i := range images {
		l, ok := s.line(i, ActionStored)
		if !ok {
			continue
		}
		if known, is := open[l.life()]; !is || !known.ExpiresAt.Equal(l.ExpiresAt) {
			lines = append(lines, l)
			s.report.Stored++
		}
		was := s.p.cfg.Ledger.isHeld(l.life())
		stopped := i.held && !s.now.Before(i.dueAt())
		if stopped != was && (stopped || !i.held) {
			l.Action = ActionHeld
			if was {
				l.Action = ActionReleased
			}
			lines = append(lines, l)
		}
	}
	return s.p.cfg.Ledger.Append(ctx, lines...)
}

// purgeArchive empties what is due and then tells the ledger, also of lives whose purge an earlier process finished
// without having told it.
func (s *pass) purgeArchive(ctx context.Context, images map[string]*image) error {
	e := emptier{c: s.p.cfg.Archive.c, include: everything, clear: s.p.cfg.Archive.Mutable()}
	var lines []Line
	present := map[string]bool{} // lives, and hours with something of which it is not known whose life it is
	for _, i := range images {
		l, named := s.line(i, ActionPurged)
		key := i.hour
		if named {
			key = l.life()
		}
		due := i.dueAt()
		s.see(due)
		if due.IsZero() || s.now.Before(due) {
			present[key] = true
			continue
		}
		if i.held {
			present[key] = true
			s.report.Held += i.blobs
			continue
		}
		n, whole := s.emptyAll(ctx, e, i)
		s.report.Purged += n
		if !whole {
			present[key] = true
			if s.now.Sub(due) > grace {
				s.report.Overdue += i.blobs
			}
			continue
		}
		s.report.Gone++
		if named {
			present[key] = true // told here
			l.Count, l.At = n, s.p.cfg.Clock.Now().UTC().Truncate(time.Second)
			lines = append(lines, l)
		}
	}
	for life, known := range s.p.cfg.Ledger.openLives() {
		if !present[life] && !present[known.Hour] && !s.now.Before(known.ExpiresAt) {
			known.Action, known.Count, known.At = ActionPurged, 0, time.Time{}
			lines = append(lines, known)
		}
	}
	return s.p.cfg.Ledger.Append(ctx, lines...)
}

// emptyAll empties every name of a life, the original last, so that what remains after a crash can still be named.
func (s *pass) emptyAll(ctx context.Context, e emptier, i *image) (n int, whole bool) {
	var last []string
	var first []string
	for name := range i.names {
		if strings.HasPrefix(name, "raw/") {
			last = append(last, name)
		} else {
			first = append(first, name)
		}
	}
	whole = true
	for _, names := range [][]string{first, last} {
		k, ok := s.emptyNames(ctx, e, names)
		n, whole = n+k, whole && ok
		if !ok {
			break
		}
	}
	return n, whole
}

// emptyNames empties names in parallel and keeps the first fault.
func (s *pass) emptyNames(ctx context.Context, e emptier, names []string) (int, bool) {
	var g errgroup.Group
	g.SetLimit(purgeParallel)
	var mu sync.Mutex
	total, whole := 0, true
	for _, name := range names {
		g.Go(func() error {
			n, err := e.empty(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			total += n
			if err != nil {
				whole = false
				s.fail(err)
			}
			return nil
		})
	}
	_ = g.Wait() // faults are kept by fail
	return total, whole
}

// fail counts a name that could not be emptied. The name stays out of the error: it holds an image_id, and logs are
// not purged.
func (s *pass) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Failed++
	if s.fault == nil {
		s.fault = err
	}
}

// sweepStaging deletes what has expired and what nobody has claimed for a day.
func (s *pass) sweepStaging(ctx context.Context) error {
	if s.p.cfg.Staging == nil {
		return nil
	}
	e := emptier{c: s.p.cfg.Staging.c, include: everything, clear: true}
	var names []string
	err := each(ctx, e.c, "", everything, func(b Entry) error {
		due, err := s.stagingDue(ctx, b)
		if err != nil {
			return err
		}
		s.see(due)
		if !s.now.Before(due) && (len(names) == 0 || names[len(names)-1] != b.Name) {
			names = append(names, b.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	n, _ := s.emptyNames(ctx, e, names)
	s.report.Staging = n
	return s.sweptLine(ctx, ScopeStaging, n)
}

// stagingDue is when a staged blob must go.
func (s *pass) stagingDue(ctx context.Context, b Entry) (time.Time, error) {
	if b.Uncommitted {
		return stagingHour(b.Name, s.now).Add(unclaimedAfter + time.Hour), nil
	}
	due := b.ExpiresAt()
	if due.IsZero() {
		due = b.Created.Add(s.p.cfg.Keep)
	}
	unclaimed := b.Created.Add(unclaimedAfter)
	if s.p.cfg.Claimed == nil || !unclaimed.Before(due) {
		return due, nil
	}
	if s.now.Before(unclaimed) {
		s.see(unclaimed)
		return due, nil
	}
	claimed, err := s.p.cfg.Claimed(ctx, b.Name)
	if err != nil {
		return due, fmt.Errorf("azblob: ask for the record of a staged blob: %w", err)
	}
	if !claimed {
		return unclaimed, nil
	}
	return due, nil
}

// stagingHour is the hour in incoming/yyyy/mm/dd/hh/uuid; another name counts from now on.
func stagingHour(name string, now time.Time) time.Time {
	parts := strings.Split(name, "/")
	if len(parts) < 6 {
		return now
	}
	t, err := time.Parse("2006/01/02/15", strings.Join(parts[1:5], "/"))
	if err != nil {
		return now
	}
	return t
}

// sweepAnalytics deletes the files whose earliest row has expired.
func (s *pass) sweepAnalytics(ctx context.Context) error {
	if s.p.analytics == nil {
		return nil
	}
	e := emptier{c: s.p.analytics, include: withoutVersions, clear: true}
	var names []string
	err := each(ctx, e.c, "", withoutVersions, func(b Entry) error {
		due := b.ExpiresAt()
		if due.IsZero() {
			return nil
		}
		s.see(due)
		if !s.now.Before(due) {
			names = append(names, b.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	n, _ := s.emptyNames(ctx, e, names)
	s.report.Analytics = n
	return s.sweptLine(ctx, ScopeAnalytics, n)
}

// sweptLine tells the ledger how much went.
func (s *pass) sweptLine(ctx context.Context, scope string, n int) error {
	if n == 0 {
		return nil
	}
	return s.p.cfg.Ledger.Append(ctx, Line{Action: ActionPurged, Scope: scope, Count: n})
}
