package azblob

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/google/uuid"

	"github.com/millrun/millrun/internal/events"
)

// singlePut is up to how many bytes an object is sent in one request. Images are smaller by default; what is larger
// goes by blocks, because azblob's stream helpers cannot carry a policy.
const singlePut = 64 << 20

// archiveBlock is the size of those blocks.
const archiveBlock = 8 << 20

// Object is what goes into the archive under one name.
type Object struct {
	Name        string // events.RawName, DerivedName or MetadataName
	ContentType string
	ImageID     string
	Tenant      string
	Origin      string
	Source      string // topic/partition/offset of the receipt
	SHA256      string // of Body, in hexadecimal; empty means that Put computes it
	ExpiresAt   time.Time
	Body        io.ReadSeeker // read twice: for its digests, then for the transfer
}

// Stored is what the archive holds under an object's name.
type Stored struct {
	Blob      events.ArchivedBlob
	Existed   bool      // somebody, perhaps we ourselves, had stored it before
	SHA256    string    // of what is stored
	ExpiresAt time.Time // until when it is locked; as asked, or later where it existed
}

// Put stores an object, locked until its expiry, unless its name is taken: the first writer wins. The result is the
// version that is protected and that readers must ask for.
//
// ErrExpired: it is too late. *DigestError: an original of other bytes has the name (other objects may differ; Stored
// says what is there). *PromiseError: the storage does not keep the policy that it accepted. Any other error may pass.
func (a *Archive) Put(ctx context.Context, o Object) (Stored, error) {
	s, err := a.put(ctx, o)
	a.cfg.Metrics.countPut(s, err)
	return s, err
}

func (a *Archive) put(ctx context.Context, o Object) (Stored, error) {
	o.ExpiresAt = events.Expiry(o.ExpiresAt, 0)
	if !a.cfg.Clock.Now().Before(o.ExpiresAt) {
		return Stored{}, fmt.Errorf("%w: %s at %s", ErrExpired, o.Name, formatTime(o.ExpiresAt))
	}
	d, err := digest(o.Body)
	if err != nil {
		return Stored{}, err
	}
	if o.SHA256 != "" && o.SHA256 != d.sha {
		return Stored{}, fmt.Errorf("azblob: the bytes for %s have sha256 %s, not %s as said", o.Name, d.sha, o.SHA256)
	}
	version, err := a.upload(ctx, o, d)
	switch {
	case bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet):
		return a.existing(ctx, o, d.sha)
	case err != nil:
		return Stored{}, fmt.Errorf("azblob: archive %s: %w", o.Name, brief(err))
	}
	s := Stored{Blob: events.ArchivedBlob{Name: o.Name, VersionID: version, Bytes: d.size}, SHA256: d.sha, ExpiresAt: o.ExpiresAt}
	return s, a.confirm(ctx, s)
}

func (a *Archive) metadata(o Object, sha string) map[string]*string {
	meta := map[string]*string{}
	for k, v := range map[string]string{
		metaImageID: o.ImageID, metaSHA256: sha, metaTenant: o.Tenant, metaOrigin: o.Origin, metaSource: o.Source,
		metaArchivedAt: formatTime(a.cfg.Clock.Now()), metaExpiresAt: formatTime(o.ExpiresAt),
	} {
		if v != "" {
			meta[k] = new(v)
		}
	}
	return meta
}

// upload sends the object with its conditions and policy and returns the version's id.
func (a *Archive) upload(ctx context.Context, o Object, d digests) (string, error) {
	headers := &blob.HTTPHeaders{BlobContentType: &o.ContentType, BlobContentMD5: d.md5}
	once := &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: new(azcore.ETagAny)}}
	var until *time.Time
	var mode *blob.ImmutabilityPolicySetting
	if !a.Mutable() {
		until, mode = &o.ExpiresAt, new(blob.ImmutabilityPolicySettingLocked)
	}
	b := a.c.NewBlockBlobClient(o.Name)
	if d.size <= singlePut {
		resp, err := b.Upload(ctx, streaming.NopCloser(o.Body), &blockblob.UploadOptions{
			HTTPHeaders: headers, Metadata: a.metadata(o, d.sha), AccessConditions: once,
			TransactionalValidation:      blob.TransferValidationTypeMD5(d.md5),
			ImmutabilityPolicyExpiryTime: until, ImmutabilityPolicyMode: mode,
		})
		return val(resp.VersionID), err
	}
	ids, err := stageAll(ctx, b, o.Body)
	if err != nil {
		return "", err
	}
	resp, err := b.CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
		HTTPHeaders: headers, Metadata: a.metadata(o, d.sha), AccessConditions: once,
		ImmutabilityPolicyExpiryTime: until, ImmutabilityPolicyMode: mode,
	})
	return val(resp.VersionID), err
}

// stageAll sends body as blocks whose ids nobody else uses.
func stageAll(ctx context.Context, b *blockblob.Client, body io.Reader) ([]string, error) {
	var ids []string
	attempt := uuid.New()
	buf := make([]byte, archiveBlock)
	for {
		n, last, err := fill(body, buf)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			id := base64.StdEncoding.EncodeToString(fmt.Appendf(attempt[:], "%08d", len(ids)))
			_, err = b.StageBlock(ctx, id, streaming.NopCloser(bytes.NewReader(buf[:n])), &blockblob.StageBlockOptions{
				TransactionalValidation: blob.TransferValidationTypeMD5(md5Of(buf[:n])),
			})
			if err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
		if last {
			return ids, nil
		}
	}
}

// confirm reads the protection back. An upload's success alone proves nothing.
func (a *Archive) confirm(ctx context.Context, s Stored) error {
	if a.Mutable() {
		return nil
	}
	client, err := a.version(s.Blob.Name, s.Blob.VersionID)
	if err != nil {
		return err
	}
	props, err := client.GetProperties(ctx, nil)
	if err != nil {
		return fmt.Errorf("azblob: read back %s: %w", s.Blob.Name, brief(err))
	}
	until, mode := val(props.ImmutabilityPolicyExpiresOn).UTC(), string(val(props.ImmutabilityPolicyMode))
	if s.Blob.VersionID == "" || !strings.EqualFold(mode, "locked") || !until.Equal(s.ExpiresAt) {
		return &PromiseError{Name: s.Blob.Name, Want: s.ExpiresAt, Until: until, Mode: mode}
	}
	return nil
}

// existing finds the version that was stored first under the object's name. Later ones are somebody's overwrites,
// which are never served.
func (a *Archive) existing(ctx context.Context, o Object, sha string) (Stored, error) {
	entries, err := named(ctx, a.c, o.Name, everything)
	if err != nil {
		return Stored{}, err
	}
	first, ok := a.protected(entries)
	if !ok {
		if len(entries) == 0 {
			return Stored{}, fmt.Errorf("azblob: %s was there and is gone: try again", o.Name)
		}
		return Stored{}, &DigestError{Name: o.Name, Want: sha}
	}
	s := Stored{
		Blob:    events.ArchivedBlob{Name: o.Name, VersionID: first.VersionID, Bytes: first.Bytes},
		Existed: true, SHA256: first.Meta(metaSHA256), ExpiresAt: first.Until,
	}
	if s.SHA256 != sha && strings.HasPrefix(o.Name, "raw/") {
		return Stored{}, &DigestError{Name: o.Name, Have: s.SHA256, Want: sha}
	}
	if a.Mutable() {
		s.ExpiresAt = first.ExpiresAt()
		return s, nil
	}
	return a.extend(ctx, s, o.ExpiresAt)
}

// protected is the oldest version that was written by us and, where the storage can, locked.
func (a *Archive) protected(entries []Entry) (Entry, bool) {
	var first Entry
	found := false
	for _, e := range entries {
		if e.Snapshot != "" || e.Deleted || e.Uncommitted || e.Meta(metaSHA256) == "" || (!e.Locked && !a.Mutable()) {
			continue
		}
		if !found || e.VersionID < first.VersionID {
			first, found = e, true
		}
	}
	return first, found
}

// extend makes the protection last until a later expiry: the same bytes may begin a new life within the hour of one
// that ended early, and then share its name.
func (a *Archive) extend(ctx context.Context, s Stored, until time.Time) (Stored, error) {
	if !s.ExpiresAt.Before(until) {
		return s, nil
	}
	client, err := a.version(s.Blob.Name, s.Blob.VersionID)
	if err != nil {
		return Stored{}, err
	}
	_, err = client.SetImmutabilityPolicy(ctx, until, &blob.SetImmutabilityPolicyOptions{Mode: new(blob.ImmutabilityPolicySettingLocked)})
	if err != nil {
		return Stored{}, fmt.Errorf("azblob: extend the policy of %s: %w", s.Blob.Name, brief(err))
	}
	s.ExpiresAt = until
	return s, a.confirm(ctx, s)
}

// IsFinal says that trying an object again will not help: its expiry, its bytes or the storage itself are at fault.
func IsFinal(err error) bool {
	_, digest := errors.AsType[*DigestError](err)
	_, promise := errors.AsType[*PromiseError](err)
	return digest || promise || errors.Is(err, ErrExpired)
}
