package parquet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// Metadata of a file's blob. The purger deletes it at expires_at: the earliest of its rows.
const (
	metaExpires = "expires_at" // RFC 3339, UTC, whole seconds
	metaFirst   = "first_offset"
	metaLast    = "last_offset"
	metaRows    = "rows"
	metaDigest  = "sha256" // of the file
)

// fileLimit bounds a file that is read back, in bytes.
const fileLimit = 1 << 30

// errExists says that a file of that name is there.
var errExists = errors.New("parquet: the file exists")

// stored is what a file's metadata says.
type stored struct {
	last   int64
	digest string
}

// blobs is the container.
type blobs struct{ c *container.Client }

// find reads a file's metadata; false if there is none.
func (b blobs) find(ctx context.Context, name string) (stored, bool, error) {
	p, err := b.c.NewBlobClient(name).GetProperties(ctx, nil)
	if isStatus(err, http.StatusNotFound) {
		return stored{}, false, nil
	}
	if err != nil {
		return stored{}, false, fmt.Errorf("parquet: look for %s: %w", name, err)
	}
	meta := map[string]string{} // the SDK gives names as HTTP wrote them
	for k, v := range p.Metadata {
		if v != nil {
			meta[strings.ToLower(k)] = *v
		}
	}
	last, err := strconv.ParseInt(meta[metaLast], 10, 64)
	if err != nil {
		return stored{}, false, fmt.Errorf("parquet: %s has no %s in its metadata, so it is none of ours: move it away", name, metaLast)
	}
	return stored{last, meta[metaDigest]}, true, nil
}

// put makes a file visible in one step, or says errExists. A retry inside the SDK may meet its own first attempt: the
// caller then finds the file it wanted to write.
func (b blobs) put(ctx context.Context, name string, content []byte, meta map[string]string) error {
	metadata := map[string]*string{}
	for k, v := range meta {
		metadata[k] = &v
	}
	kind, never := "application/vnd.apache.parquet", azcore.ETagAny
	_, err := b.c.NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(bytes.NewReader(content)), &blockblob.UploadOptions{
		Metadata:                metadata,
		HTTPHeaders:             &blob.HTTPHeaders{BlobContentType: &kind},
		AccessConditions:        &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &never}},
		TransactionalValidation: blob.TransferValidationTypeComputeCRC64(),
	})
	switch {
	case isStatus(err, http.StatusConflict), isStatus(err, http.StatusPreconditionFailed):
		return errExists
	case err != nil:
		return fmt.Errorf("parquet: write %s: %w", name, err)
	}
	return nil
}

// read is a file's bytes.
func (b blobs) read(ctx context.Context, name string) ([]byte, error) {
	r, err := b.c.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("parquet: read %s: %w", name, err)
	}
	defer func() { _ = r.Body.Close() }() // only read from
	content, err := io.ReadAll(io.LimitReader(r.Body, fileLimit))
	if err != nil {
		return nil, fmt.Errorf("parquet: read %s: %w", name, err)
	}
	return content, nil
}

func isStatus(err error, code int) bool {
	answer, ok := errors.AsType[*azcore.ResponseError](err)
	return ok && answer.StatusCode == code
}

func digestOf(b []byte) string {
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:])
}

// stamp is a time as metadata has it. An expiry is cut down to the second: a file may go early, never late.
func stamp(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }
