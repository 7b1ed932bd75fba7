package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
)

// archive tries what must not be possible, with the storage account's own key.
func (s *story) archive(ctx context.Context) error {
	s.rep.step(4, "The archive keeps each image for seven days, whoever asks")
	in := s.in.Config.Blob.Containers.Archive
	raw := map[string]string{} // name by image_id
	s.rep.check("the archive holds each whole picture once, and metadata of each", func() (string, error) {
		return s.archiveHolds(ctx, in, raw)
	})
	s.rep.check("each is byte-equal and locked until 168 h after its receipt", func() (string, error) { return s.locked(ctx, in, raw) })
	s.rep.check("staging is empty: nothing is kept twice", func() (string, error) {
		return "", await(ctx, 30*time.Second, func() error {
			names, err := s.blobs.names(ctx, s.in.Config.Blob.Containers.Staging, "")
			if err != nil || len(names) > 0 {
				return errors.Join(fmt.Errorf("%d blobs are left", len(names)), err)
			}
			return nil
		})
	})
	victim := firstAccepted(s.photos)
	s.tamper(ctx, in, raw[victim.id], victim)
	return ctx.Err()
}

func (s *story) archiveHolds(ctx context.Context, in string, raw map[string]string) (string, error) {
	names, err := s.blobs.names(ctx, in, "raw/")
	if err != nil {
		return "", err
	}
	for name, versions := range names {
		if p := s.accepted[imageOf(name)]; p == nil || versions != 1 {
			return "", fmt.Errorf("%s has %d versions; expected: %t", name, versions, p != nil)
		}
		raw[imageOf(name)] = name
	}
	metadata, err := s.blobs.names(ctx, in, "metadata/")
	if err != nil {
		return "", err
	}
	described := map[string]bool{}
	for name := range metadata {
		described[imageOf(name)] = true
	}
	for id, p := range s.accepted {
		if _, kept := raw[id]; kept != p.decodes || described[id] != p.decodes {
			return "", fmt.Errorf("%s (%s): raw %t, metadata %t, want both %t", p.name, id, kept, described[id], p.decodes)
		}
	}
	return fmt.Sprintf("%d images", len(raw)), nil
}

func (s *story) locked(ctx context.Context, in string, raw map[string]string) (string, error) {
	for id, name := range raw {
		b, err := s.blobs.read(ctx, in, name, "")
		if err != nil {
			return "", err
		}
		if sha256.Sum256(b) != s.accepted[id].sha {
			return "", fmt.Errorf("%s is not what was uploaded", name)
		}
		p, err := s.blobs.container(in).NewBlobClient(name).GetProperties(ctx, nil)
		if err != nil {
			return "", err
		}
		_, st, err := s.api.status(ctx, id)
		if err != nil {
			return "", err
		}
		if p.ImmutabilityPolicyMode == nil || *p.ImmutabilityPolicyMode != blob.ImmutabilityPolicyModeLocked || p.ImmutabilityPolicyExpiresOn == nil {
			return "", fmt.Errorf("%s has no locked policy", name)
		}
		if left := p.ImmutabilityPolicyExpiresOn.Sub(st.History[0].At); !p.ImmutabilityPolicyExpiresOn.Equal(st.ExpiresAt) || left < 168*time.Hour-time.Minute || left > 168*time.Hour+2*time.Second {
			return "", fmt.Errorf("%s is locked until %s, expires at %s, accepted %s before", name, p.ImmutabilityPolicyExpiresOn, st.ExpiresAt, left)
		}
	}
	return fmt.Sprintf("%d read back", len(raw)), nil
}

// tamper deletes and overwrites one image with all rights that the account's key gives.
func (s *story) tamper(ctx context.Context, in, name string, p *photo) {
	c := s.blobs.container(in).NewBlockBlobClient(name)
	props, err := c.GetProperties(ctx, nil)
	s.rep.check("a delete is refused by the storage", func() (string, error) {
		if err != nil {
			return "", err
		}
		_, err := c.Delete(ctx, nil)
		return wantCode(err, http.StatusConflict, "BlobImmutableDueToPolicy")
	})
	s.rep.check("a conditional overwrite is refused", func() (string, error) {
		_, err := c.Upload(ctx, body("forged"), &blockblob.UploadOptions{AccessConditions: &blob.AccessConditions{
			ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)},
		}})
		return wantCode(err, http.StatusConflict, "BlobAlreadyExists")
	})
	s.rep.check("an overwrite makes a new version; the protected one stays, and is what we serve", func() (string, error) {
		if _, err := c.Upload(ctx, body("forged"), nil); err != nil {
			return "", err
		}
		kept, err := s.blobs.read(ctx, in, name, *props.VersionID)
		if err != nil {
			return "", err
		}
		ans, err := s.api.get(ctx, "/v1/images/"+p.id+"/content")
		if err != nil {
			return "", err
		}
		if !bytes.Equal(kept, p.bytes) || !bytes.Equal(ans.body, p.bytes) {
			return "", fmt.Errorf("kept version equal: %t; served equal: %t (%d)", bytes.Equal(kept, p.bytes), bytes.Equal(ans.body, p.bytes), ans.code)
		}
		return "", nil
	})
}

// wantCode is satisfied by a refusal of the storage with this status and error code.
func wantCode(err error, status int, code string) (string, error) {
	var refusal *azcore.ResponseError
	if !errors.As(err, &refusal) {
		return "", fmt.Errorf("it was not refused: %w", errors.Join(err, errors.New("no answer of the storage")))
	}
	if refusal.StatusCode != status || refusal.ErrorCode != code {
		return "", fmt.Errorf("answered %d %s, want %d %s", refusal.StatusCode, refusal.ErrorCode, status, code)
	}
	return fmt.Sprintf("%d %s", status, code), nil
}

// readSeekNopCloser is what azblob wants of a body.
type readSeekNopCloser struct{ *bytes.Reader }

// Close does nothing.
func (readSeekNopCloser) Close() error { return nil }

func body(text string) readSeekNopCloser { return readSeekNopCloser{bytes.NewReader([]byte(text))} }
