package demo

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/millrun/millrun/connectors/parquet"
)

// archivedByFormat counts the images that the analysts' files call archived, each once however often it is said.
func archivedByFormat(ctx context.Context, c *container.Client, ours func(id string) bool) (map[string]int64, error) {
	counts, seen := map[string]int64{}, map[string]bool{}
	err := parquet.Rows(ctx, c, func(e parquet.ImageEvent) error {
		if ours(e.ImageID) && e.Status == "archived" && e.Format != nil && !seen[e.ImageID] {
			seen[e.ImageID] = true
			counts[*e.Format]++
		}
		return nil
	})
	return counts, err
}
