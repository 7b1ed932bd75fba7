package parquet

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// Rows calls f for every row of image_events in the container, file by file.
func Rows(ctx context.Context, c *container.Client, f func(ImageEvent) error) error {
	prefix := Folder
	b := blobs{c}
	for pages := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix}); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("parquet: list %s: %w", prefix, err)
		}
		for _, item := range page.Segment.BlobItems {
			if item.Name == nil || !isFile(*item.Name) {
				continue
			}
			content, err := b.read(ctx, *item.Name)
			if err != nil {
				return err
			}
			rows, err := decode(content)
			if err != nil {
				return fmt.Errorf("%s: %w", *item.Name, err)
			}
			for _, r := range rows {
				if err := f(r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Count answers "how many images of each format stand where": Images with that latest status. Format is "" where none
// is known, as of an image that is no image.
type Count struct {
	Format string
	Status string
	Images int
}

// order ranks statuses of one moment: the later in an image's life counts.
var order = map[string]int{"accepted": 0, "processing": 1, "archived": 2, "rejected": 2, "failed": 2}

// CountImages answers that question from the files alone. Rows of duplicates are receipts, not images, and do not
// count; a row that is there twice counts once. The format is the latest that is known.
func CountImages(ctx context.Context, c *container.Client) ([]Count, error) {
	latest := map[string]ImageEvent{}
	err := Rows(ctx, c, func(r ImageEvent) error {
		if r.Duplicate {
			return nil
		}
		old, seen := latest[r.ImageID]
		if seen && (r.EventTime.Before(old.EventTime) || (r.EventTime.Equal(old.EventTime) && order[r.Status] < order[old.Status])) {
			old, r = r, old
		}
		if r.Format == nil {
			r.Format = old.Format
		}
		latest[r.ImageID] = r
		return nil
	})
	if err != nil {
		return nil, err
	}
	sums := map[Count]int{}
	for _, r := range latest {
		k := Count{Status: r.Status}
		if r.Format != nil {
			k.Format = *r.Format
		}
		sums[k]++
	}
	var out []Count
	for k, n := range sums {
		k.Images = n
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Format, b.Format), cmp.Compare(a.Status, b.Status))
	})
	return out, nil
}
