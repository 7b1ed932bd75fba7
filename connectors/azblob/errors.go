package azblob

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

var (
	// ErrNotFound says that there is no such blob.
	ErrNotFound = errors.New("azblob: no such blob")

	// ErrExpired says that an object came to the archive at or after its expiry and was not archived.
	ErrExpired = errors.New("azblob: the object has expired and is not archived")

	// ErrLedgerMoved says that the ledger has grown by another hand since it was read. Reading it again helps.
	ErrLedgerMoved = errors.New("azblob: the ledger has another writer, or an append of ours whose answer was lost")
)

// codeLegalHold is the refusal that azblob has no constant for.
const codeLegalHold bloberror.Code = "BlobImmutableDueToLegalHold"

// MutableError says that an archive's container cannot promise immutability, or a sure purge.
type MutableError struct {
	Container string
	Why       string
}

// Error names the container and the remedy.
func (e *MutableError) Error() string {
	return fmt.Sprintf("azblob: container %s: %s; make it with version-level immutability in an account without soft "+
		"delete, or say --allow-mutable-archive", e.Container, e.Why)
}

// DigestError says that a blob of the archive holds other bytes than those that were to be stored under its name.
type DigestError struct {
	Name       string
	Have, Want string // SHA-256 in hexadecimal; Have is empty for a blob that was not written by us
}

// Error names the blob.
func (e *DigestError) Error() string {
	return fmt.Sprintf("azblob: %s holds other bytes (sha256 %q) than those to be archived (%q)", e.Name, e.Have, e.Want)
}

// PromiseError says that a blob was written and that the storage does not protect it as asked.
type PromiseError struct {
	Name  string
	Want  time.Time
	Until time.Time // zero: no policy
	Mode  string
}

// Error names the blob and what the storage says about it.
func (e *PromiseError) Error() string {
	return fmt.Sprintf("azblob: %s should be locked until %s, the storage says %q until %s: it does not keep policies",
		e.Name, e.Want.Format(time.RFC3339), e.Mode, e.Until.Format(time.RFC3339))
}

// TooLargeError says that a blob has more bytes than the reader allows.
type TooLargeError struct {
	Name        string
	Size, Limit int64
}

// Error names the blob.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("azblob: %s has %d bytes, at most %d are read", e.Name, e.Size, e.Limit)
}

// storageError is a failure of a request in words that name no blob and no signature: azcore's own text has the whole
// URL, and logs are not purged. The original is reached by errors.As.
type storageError struct {
	text string
	err  error
}

// Error says what the storage answered, or why it could not be asked.
func (e *storageError) Error() string { return e.text }

// Unwrap is the original error.
func (e *storageError) Unwrap() error { return e.err }

// brief is err as a storageError where it comes from a request.
func brief(err error) error {
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		text := fmt.Sprintf("the storage answered %d %s", answer.StatusCode, answer.ErrorCode)
		if r := answer.RawResponse; r != nil && r.Header.Get("X-Ms-Request-Id") != "" {
			text += " (request " + r.Header.Get("X-Ms-Request-Id") + ")"
		}
		return &storageError{text: text, err: err}
	}
	if request, ok := errors.AsType[*url.Error](err); ok {
		return &storageError{text: fmt.Sprintf("%s: %v", strings.ToLower(request.Op), request.Err), err: err}
	}
	return err
}

// notFound turns the storage's answers for an absent blob or version into ErrNotFound.
func notFound(err error) error {
	if bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ResourceNotFound) {
		return ErrNotFound
	}
	if e, ok := errors.AsType[*azcore.ResponseError](err); ok && e.StatusCode == http.StatusNotFound && e.ErrorCode == "" {
		return ErrNotFound // a HEAD that a proxy stripped of its code
	}
	return brief(err)
}
