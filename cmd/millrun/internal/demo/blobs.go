package demo

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// blobs looks at the storage from outside, by Azure's own SDK.
type blobs struct{ client *service.Client }

func openBlobs(connection string) (*blobs, error) {
	c, err := service.NewClientFromConnectionString(connection, nil)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return &blobs{client: c}, nil
}

func (b *blobs) container(name string) *container.Client { return b.client.NewContainerClient(name) }

// item is one version of one blob.
type item struct {
	name, version string
	current       bool
}

// list has every version and snapshot below a prefix, deleted ones too.
func (b *blobs) list(ctx context.Context, in, prefix string) ([]item, error) {
	var items []item
	pager := b.container(in).NewListBlobsFlatPager(&azblob.ListBlobsFlatOptions{
		Prefix:  &prefix,
		Include: azblob.ListBlobsInclude{Versions: true, Deleted: true, Snapshots: true, UncommittedBlobs: true},
	})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
		for _, blob := range page.Segment.BlobItems {
			it := item{name: *blob.Name, current: blob.IsCurrentVersion == nil || *blob.IsCurrentVersion}
			if blob.VersionID != nil {
				it.version = *blob.VersionID
			}
			items = append(items, it)
		}
	}
	return items, nil
}

// names has the distinct names below a prefix.
func (b *blobs) names(ctx context.Context, in, prefix string) (map[string]int, error) {
	items, err := b.list(ctx, in, prefix)
	if err != nil {
		return nil, err
	}
	names := map[string]int{}
	for _, it := range items {
		names[it.name]++
	}
	return names, nil
}

// read has the bytes of a blob, or of one version of it.
func (b *blobs) read(ctx context.Context, in, name, version string) ([]byte, error) {
	c := b.container(in).NewBlobClient(name)
	if version != "" {
		v, err := c.WithVersionID(version)
		if err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
		c = v
	}
	resp, err := c.DownloadStream(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// imageOf is the image_id in a name of the archive.
func imageOf(name string) string {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, "img_") {
			id, _, _ := strings.Cut(part, ".")
			return id
		}
	}
	return ""
}
