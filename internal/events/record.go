package events

import "time"

// Blob names a blob by container and name.
type Blob struct {
	Container string `json:"container"`
	Name      string `json:"name"`
}

// RawImage is one receipt of an image. ImageID follows from Tenant and SHA256; the blob is written before the record.
type RawImage struct {
	ImageID     string
	Tenant      string
	Origin      string    // OriginAPI or OriginFeed
	ReceivedAt  time.Time // UTC, whole milliseconds
	ExpiresAt   time.Time // ExpiresAt(ReceivedAt)
	ContentType string    // sniffed
	Bytes       int64
	SHA256      [32]byte
	Blob        Blob   // unique per receipt
	Trace       string // W3C traceparent, or ""
}

// ImageStatus says that an image reached a status. Pointers are nil where nothing is known yet.
type ImageStatus struct {
	ImageID      string
	Tenant       string
	Status       Status
	At           time.Time
	ErrorCode    *string // one of the Code constants; nil when there is no error
	Attempt      int     // 1 and up, within one life
	Error        string  // for people
	Receipt      string  // staging blob of the receipt it is about
	ExpiresAt    time.Time
	TenantClass  string
	Origin       string
	Duplicate    bool // about another receipt of a living image; its status is accepted
	Format       string
	Bytes        *int64
	Width        *int32
	Height       *int32
	ProcessingMS *int32
	Archive      []ArchivedBlob
}

// ArchivedBlob is a blob of an image in the archive; VersionID is the protected version, which is the one to serve.
type ArchivedBlob struct {
	Name      string `json:"name"`
	VersionID string `json:"version_id"`
	Bytes     int64  `json:"bytes"`
}

// ProcessedImage is an image that decoded. It carries its RawImage's fields, and Raw gives them back.
type ProcessedImage struct {
	ImageID     string
	Tenant      string
	Origin      string
	ReceivedAt  time.Time
	ExpiresAt   time.Time
	ContentType string
	Bytes       int64
	SHA256      [32]byte
	Blob        Blob
	Trace       string
	TenantClass string
	Source      string // topic/partition/offset of the first receipt
	Attempt     int
	StartedAt   time.Time
	Format      string // jpeg, png, gif or webp
	Width       int32
	Height      int32
	Frames      int32
	Derivatives []Derivative
	Steps       []StepResult
}

// Raw is the receipt behind a processed image.
func (p ProcessedImage) Raw() RawImage {
	return RawImage{
		ImageID: p.ImageID, Tenant: p.Tenant, Origin: p.Origin, ReceivedAt: p.ReceivedAt, ExpiresAt: p.ExpiresAt,
		ContentType: p.ContentType, Bytes: p.Bytes, SHA256: p.SHA256, Blob: p.Blob, Trace: p.Trace,
	}
}

// Derivative is what a step made of an image. Width and Height are 0 where it is no picture.
type Derivative struct {
	Name        string
	Step        string
	Version     string
	ContentType string
	Bytes       int64
	SHA256      [32]byte
	Width       int32
	Height      int32
	Blob        Blob // in staging until the image is archived
}

// StepResult is a step that ran for an image; Error is "" when it succeeded.
type StepResult struct {
	Step    string
	Version string
	Error   string
}
