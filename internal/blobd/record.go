package blobd

import (
	"maps"
	"slices"
	"time"
)

// stampLayout is how Azure writes version ids and snapshot times: UTC with seven digits of a second.
const stampLayout = "2006-01-02T15:04:05.0000000Z"

// stamp is a moment in steps of 100 ns since 1970. A Server never gives the same one twice, so stamps name versions,
// snapshots and entity tags even while the clock stands still.
type stamp int64

func stampOf(t time.Time) stamp { return stamp(t.UnixNano() / 100) }
func (s stamp) time() time.Time { return time.Unix(0, int64(s)*100).UTC() }
func (s stamp) String() string  { return s.time().Format(stampLayout) }

// parseStamp reads a version id or snapshot time; ok is false for anything a Server would not have written.
func parseStamp(text string) (stamp, bool) {
	t, err := time.Parse(stampLayout, text)
	if err != nil {
		return 0, false
	}
	return stampOf(t), true
}

// policy is a version's time-based retention. A locked one only ever gets longer.
type policy struct {
	Until  time.Time `json:"until"`
	Locked bool      `json:"locked,omitempty"`
}

func (p *policy) mode() string {
	if p.Locked {
		return "locked"
	}
	return "unlocked"
}

// segment is a run of bytes in a file of the blob's folder. Versions and snapshots share segments.
type segment struct {
	File  string `json:"file"`
	Size  int64  `json:"size"`
	Block string `json:"block,omitempty"` // the block's id in base64, when it came by Put Block
}

// content are the properties that a client sets and gets back as HTTP headers.
type content struct {
	Type         string `json:"type,omitempty"`
	Encoding     string `json:"encoding,omitempty"`
	Language     string `json:"language,omitempty"`
	Disposition  string `json:"disposition,omitempty"`
	CacheControl string `json:"cache_control,omitempty"`
	MD5          string `json:"md5,omitempty"` // base64
}

// version is one state of a blob: the current one, a previous one or a snapshot. Once it is reachable from a
// published state it is never changed; a change makes a copy.
type version struct {
	ID       stamp             `json:"id,omitempty"`       // 0: written while versioning was off
	Snapshot stamp             `json:"snapshot,omitempty"` // 0: no snapshot
	ETag     stamp             `json:"etag"`
	Created  time.Time         `json:"created"`
	Modified time.Time         `json:"modified"`
	Size     int64             `json:"size"`
	Segments []segment         `json:"segments,omitempty"`
	Content  content           `json:"content"`
	Meta     map[string]string `json:"meta,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Tier     string            `json:"tier,omitempty"`
	TierSet  time.Time         `json:"tier_set,omitzero"`
	Policy   *policy           `json:"policy,omitempty"`
	Hold     bool              `json:"hold,omitempty"`
	Deleted  time.Time         `json:"deleted,omitzero"` // when it was soft-deleted
	Keep     time.Duration     `json:"keep,omitempty"`   // the retention in force at that moment
}

func (v *version) clone() *version {
	w := *v
	if v.Policy != nil {
		p := *v.Policy
		w.Policy = &p
	}
	w.Meta = maps.Clone(v.Meta)
	w.Tags = maps.Clone(v.Tags)
	return &w
}

// alive says that v is there at all: not soft-deleted longer than its retention.
func (v *version) alive(now time.Time) bool {
	return v.Deleted.IsZero() || now.Before(v.Deleted.Add(v.Keep))
}

// protection is the reason for which v may not be deleted at now, or "".
func (v *version) protection(now time.Time) errorCode {
	switch {
	case v.Hold:
		return codeImmutableHold
	case v.Policy != nil && now.Before(v.Policy.Until):
		return codeImmutablePolicy
	}
	return ""
}

// state is everything a blob name stands for. A published state is never changed.
type state struct {
	Name      string     `json:"name"`
	Epoch     int64      `json:"epoch"` // uncommitted blocks of an older epoch are void
	Current   *version   `json:"current,omitempty"`
	Previous  []*version `json:"previous,omitempty"`  // ascending by ID
	Snapshots []*version `json:"snapshots,omitempty"` // ascending by Snapshot

	// Gone is the base blob that soft delete keeps where versioning is off; nil whenever Current is not.
	Gone *version `json:"gone,omitempty"`
}

func (s *state) clone() *state {
	t := *s
	t.Previous = slices.Clone(s.Previous)
	t.Snapshots = slices.Clone(s.Snapshots)
	return &t
}

func (s *state) empty() bool {
	return s.Current == nil && s.Gone == nil && len(s.Previous) == 0 && len(s.Snapshots) == 0
}

// all calls f with every version and snapshot, the current one included, until f says false.
func (s *state) all(f func(*version) bool) {
	for _, list := range [][]*version{s.Snapshots, s.Previous} {
		for _, v := range list {
			if !f(v) {
				return
			}
		}
	}
	if s.Gone != nil && !f(s.Gone) {
		return
	}
	if s.Current != nil {
		f(s.Current)
	}
}

// files is the set of segment files that the state names.
func (s *state) files() map[string]bool {
	out := map[string]bool{}
	s.all(func(v *version) bool {
		for _, g := range v.Segments {
			out[g.File] = true
		}
		return true
	})
	return out
}

// newest is the largest stamp in the state, so that a Server that opens it goes on above it.
func (s *state) newest() stamp {
	var top stamp
	s.all(func(v *version) bool {
		top = max(top, v.ID, v.Snapshot, v.ETag)
		return true
	})
	return top
}

// expire is the state without what soft delete no longer keeps at now; it is s itself when nothing is due.
func (s *state) expire(now time.Time) *state {
	due := false
	s.all(func(v *version) bool {
		due = due || !v.alive(now)
		return !due
	})
	if !due {
		return s
	}
	t := s.clone()
	gone := func(v *version) bool { return !v.alive(now) }
	t.Previous = slices.DeleteFunc(t.Previous, gone)
	t.Snapshots = slices.DeleteFunc(t.Snapshots, gone)
	if t.Gone != nil && gone(t.Gone) {
		t.Gone = nil
	}
	return t
}

// containerRecord is container.json.
type containerRecord struct {
	Name          string            `json:"name"`
	Created       time.Time         `json:"created"`
	Modified      time.Time         `json:"modified"`
	ETag          stamp             `json:"etag"`
	Meta          map[string]string `json:"meta,omitempty"`
	Immutable     bool              `json:"immutable_with_versioning,omitempty"`
	DefaultDays   int               `json:"default_days,omitempty"`
	DefaultLocked bool              `json:"default_locked,omitempty"`
}

// serviceRecord is service.json: what Set Blob Service Properties changed.
type serviceRecord struct {
	SoftDeleteDays int  `json:"soft_delete_days"`
	AllowPermanent bool `json:"allow_permanent_delete"`
}
