package azblob

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// Metadata keys of blobs. Times are RFC 3339, UTC, whole seconds.
const (
	metaImageID    = "image_id"
	metaSHA256     = "sha256"
	metaTenant     = "tenant"
	metaOrigin     = "origin"
	metaSource     = "source"
	metaArchivedAt = "archived_at"
	metaExpiresAt  = "expires_at"
)

// Entry is one thing that a container holds under a name: the current version, a previous one, a snapshot, or blocks
// that nobody has committed.
type Entry struct {
	Name        string
	VersionID   string // empty where versioning is off
	Snapshot    string // empty unless it is a snapshot
	Current     bool
	Deleted     bool // soft-deleted: still stored
	Uncommitted bool // blocks only; nothing else is known of them
	Bytes       int64
	Created     time.Time
	Modified    time.Time
	Until       time.Time // end of the immutability policy; zero: none
	Locked      bool
	Hold        bool
	meta        map[string]string
}

// Meta is a metadata value; names do not depend on case.
func (e Entry) Meta(name string) string { return e.meta[name] }

// ExpiresAt is the metadata of that name; zero when it is absent or no time.
func (e Entry) ExpiresAt() time.Time { return parseTime(e.meta[metaExpiresAt]) }

func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// formatTime is the form of every time in metadata and ledger.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// everything asks a list for all that may be stored under a name.
var everything = container.ListBlobsInclude{
	Versions: true, Deleted: true, Snapshots: true, Metadata: true, UncommittedBlobs: true, ImmutabilityPolicy: true, LegalHold: true,
}

// withoutVersions is for accounts that know no versions, such as those with a hierarchical namespace.
var withoutVersions = container.ListBlobsInclude{Metadata: true}

// each calls f for every entry under a prefix.
func each(ctx context.Context, c *container.Client, prefix string, include container.ListBlobsInclude, f func(Entry) error) error {
	pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix, Include: include})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("azblob: list: %w", brief(err))
		}
		for _, item := range page.Segment.BlobItems {
			if err := f(entryOf(item, include.Versions)); err != nil {
				return err
			}
		}
	}
	return nil
}

// named are the entries of exactly that name.
func named(ctx context.Context, c *container.Client, name string, include container.ListBlobsInclude) ([]Entry, error) {
	var out []Entry
	err := each(ctx, c, name, include, func(e Entry) error {
		if e.Name == name {
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

func entryOf(item *container.BlobItem, versions bool) Entry {
	e := Entry{
		Name: val(item.Name), VersionID: val(item.VersionID), Snapshot: val(item.Snapshot),
		Deleted: val(item.Deleted), Current: val(item.IsCurrentVersion), meta: lowerKeys(item.Metadata),
	}
	if p := item.Properties; p != nil {
		e.Bytes, e.Created, e.Modified = val(p.ContentLength), val(p.CreationTime).UTC(), val(p.LastModified).UTC()
		e.Until, e.Hold = val(p.ImmutabilityPolicyExpiresOn).UTC(), val(p.LegalHold)
		e.Locked = p.ImmutabilityPolicyMode != nil && strings.EqualFold(string(*p.ImmutabilityPolicyMode), "locked")
	}
	if !versions || e.VersionID == "" {
		e.Current = e.Snapshot == "" && !e.Deleted
	}
	e.Uncommitted = e.Modified.IsZero() && e.VersionID == "" && e.Snapshot == ""
	if e.Uncommitted {
		e.Current = false
	}
	return e
}

func val[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func lowerKeys(m map[string]*string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[strings.ToLower(k)] = val(v)
	}
	return out
}
