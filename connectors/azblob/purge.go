package azblob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// purgeRounds is how often a name is listed and emptied before it counts as not purged: once to empty it, once as
// proof, once more for what came in between.
const purgeRounds = 3

// errStays marks a name that still holds something.
var errStays = errors.New("azblob: not purged")

// emptier removes everything that a container holds under a name.
type emptier struct {
	c       *container.Client
	include container.ListBlobsInclude
	// clear says that blocks nobody has committed may be removed by writing an empty blob over them and deleting it,
	// which an immutable container would keep.
	clear bool
}

// empty deletes the current version, then each version and snapshot by its id, and lists the name again: only an empty
// list counts. It may be run again after it was cut off anywhere. n counts what it deleted.
func (p emptier) empty(ctx context.Context, name string) (n int, err error) {
	for range purgeRounds {
		entries, err := named(ctx, p.c, name, p.include)
		if err != nil {
			return n, err
		}
		if len(entries) == 0 {
			return n, nil
		}
		k, err := p.round(ctx, name, entries)
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, fmt.Errorf("%w: something is written to it again and again", errStays)
}

// round deletes what one list showed.
func (p emptier) round(ctx context.Context, name string, entries []Entry) (int, error) {
	n := 0
	b := p.c.NewBlobClient(name)
	// What was written by us goes last: its metadata is what tells a pass after a crash whose image the rest is.
	slices.SortStableFunc(entries, func(a, b Entry) int { return ours(a) - ours(b) })
	for _, e := range entries {
		switch {
		case e.Uncommitted:
			if err := p.dropBlocks(ctx, name); err != nil {
				return n, err
			}
		case e.Current:
			// Without a version id this only makes the current version a previous one, where versions are kept.
			_, err := b.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: new(blob.DeleteSnapshotsOptionTypeInclude)})
			if errors.Is(notFound(err), ErrNotFound) && e.Bytes == 0 {
				err = p.dropBlocks(ctx, name) // Azurite lists blocks that nobody has committed like an empty blob
			}
			if err := deleted(err); err != nil {
				return n, err
			}
			if e.VersionID == "" {
				n++
			}
		}
	}
	for _, e := range entries {
		if e.VersionID == "" && e.Snapshot == "" {
			continue
		}
		if err := p.deleteOne(ctx, b, e); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func ours(e Entry) int {
	if e.ExpiresAt().IsZero() {
		return 0
	}
	return 1
}

// deleteOne deletes a version or snapshot by its id; one that soft delete keeps is deleted for good.
func (p emptier) deleteOne(ctx context.Context, b *blob.Client, e Entry) error {
	var one *blob.Client
	var err error
	if e.Snapshot != "" {
		one, err = b.WithSnapshot(e.Snapshot)
	} else {
		one, err = b.WithVersionID(e.VersionID)
	}
	if err != nil {
		return fmt.Errorf("azblob: %w", err)
	}
	opts := &blob.DeleteOptions{}
	if e.Deleted {
		opts.BlobDeleteType = new(blob.DeleteTypePermanent)
	}
	_, err = one.Delete(ctx, opts)
	return deleted(err)
}

// dropBlocks removes uncommitted blocks: the protocol has no call for it but to commit something else.
func (p emptier) dropBlocks(ctx context.Context, name string) error {
	if !p.clear {
		return fmt.Errorf("%w: blocks that were never committed; the storage drops them itself, seven days after the last", errStays)
	}
	b := p.c.NewBlockBlobClient(name)
	if _, err := b.Upload(ctx, streaming.NopCloser(strings.NewReader("")), nil); err != nil {
		return fmt.Errorf("azblob: drop blocks: %w", brief(err))
	}
	_, err := b.Delete(ctx, nil)
	return deleted(err)
}

// deleted turns the answer to a delete into what a purge makes of it: gone is gone, whoever did it.
func deleted(err error) error {
	switch err = notFound(err); {
	case err == nil, errors.Is(err, ErrNotFound):
		return nil
	case bloberror.HasCode(err, bloberror.BlobImmutableDueToPolicy, codeLegalHold):
		return fmt.Errorf("%w: the storage protects it: %w", errStays, brief(err))
	}
	return fmt.Errorf("azblob: delete: %w", err)
}
