package events

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Image is the life of an image: what the worker's store and its changelog hold by image_id, as JSON. It begins with
// the first receipt and ends by a tombstone at ExpiresAt. It holds no bytes and stays small: a few hundred bytes and
// some per derivative. Its one writer is the worker's task of the image_id; everybody else reads it.
type Image struct {
	ImageID     string           `json:"image_id"`
	Tenant      string           `json:"tenant"`
	TenantClass string           `json:"tenant_class,omitempty"`
	Origin      string           `json:"origin"`
	Status      Status           `json:"status"`
	Attempt     int              `json:"attempt"`
	History     []Moment         `json:"history"`
	First       Receipt          `json:"first"`
	Work        int64            `json:"work"` // offset of the record behind the current attempt: First's, or a redrive's
	Seen        Seen             `json:"seen"`
	ContentType string           `json:"content_type"`
	Bytes       int64            `json:"bytes"`
	SHA256      string           `json:"sha256"` // hexadecimal
	Format      string           `json:"format,omitempty"`
	Width       int32            `json:"width,omitempty"`
	Height      int32            `json:"height,omitempty"`
	Frames      int32            `json:"frames,omitempty"`
	Derivatives []DerivativeView `json:"derivatives,omitempty"`
	Archive     []ArchivedBlob   `json:"archive,omitempty"`
	ReceivedAt  time.Time        `json:"received_at"`
	ExpiresAt   time.Time        `json:"expires_at"`
	Processed   bool             `json:"processed,omitempty"` // a ProcessedImage was said in this attempt
	ErrorCode   string           `json:"error_code,omitempty"`
	Error       string           `json:"error,omitempty"`
}

// Moment is a status and when it was reached.
type Moment struct {
	Status Status    `json:"status"`
	At     time.Time `json:"at"`
}

// Receipt is where a life began: the record in raw-images and its staging blob, whose name nobody uses twice.
type Receipt struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Blob      string `json:"blob"`
}

// Seen is how far the receipts of an image have been decided about: the highest offset and the latest time of receipt. What
// is not beyond either was decided before, and is read again after a crash. (The time tells the receipts of a topic that
// was made anew, whose offsets begin at 0.)
type Seen struct {
	Offset     int64     `json:"offset"`
	ReceivedAt time.Time `json:"received_at"`
}

// Has says whether a receipt was decided about.
func (s Seen) Has(offset int64, received time.Time) bool {
	return offset <= s.Offset && !received.After(s.ReceivedAt)
}

// Add notes that it is.
func (s *Seen) Add(offset int64, received time.Time) {
	s.Offset = max(s.Offset, offset)
	if received.After(s.ReceivedAt) {
		s.ReceivedAt = received
	}
}

// DerivativeView is a Derivative as readers see it.
type DerivativeView struct {
	Name        string `json:"name"`
	Step        string `json:"step"`
	Version     string `json:"version"`
	ContentType string `json:"content_type"`
	Bytes       int64  `json:"bytes"`
	Width       int32  `json:"width,omitempty"`
	Height      int32  `json:"height,omitempty"`
}

// Source is topic/partition/offset of the receipt, as the archive's metadata has it.
func (r Receipt) Source() string {
	return fmt.Sprintf("%s/%d/%d", TopicRawImages, r.Partition, r.Offset)
}

// Reach appends a status to the history and makes it the current one. Reaching the same status at the same moment
// again changes nothing.
func (i *Image) Reach(s Status, at time.Time) {
	m := Moment{s, at.UTC()}
	if slices.ContainsFunc(i.History, func(o Moment) bool { return o.Status == s && o.At.Equal(at) }) {
		return
	}
	i.History = append(i.History, m)
	i.Status = s
}

// After is now, or a millisecond behind the latest moment where the clock has not moved on since or runs behind the
// door's: moments of one image are in the order of its statuses, and no two are equal.
func (i *Image) After(now time.Time) time.Time {
	now = now.UTC().Truncate(time.Millisecond)
	if n := len(i.History); n > 0 && !now.After(i.History[n-1].At) {
		return i.History[n-1].At.Add(time.Millisecond)
	}
	return now
}

// Reached is when the current attempt reached s: the latest such moment.
func (i *Image) Reached(s Status) (time.Time, bool) {
	for _, m := range slices.Backward(i.History) {
		if m.Status == s {
			return m.At, true
		}
	}
	return time.Time{}, false
}

// Archived finds the archived blob of that name.
func (i *Image) Archived(name string) (ArchivedBlob, bool) {
	for _, b := range i.Archive {
		if b.Name == name {
			return b, true
		}
	}
	return ArchivedBlob{}, false
}

// RawBlob is the archived original; false before it is archived.
func (i *Image) RawBlob() (ArchivedBlob, bool) {
	return i.Archived(RawName(i.ReceivedAt, i.ImageID, i.ContentType))
}

// DerivativeBlob finds a derivative by its name, and its blob in the archive; the latest step that made it wins.
func (i *Image) DerivativeBlob(name string) (DerivativeView, ArchivedBlob, bool) {
	for _, d := range slices.Backward(i.Derivatives) {
		if d.Name != name {
			continue
		}
		n := DerivedName(i.ReceivedAt, i.ImageID, Derivative{Name: d.Name, Step: d.Step, Version: d.Version, ContentType: d.ContentType})
		b, ok := i.Archived(n)
		return d, b, ok
	}
	return DerivativeView{}, ArchivedBlob{}, false
}

// MarshalImage is the JSON of the changelog.
func MarshalImage(i Image) ([]byte, error) {
	b, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("events: image %s: %w", i.ImageID, err)
	}
	return b, nil
}

// UnmarshalImage reads a value of the changelog.
func UnmarshalImage(b []byte) (Image, error) {
	var i Image
	if err := json.Unmarshal(b, &i); err != nil {
		return Image{}, fmt.Errorf("events: changelog value is no image: %w", err)
	}
	return i, nil
}
