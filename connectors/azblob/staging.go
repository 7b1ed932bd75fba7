package azblob

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/google/uuid"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

// stagingBlock is how many bytes of an upload are in memory at a time.
const stagingBlock = 4 << 20

// StagingConfig says where bytes wait and for how long at most.
type StagingConfig struct {
	// Clock decides expires_at. Default: the machine's clock.
	Clock clock.Clock

	// Container is the container's name.
	Container string

	// Keep is how long after its writing a blob may stay at most. Default: 168 h.
	Keep time.Duration
}

// Staging is where bytes wait for the worker. Blobs in it are mutable and carry expires_at, at which the Purger takes
// them if nobody has before. Safe for concurrent use.
type Staging struct {
	cfg     StagingConfig
	c       *container.Client
	buffers sync.Pool
}

// NewStaging returns the staging of an account.
func NewStaging(a *Account, cfg StagingConfig) *Staging {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	if cfg.Keep <= 0 {
		cfg.Keep = events.Retention
	}
	s := &Staging{cfg: cfg, c: a.Container(cfg.Container)}
	s.buffers.New = func() any { return new([stagingBlock]byte) }
	return s
}

// Container is the container's name.
func (s *Staging) Container() string { return s.cfg.Container }

// Put writes a blob that expires Keep after now; see PutUntil.
func (s *Staging) Put(ctx context.Context, name, contentType string, body io.Reader, size int64) error {
	return s.PutUntil(ctx, name, contentType, body, size, events.Expiry(s.cfg.Clock.Now(), s.cfg.Keep))
}

// PutUntil writes a blob that expires at a given time, replacing one of that name, so that a replay which uses the name
// of its first attempt leaves one blob. size is -1 when it is not known; a body of another size is an error. It holds
// 4 MiB at most. When body fails, so does PutUntil with body's error wrapped, and there is no new blob.
func (s *Staging) PutUntil(ctx context.Context, name, contentType string, body io.Reader, size int64, expiresAt time.Time) error {
	buf, ok := s.buffers.Get().(*[stagingBlock]byte)
	if !ok {
		buf = new([stagingBlock]byte)
	}
	defer s.buffers.Put(buf)
	n, last, err := fill(body, buf[:])
	if err != nil {
		return err
	}
	b := s.c.NewBlockBlobClient(name)
	headers := &blob.HTTPHeaders{BlobContentType: &contentType}
	meta := map[string]*string{metaExpiresAt: new(formatTime(expiresAt))}
	if !last {
		return s.putBlocks(ctx, b, buf[:], body, size, &blockblob.CommitBlockListOptions{HTTPHeaders: headers, Metadata: meta})
	}
	if err := checkSize(name, int64(n), size); err != nil {
		return err
	}
	_, err = b.Upload(ctx, streaming.NopCloser(bytes.NewReader(buf[:n])), &blockblob.UploadOptions{
		HTTPHeaders: headers, Metadata: meta, TransactionalValidation: blob.TransferValidationTypeMD5(md5Of(buf[:n])),
	})
	if err != nil {
		return fmt.Errorf("azblob: stage %s: %w", name, brief(err))
	}
	return nil
}

// putBlocks writes a blob of more than one buffer, the first of which is full. Blocks of an upload that fails are
// never committed and go with the Purger's sweep.
func (s *Staging) putBlocks(ctx context.Context, b *blockblob.Client, buf []byte, body io.Reader, size int64, o *blockblob.CommitBlockListOptions) error {
	var ids []string
	upload := uuid.New() // keeps the blocks of two attempts apart
	n, last, total := len(buf), false, int64(0)
	for {
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(upload[:], "%08d", len(ids)))
		_, err := b.StageBlock(ctx, id, streaming.NopCloser(bytes.NewReader(buf[:n])), &blockblob.StageBlockOptions{
			TransactionalValidation: blob.TransferValidationTypeMD5(md5Of(buf[:n])),
		})
		if err != nil {
			return fmt.Errorf("azblob: stage a block: %w", brief(err))
		}
		ids = append(ids, id)
		total += int64(n)
		if last {
			break
		}
		if n, last, err = fill(body, buf); err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	if err := checkSize("staging", total, size); err != nil {
		return err
	}
	if _, err := b.CommitBlockList(ctx, ids, o); err != nil {
		return fmt.Errorf("azblob: stage: %w", brief(err))
	}
	return nil
}

// fill reads until buf is full or body ends, and says whether it has ended.
func fill(body io.Reader, buf []byte) (n int, last bool, err error) {
	n, err = io.ReadFull(body, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, true, nil
	}
	if err != nil {
		return n, false, fmt.Errorf("azblob: read the body: %w", err)
	}
	return n, false, nil
}

func checkSize(name string, got, want int64) error {
	if want >= 0 && got != want {
		return fmt.Errorf("azblob: the body for %s has %d bytes, %d were declared: %w", name, got, want, io.ErrUnexpectedEOF)
	}
	return nil
}

// Info is what staging knows of a blob besides its bytes.
type Info struct {
	Size        int64
	ContentType string
	ExpiresAt   time.Time
}

// Open reads a blob of at most limit bytes: ErrNotFound when there is none, a *TooLargeError when it has more.
func (s *Staging) Open(ctx context.Context, name string, limit int64) (io.ReadCloser, Info, error) {
	resp, err := s.c.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, Info{}, fmt.Errorf("azblob: read %s: %w", name, notFound(err))
	}
	info := Info{Size: val(resp.ContentLength), ContentType: val(resp.ContentType),
		ExpiresAt: parseTime(lowerKeys(resp.Metadata)[metaExpiresAt])}
	if info.Size > limit {
		return nil, info, errors.Join(&TooLargeError{Name: name, Size: info.Size, Limit: limit}, resp.Body.Close())
	}
	return resp.NewRetryReader(ctx, nil), info, nil
}

// Read is Open and the whole content.
func (s *Staging) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, info, err := s.Open(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	b := make([]byte, info.Size)
	_, err = io.ReadFull(r, b)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("azblob: read %s: %w", name, err)
	}
	return b, nil
}

// Delete removes a blob; that there is none is no error.
func (s *Staging) Delete(ctx context.Context, name string) error {
	_, err := s.c.NewBlobClient(name).Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: new(blob.DeleteSnapshotsOptionTypeInclude)})
	if err = notFound(err); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("azblob: delete %s: %w", name, err)
	}
	return nil
}
