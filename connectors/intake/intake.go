// Package intake is the rule that all doors share on what comes in: which bytes are an image, what they are called, and
// that they are in staging before anybody hears of them.
package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/images"
)

// longestHeader is how far into its bytes an image may keep its size from us: cameras put previews and depth maps of
// some megabytes in front of it.
const longestHeader = 4 << 20

// footprint is what one image under way holds: the bytes in front of its size and their growth, or a block on its way to
// staging.
const footprint = 2 * longestHeader

// What keeps an image out although it may be one. A *images.Error is the image's own fault.
var (
	ErrTooLarge  = errors.New("intake: the image has too many bytes")
	ErrEmpty     = errors.New("intake: there are no bytes")
	ErrLateBytes = errors.New("intake: the header does not tell the size within its first 4 MiB")
	ErrBusy      = errors.New("intake: too many images are coming in at once")
	ErrStaging   = errors.New("intake: staging is away")
)

// BodyError is a failure to read what comes in: not the image's fault and not ours.
type BodyError struct{ Err error }

// Error says what the reader said.
func (b *BodyError) Error() string { return "intake: reading the image: " + b.Err.Error() }

// Unwrap is the reader's error.
func (b *BodyError) Unwrap() error { return b.Err }

// Staging is where bytes wait for the worker.
type Staging interface {
	// Container is the container's name, for the record.
	Container() string
	// Put writes a blob, replacing one of that name; size is -1 when it is not known. When body fails, so does Put, and
	// there is no blob.
	Put(ctx context.Context, name, contentType string, body io.Reader, size int64) error
	// Delete removes a blob; that there is none is no error.
	Delete(ctx context.Context, name string) error
}

// Config is what an Intake is made of.
type Config struct {
	Keep     time.Duration // how long an image is kept from its receipt. Default: events.Retention.
	Limits   images.Limits // pixels and sides. Default: those of package images.
	MaxBytes int64         // of one image. Default: 50 MiB.
	Memory   int64         // what all images under way may hold together. Default: 256 MiB.
	Staging  Staging       // Required.
}

// Intake takes images in. Safe for concurrent use.
type Intake struct {
	keep     time.Duration
	limits   images.Limits
	maxBytes int64
	memory   *semaphore.Weighted
	share    int64
	staging  Staging

	mu     sync.Mutex
	shares map[string]*semaphore.Weighted // by account
}

// New returns an Intake.
func New(c Config) (*Intake, error) {
	if c.Staging == nil {
		return nil, errors.New("intake: Staging is required")
	}
	if c.MaxBytes < 0 || c.Memory < 0 || c.Keep < 0 {
		return nil, errors.New("intake: Keep, MaxBytes and Memory must not be negative")
	}
	if c.Keep == 0 {
		c.Keep = events.Retention
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 50 << 20
	}
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	return &Intake{
		keep: c.Keep, limits: c.Limits, maxBytes: c.MaxBytes, staging: c.Staging,
		memory: semaphore.NewWeighted(c.Memory), share: max(c.Memory/2, 1), shares: map[string]*semaphore.Weighted{},
	}, nil
}

// MaxBytes is the most that one image may have.
func (i *Intake) MaxBytes() int64 { return i.maxBytes }

// Staging is where the Intake puts what it takes.
func (i *Intake) Staging() Staging { return i.staging }

// Staged is an image whose bytes are in staging. Nobody knows of it until its record is produced.
type Staged struct {
	Blob        events.Blob
	Bytes       int64
	ContentType string // as the bytes say
	SHA256      [sha256.Size]byte
	Width       int // as the header says, before orientation
	Height      int
}

// Reserve waits for the memory that one image of size bytes (-1: not known) needs on its way; the caller gives it back
// by the function it gets, once. No account, of which there are few, ever holds more than half of all memory, so that
// one tenant's slow uploads leave room for the others'. Its context bounds the wait: what it ends with is ErrBusy.
func (i *Intake) Reserve(ctx context.Context, account string, size int64) (release func(), err error) {
	n := int64(footprint)
	if size >= 0 {
		n = min(n, max(size, 64<<10))
	}
	n = min(n, i.share)
	share := i.shareOf(account)
	if err := share.Acquire(ctx, n); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err := i.memory.Acquire(ctx, n); err != nil {
		share.Release(n)
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return func() {
		i.memory.Release(n)
		share.Release(n)
	}, nil
}

func (i *Intake) shareOf(account string) *semaphore.Weighted {
	i.mu.Lock()
	defer i.mu.Unlock()
	s, ok := i.shares[account]
	if !ok {
		s = semaphore.NewWeighted(i.share)
		i.shares[account] = s
	}
	return s
}

// Take reads one image from body, refuses what is none, and stages it under name. size is the number of bytes that
// body will give, -1 when it is not known. It holds some megabytes at most, however large the image: the bytes in
// front of the size are kept until it is known, the others go on as they come.
//
// The error is an *images.Error, ErrTooLarge, ErrEmpty, ErrLateBytes, a *BodyError or ErrStaging; and whenever there
// is one, nothing was staged that the caller would have to remove.
func (i *Intake) Take(ctx context.Context, name string, body io.Reader, size int64) (Staged, error) {
	if size > i.maxBytes {
		return Staged{}, ErrTooLarge
	}
	m := &meter{r: body, sum: sha256.New(), most: i.maxBytes}
	head := &headReader{r: m}
	info, err := images.Header(head, i.limits)
	if err != nil {
		return Staged{}, m.fault(err)
	}
	s := Staged{
		Blob:        events.Blob{Container: i.staging.Container(), Name: name},
		ContentType: info.Format.ContentType(), Width: info.Width, Height: info.Height,
	}
	err = i.staging.Put(ctx, name, s.ContentType, io.MultiReader(bytes.NewReader(head.kept), m), size)
	if err == nil && (m.err != nil || !m.whole(size)) { // a storage that takes a broken body for a short one
		err = errors.Join(errShort, i.staging.Delete(context.WithoutCancel(ctx), name))
	}
	switch {
	case m.err != nil:
		return Staged{}, m.err
	case err != nil:
		return Staged{}, fmt.Errorf("%w: %w", ErrStaging, err)
	}
	s.Bytes = m.n
	m.sum.Sum(s.SHA256[:0])
	return s, nil
}

// Discard removes a staged image that will have no record. What it cannot remove goes with the purger's sweep for
// staged bytes without a record, so an error needs no retry.
func (i *Intake) Discard(ctx context.Context, s Staged) error {
	if err := i.staging.Delete(ctx, s.Blob.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrStaging, err)
	}
	return nil
}

// Receipt is a staged image's record in raw-images: received at that moment by that door for that tenant.
func (i *Intake) Receipt(s Staged, tenant, origin string, received time.Time, trace string) events.RawImage {
	received = received.UTC().Truncate(time.Millisecond)
	return events.RawImage{
		ImageID: events.ImageID(tenant, s.SHA256), Tenant: tenant, Origin: origin, ReceivedAt: received, ExpiresAt: events.Expiry(received, i.keep),
		ContentType: s.ContentType, Bytes: s.Bytes, SHA256: s.SHA256, Blob: s.Blob, Trace: trace,
	}
}

// meter counts and hashes what passes, and stops at the limit. Its error stays, so that one can tell afterwards whether
// reading or writing failed.
type meter struct {
	r    io.Reader
	sum  hash.Hash
	n    int64
	most int64
	end  bool  // all was read
	err  error // what ended it before
}

// errBroken is what readers of a meter see when it has failed: not the failure itself, which might be mistaken for the
// end of the body (io.ErrUnexpectedEOF is both).
var errBroken = errors.New("intake: the body cannot be read on")

// errShort says that staging did not take all that there was.
var errShort = errors.New("intake: staging took a part for the whole")

// whole says whether all of a body of size bytes (-1: not known) has passed.
func (m *meter) whole(size int64) bool { return m.end || m.n == size }

func (m *meter) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, errBroken
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.sum.Write(p[:n])
	switch {
	case m.n > m.most:
		m.err = ErrTooLarge
		return 0, errBroken
	case errors.Is(err, io.EOF):
		m.end = true
		return n, io.EOF
	case err != nil:
		m.err = &BodyError{err}
		return n, errBroken
	}
	return n, nil
}

// fault is what to say when err came of reading from m.
func (m *meter) fault(err error) error {
	switch {
	case m.err != nil:
		return m.err
	case m.n == 0:
		return ErrEmpty
	}
	return err
}

// headReader keeps what passes, up to the longest header.
type headReader struct {
	r    io.Reader
	kept []byte
}

func (h *headReader) Read(p []byte) (int, error) {
	if len(h.kept) >= longestHeader {
		return 0, ErrLateBytes
	}
	n, err := h.r.Read(p[:min(len(p), longestHeader-len(h.kept))])
	h.kept = append(h.kept, p[:n]...)
	return n, err
}
