package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/internal/events"
)

// store puts the original, the derivatives and the metadata into the archive, in this order, and returns what is there.
// Its error is azblob.ErrExpired, a *fault, a broken promise of the archive, or what ended ctx.
func (a *archive) store(ctx context.Context, p events.ProcessedImage) ([]events.ArchivedBlob, error) {
	if !a.c.Clock.Now().Before(p.ExpiresAt) {
		return nil, azblob.ErrExpired
	}
	raw := object(p, events.RawName(p.ReceivedAt, p.ImageID, p.ContentType), p.ContentType, p.SHA256)
	original, err := a.copyFrom(ctx, p.Blob.Name, p.Bytes, raw)
	if err != nil {
		return nil, err
	}
	blobs := []events.ArchivedBlob{original.Blob}
	doc := describe(p)
	for _, d := range p.Derivatives {
		o := object(p, events.DerivedName(p.ReceivedAt, p.ImageID, d), d.ContentType, d.SHA256)
		stored, err := a.copyFrom(ctx, d.Blob.Name, d.Bytes, o)
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, stored.Blob)
		doc.Derivatives = append(doc.Derivatives, document{
			Name: d.Name, Step: d.Step, Version: d.Version, ContentType: d.ContentType, Blob: stored.Blob.Name,
			Bytes: stored.Blob.Bytes, SHA256: stored.SHA256, Width: d.Width, Height: d.Height,
		})
	}
	content, err := json.Marshal(doc)
	if err != nil {
		return nil, &fault{events.CodeInternal, fmt.Errorf("sink: metadata: %w", err)}
	}
	meta := object(p, events.MetadataName(p.ReceivedAt, p.ImageID, p.Attempt), "application/json", sha256.Sum256(content))
	stored, err := a.put(ctx, meta, content)
	if err != nil {
		return nil, err
	}
	return append(blobs, stored.Blob), nil
}

func object(p events.ProcessedImage, name, contentType string, digest [32]byte) azblob.Object {
	return azblob.Object{
		Name: name, ContentType: contentType, ImageID: p.ImageID, Tenant: p.Tenant, Origin: p.Origin, Source: p.Source,
		SHA256: fmt.Sprintf("%x", digest), ExpiresAt: p.ExpiresAt,
	}
}

// copyFrom copies a staging blob. When staging has lost it, the archive may have it already: then an earlier attempt
// came that far and further.
func (a *archive) copyFrom(ctx context.Context, from string, size int64, o azblob.Object) (azblob.Stored, error) {
	var content []byte
	err := a.persist(ctx, "fetch from staging", func() (err error) {
		content, err = a.c.Staging.Read(ctx, from, size)
		return err
	})
	_, tooLarge := errors.AsType[*azblob.TooLargeError](err)
	switch {
	case errors.Is(err, azblob.ErrNotFound):
		return a.present(ctx, o)
	case tooLarge, err == nil && int64(len(content)) != size:
		return azblob.Stored{}, &fault{events.CodeSizeMismatch, fmt.Errorf("sink: staging blob of %s has not the %d bytes that were processed", o.Name, size)}
	case err != nil:
		return azblob.Stored{}, err
	case fmt.Sprintf("%x", sha256.Sum256(content)) != o.SHA256:
		return azblob.Stored{}, &fault{events.CodeDigestMismatch, fmt.Errorf("sink: staging blob of %s holds other bytes than were processed", o.Name)}
	}
	return a.put(ctx, o, content)
}

func (a *archive) put(ctx context.Context, o azblob.Object, content []byte) (stored azblob.Stored, err error) {
	o.Body = bytes.NewReader(content)
	err = a.persist(ctx, "write to the archive", func() error {
		if _, err := o.Body.Seek(0, 0); err != nil {
			return &fault{events.CodeInternal, err}
		}
		stored, err = a.c.Archive.Put(ctx, o)
		answer, ok := errors.AsType[*azcore.ResponseError](err)
		if ok && (answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusRequestEntityTooLarge) {
			return &fault{events.CodeInternal, err} // the request is wrong and will be again
		}
		return err
	})
	if other, ok := errors.AsType[*azblob.DigestError](err); ok {
		return stored, &fault{events.CodeConflict, other}
	}
	if err == nil {
		a.metrics.stored(o.Name, stored.Existed, len(content))
	}
	return stored, err
}

// present finds an object in the archive by its name and digest: the protected version, which is the oldest.
func (a *archive) present(ctx context.Context, o azblob.Object) (azblob.Stored, error) {
	var found *azblob.Entry
	err := a.persist(ctx, "look into the archive", func() error {
		found = nil
		return a.c.Archive.List(ctx, o.Name, func(e azblob.Entry) error {
			older := found == nil || e.Created.Before(found.Created)
			if e.Name == o.Name && e.Snapshot == "" && !e.Deleted && !e.Uncommitted && e.Meta("sha256") == o.SHA256 && older {
				found = &e
			}
			return nil
		})
	})
	if err != nil {
		return azblob.Stored{}, err
	}
	if found == nil {
		return azblob.Stored{}, &fault{events.CodeStagingMissing, fmt.Errorf("sink: the bytes of %s are in staging no longer, and not in the archive", o.Name)}
	}
	return azblob.Stored{
		Blob:    events.ArchivedBlob{Name: found.Name, VersionID: found.VersionID, Bytes: found.Bytes},
		Existed: true, SHA256: o.SHA256, ExpiresAt: found.ExpiresAt(),
	}, nil
}

// metadata is the document beside an image in the archive. The same processed image gives the same bytes.
type metadata struct {
	ImageID     string     `json:"image_id"`
	Tenant      string     `json:"tenant"`
	Origin      string     `json:"origin"`
	Source      string     `json:"source"`
	ReceivedAt  time.Time  `json:"received_at"`
	ExpiresAt   time.Time  `json:"expires_at"`
	Attempt     int        `json:"attempt"`
	ContentType string     `json:"content_type"`
	Bytes       int64      `json:"bytes"`
	SHA256      string     `json:"sha256"`
	Format      string     `json:"format"`
	Width       int32      `json:"width"`
	Height      int32      `json:"height"`
	Frames      int32      `json:"frames"`
	Blob        string     `json:"blob"`
	Derivatives []document `json:"derivatives"`
	Steps       []stepDoc  `json:"steps"`
}

// document is a derivative in it; the digest is that of what the archive holds.
type document struct {
	Name        string `json:"name"`
	Step        string `json:"step"`
	Version     string `json:"version"`
	ContentType string `json:"content_type"`
	Blob        string `json:"blob"`
	Bytes       int64  `json:"bytes"`
	SHA256      string `json:"sha256"`
	Width       int32  `json:"width,omitempty"`
	Height      int32  `json:"height,omitempty"`
}

// stepDoc is a step that ran.
type stepDoc struct {
	Step    string `json:"step"`
	Version string `json:"version"`
	Error   string `json:"error,omitempty"`
}

func describe(p events.ProcessedImage) metadata {
	m := metadata{
		ImageID: p.ImageID, Tenant: p.Tenant, Origin: p.Origin, Source: p.Source, ReceivedAt: p.ReceivedAt, ExpiresAt: p.ExpiresAt,
		Attempt: p.Attempt, ContentType: p.ContentType, Bytes: p.Bytes, SHA256: fmt.Sprintf("%x", p.SHA256), Format: p.Format,
		Width: p.Width, Height: p.Height, Frames: p.Frames, Blob: events.RawName(p.ReceivedAt, p.ImageID, p.ContentType), Derivatives: []document{},
	}
	for _, s := range p.Steps {
		m.Steps = append(m.Steps, stepDoc(s))
	}
	return m
}
