package azblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

// ArchiveConfig says where the archive is and what it must promise.
type ArchiveConfig struct {
	// AllowMutable accepts a container that cannot promise immutability. Default: it is refused.
	AllowMutable bool

	// Clock decides what has expired. Default: the machine's clock.
	Clock clock.Clock

	// Container is the container's name.
	Container string

	// Metrics counts what is put. Default: none.
	Metrics *Metrics
}

// Archive holds each image, its derivatives and its metadata, each locked until the image's expiry. Nothing in it is
// ever overwritten by us. Safe for concurrent use.
type Archive struct {
	cfg     ArchiveConfig
	account *Account
	c       *container.Client
	mutable atomic.Bool
}

// OpenArchive returns the archive once its container has been found to promise what an archive must; see Verify.
func OpenArchive(ctx context.Context, account *Account, cfg ArchiveConfig) (*Archive, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	a := &Archive{cfg: cfg, account: account, c: account.Container(cfg.Container)}
	return a, a.Verify(ctx)
}

// Verify asks the storage whether the container can promise immutability: version-level immutability on the container,
// and no soft delete in the account, which would keep purged bytes for days. A container that cannot is a
// *MutableError unless AllowMutable is set. An account whose settings our role may not read is taken at its word about
// soft delete; Check finds what it left behind.
func (a *Archive) Verify(ctx context.Context) error {
	why, err := a.shortcoming(ctx)
	if err != nil {
		return err
	}
	a.mutable.Store(why != "")
	if why != "" && !a.cfg.AllowMutable {
		return &MutableError{Container: a.cfg.Container, Why: why}
	}
	return nil
}

func (a *Archive) shortcoming(ctx context.Context) (string, error) {
	props, err := a.c.GetProperties(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("azblob: container %s: %w", a.cfg.Container, brief(err))
	}
	if !val(props.IsImmutableStorageWithVersioningEnabled) {
		return "it has no version-level immutability", nil
	}
	svc, err := a.account.service.GetProperties(ctx, nil)
	if err != nil {
		if e, ok := errors.AsType[*azcore.ResponseError](err); ok && e.StatusCode == http.StatusForbidden {
			return "", nil
		}
		return "", fmt.Errorf("azblob: service properties: %w", brief(err))
	}
	if p := svc.DeleteRetentionPolicy; p != nil && val(p.Enabled) {
		return fmt.Sprintf("its account keeps deleted blobs for %d days (soft delete)", val(p.Days)), nil
	}
	return "", nil
}

// Mutable says that the container promises nothing and AllowMutable accepted it.
func (a *Archive) Mutable() bool { return a.mutable.Load() }

// Container is the container's name.
func (a *Archive) Container() string { return a.cfg.Container }

// Open reads length bytes (-1: to the end) of a blob's version from offset. Without a version id it reads the current
// one, which is right only where versioning is off. ErrNotFound when it is gone.
func (a *Archive) Open(ctx context.Context, b events.ArchivedBlob, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	client, err := a.version(b.Name, b.VersionID)
	if err != nil {
		return nil, err
	}
	resp, err := client.DownloadStream(ctx, &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: offset, Count: max(length, 0)}})
	if err != nil {
		return nil, fmt.Errorf("azblob: read %s: %w", b.Name, notFound(err))
	}
	return resp.NewRetryReader(ctx, nil), nil
}

// version is the client of one version; an empty id means the current one.
func (a *Archive) version(name, id string) (*blob.Client, error) {
	c := a.c.NewBlobClient(name)
	if id == "" {
		return c, nil
	}
	c, err := c.WithVersionID(id)
	if err != nil {
		return nil, fmt.Errorf("azblob: %s: %w", name, err)
	}
	return c, nil
}

// List calls f for everything stored under a prefix, every version and snapshot.
func (a *Archive) List(ctx context.Context, prefix string, f func(Entry) error) error {
	return each(ctx, a.c, prefix, everything, f)
}

// HourPrefix is the beginning of the names of a kind (raw, derived, metadata) received in the UTC hour of at.
func HourPrefix(kind string, at time.Time) string {
	return kind + "/" + at.UTC().Format("2006/01/02/15") + "/"
}

// SetHold sets or clears the legal hold on every version of an image's blobs that we have written, and returns how many
// there were. It reads the whole archive's list.
func (a *Archive) SetHold(ctx context.Context, tenant, imageID string, on bool) (int, error) {
	n := 0
	err := a.List(ctx, "", func(e Entry) error {
		if e.Meta(metaImageID) != imageID || e.Meta(metaTenant) != tenant || e.Snapshot != "" || e.Deleted {
			return nil
		}
		client, err := a.version(e.Name, e.VersionID)
		if err != nil {
			return err
		}
		if _, err := client.SetLegalHold(ctx, on, nil); err != nil {
			return fmt.Errorf("azblob: legal hold on %s: %w", e.Name, brief(err))
		}
		n++
		return nil
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("azblob: image %s of tenant %s: %w", imageID, tenant, ErrNotFound)
	}
	return n, err
}

// Held is an image under legal hold.
type Held struct {
	Tenant, ImageID string
	Blobs           int
	ExpiresAt       time.Time
}

// Holds lists the images under legal hold. Blobs that are not ours are listed by the image their name belongs to.
func (a *Archive) Holds(ctx context.Context) ([]Held, error) {
	byLife := map[string]*Held{}
	var order []string
	err := a.List(ctx, "", func(e Entry) error {
		if !e.Hold {
			return nil
		}
		l := lifeOf(e)
		h := byLife[l]
		if h == nil {
			h = &Held{}
			byLife[l] = h
			order = append(order, l)
		}
		h.Blobs++
		if e.Meta(metaImageID) != "" {
			h.Tenant, h.ImageID, h.ExpiresAt = e.Meta(metaTenant), e.Meta(metaImageID), e.ExpiresAt()
		}
		return nil
	})
	out := make([]Held, 0, len(order))
	for _, l := range order {
		out = append(out, *byLife[l])
	}
	return out, err
}
