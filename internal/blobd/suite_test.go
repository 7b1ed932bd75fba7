package blobd_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/millrun/millrun/internal/blobd"
	"github.com/millrun/millrun/internal/real"
)

// suite is azblob's own round trips. Each test runs against every server that claims to speak the protocol; what only
// ours claims (immutability, versions, soft delete) is elsewhere.
type suite struct {
	t      *testing.T
	client *service.Client
	prefix string
}

// suiteTests is every test of the suite by name.
var suiteTests = map[string]func(suite){
	"containers":             suiteContainers,
	"list containers":        suiteListContainers,
	"upload and download":    suiteUpload,
	"large stream":           suiteStream,
	"blocks":                 suiteBlocks,
	"block errors":           suiteBlockErrors,
	"ranges":                 suiteRanges,
	"conditions on writes":   suiteWriteConditions,
	"conditions on reads":    suiteReadConditions,
	"refused large body":     suiteRefusalOfLargeBody,
	"metadata":               suiteMetadata,
	"properties":             suiteProperties,
	"content md5":            suiteMD5,
	"flat list":              suiteFlatList,
	"hierarchical list":      suiteHierarchy,
	"snapshots":              suiteSnapshots,
	"names":                  suiteNames,
	"not found":              suiteNotFound,
	"tags":                   suiteTags,
	"tier":                   suiteTier,
	"blob signature":         suiteBlobSAS,
	"container signature":    suiteContainerSAS,
	"account signature":      suiteAccountSAS,
	"wrong key":              suiteWrongKey,
	"batch delete":           suiteBatch,
	"uncommitted in a list":  suiteUncommitted,
	"delete of what is gone": suiteDeleteTwice,
}

func TestSuiteOnBlobd(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *blobd.Config) { c.Clock = nil })
	runSuite(t, r.client)
}

func TestSuiteOnAzurite(t *testing.T) {
	t.Parallel()
	runSuite(t, connect(t, real.Azurite(t)))
}

func runSuite(t *testing.T, client *service.Client) {
	t.Helper()
	for name, test := range suiteTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sum := md5.Sum([]byte(t.Name()))
			test(suite{t: t, client: client, prefix: fmt.Sprintf("t%x", sum[:6])})
		})
	}
}

func (s suite) container() *container.Client { return makeContainer(s.t, s.client, s.prefix) }

func suiteContainers(s suite) {
	t := s.t
	c := s.client.NewContainerClient(s.prefix)
	_, err := c.GetProperties(ctx, nil)
	wantError(t, err, 404, "ContainerNotFound")
	created := must(c.Create(ctx, &container.CreateOptions{Metadata: map[string]*string{"owner": new("team")}}))(t)
	if created.ETag == nil || created.LastModified == nil {
		t.Fatal("no ETag or Last-Modified")
	}
	_, err = c.Create(ctx, nil)
	wantError(t, err, 409, "ContainerAlreadyExists")
	props := must(c.GetProperties(ctx, nil))(t)
	if got := props.Metadata["Owner"]; got == nil || *got != "team" {
		t.Fatalf("metadata %v", props.Metadata)
	}
	must(c.SetMetadata(ctx, &container.SetMetadataOptions{Metadata: map[string]*string{"owner": new("other")}}))(t)
	if got := must(c.GetProperties(ctx, nil))(t).Metadata["Owner"]; got == nil || *got != "other" {
		t.Fatal("metadata was not replaced")
	}
	must(c.Delete(ctx, nil))(t)
	_, err = c.Delete(ctx, nil)
	wantError(t, err, 404, "ContainerNotFound")
	_, err = s.client.NewContainerClient("Not_A_Name").Create(ctx, nil)
	wantError(t, err, 400, "InvalidResourceName")
}

func suiteListContainers(s suite) {
	t := s.t
	var want []string
	for i := range 5 {
		name := fmt.Sprintf("%s-%d", s.prefix, i)
		makeContainer(t, s.client, name)
		want = append(want, name)
	}
	var got []string
	pager := s.client.NewListContainersPager(&service.ListContainersOptions{Prefix: new(s.prefix + "-"), MaxResults: new(int32(2))})
	pages := 0
	for pager.More() {
		page := must(pager.NextPage(ctx))(t)
		pages++
		for _, item := range page.ContainerItems {
			got = append(got, *item.Name)
		}
	}
	if !slices.Equal(got, want) || pages < 3 {
		t.Fatalf("%d pages with %v, want 3 with %v", pages, got, want)
	}
}

func suiteUpload(s suite) {
	t := s.t
	c := s.container()
	b := c.NewBlockBlobClient("a/photo.jpg")
	up := must(b.Upload(ctx, body("bytes of a photo"), &blockblob.UploadOptions{
		Metadata: map[string]*string{"image_id": new("img_1")},
		HTTPHeaders: &blob.HTTPHeaders{
			BlobContentType: new("image/jpeg"), BlobCacheControl: new("private"), BlobContentLanguage: new("en"),
			BlobContentDisposition: new("inline"), BlobContentEncoding: new("identity"),
		},
	}))(t)
	sum := md5.Sum([]byte("bytes of a photo"))
	if !bytes.Equal(up.ContentMD5, sum[:]) || up.ETag == nil || up.LastModified == nil {
		t.Fatalf("upload answered %+v", up)
	}
	down := must(b.DownloadStream(ctx, nil))(t)
	if got := readAll(t, down.Body); got != "bytes of a photo" {
		t.Fatalf("got %q", got)
	}
	if *down.ContentType != "image/jpeg" || *down.ETag != *up.ETag || !bytes.Equal(down.ContentMD5, sum[:]) ||
		*down.CacheControl != "private" || *down.ContentLength != 16 {
		t.Fatalf("download answered %+v", down)
	}
	props := must(b.GetProperties(ctx, nil))(t)
	if *props.ContentLength != 16 || *props.Metadata["Image_id"] != "img_1" || *props.BlobType != blob.BlobTypeBlockBlob ||
		*props.ContentLanguage != "en" || *props.ContentDisposition != "inline" || props.CreationTime == nil {
		t.Fatalf("properties %+v", props)
	}
	again := must(b.Upload(ctx, body("other"), nil))(t)
	if *again.ETag == *up.ETag || get(t, c, "a/photo.jpg") != "other" {
		t.Fatal("the second upload did not replace the first")
	}
	must(b.Upload(ctx, body(""), nil))(t)
	if get(t, c, "a/photo.jpg") != "" {
		t.Fatal("an empty blob is not empty")
	}
}

func suiteStream(s suite) {
	t := s.t
	c := s.container()
	data := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // 3 MiB
	b := c.NewBlockBlobClient("big")
	must(b.UploadStream(ctx, bytes.NewReader(data), &blockblob.UploadStreamOptions{BlockSize: 1 << 20, Concurrency: 3}))(t)
	got := make([]byte, len(data))
	must(b.DownloadBuffer(ctx, got, &blob.DownloadBufferOptions{BlockSize: 700_000, Concurrency: 3}))(t)
	if !bytes.Equal(got, data) {
		t.Fatal("the bytes came back changed")
	}
}

func blockID(n int) string { return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", n)) }

func suiteBlocks(s suite) {
	t := s.t
	c := s.container()
	b := c.NewBlockBlobClient("blocks")
	for i, text := range []string{"one ", "two ", "three "} {
		must(b.StageBlock(ctx, blockID(i), body(text), nil))(t)
	}
	_, err := b.GetProperties(ctx, nil)
	wantError(t, err, 404, "BlobNotFound")
	list := must(b.GetBlockList(ctx, blockblob.BlockListTypeAll, nil))(t)
	if len(list.UncommittedBlocks) != 3 || len(list.CommittedBlocks) != 0 {
		t.Fatalf("%d uncommitted, %d committed", len(list.UncommittedBlocks), len(list.CommittedBlocks))
	}
	must(b.CommitBlockList(ctx, []string{blockID(2), blockID(0)}, &blockblob.CommitBlockListOptions{
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: new("text/plain")}, Metadata: map[string]*string{"k": new("v")},
	}))(t)
	if got := get(t, c, "blocks"); got != "three one " {
		t.Fatalf("got %q", got)
	}
	list = must(b.GetBlockList(ctx, blockblob.BlockListTypeAll, nil))(t)
	if len(list.UncommittedBlocks) != 0 || len(list.CommittedBlocks) != 2 || *list.CommittedBlocks[0].Name != blockID(2) ||
		*list.CommittedBlocks[0].Size != 6 {
		t.Fatalf("after the commit: %+v", list.BlockList)
	}
	must(b.StageBlock(ctx, blockID(7), body("seven"), nil))(t)
	must(b.CommitBlockList(ctx, []string{blockID(0), blockID(7)}, nil))(t)
	if got := get(t, c, "blocks"); got != "one seven" {
		t.Fatalf("a committed block was not used again: %q", got)
	}
	if *must(b.GetProperties(ctx, nil))(t).ContentType != "application/octet-stream" {
		t.Fatal("a second commit without headers keeps the first one's")
	}
}

func suiteBlockErrors(s suite) {
	t := s.t
	b := s.container().NewBlockBlobClient("blocks")
	must(b.StageBlock(ctx, blockID(1), body("x"), nil))(t)
	_, err := b.StageBlock(ctx, base64.StdEncoding.EncodeToString([]byte("short")), body("x"), nil)
	wantError(t, err, 400, "InvalidBlobOrBlock")
	_, err = b.CommitBlockList(ctx, []string{blockID(9)}, nil)
	wantError(t, err, 400, "InvalidBlockList")
}

func suiteRanges(s suite) {
	t := s.t
	c := s.container()
	b := c.NewBlockBlobClient("digits")
	for i := range 4 {
		must(b.StageBlock(ctx, blockID(i), body(strings.Repeat(fmt.Sprint(i), 10)), nil))(t)
	}
	must(b.CommitBlockList(ctx, []string{blockID(0), blockID(1), blockID(2), blockID(3)}, nil))(t)
	for _, tc := range []struct {
		offset, count int64
		want          string
	}{{0, 5, "00000"}, {8, 4, "0011"}, {9, 22, "0" + strings.Repeat("1", 10) + strings.Repeat("2", 10) + "3"}, {35, 0, "33333"}, {38, 100, "33"}} {
		down := must(b.DownloadStream(ctx, &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: tc.offset, Count: tc.count}}))(t)
		if got := readAll(t, down.Body); got != tc.want {
			t.Errorf("range %d+%d: got %q, want %q", tc.offset, tc.count, got, tc.want)
		}
	}
	_, err := b.DownloadStream(ctx, &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: 100, Count: 1}})
	wantError(t, err, 416, "InvalidRange")
}

func etagAny() *azcore.ETag { return new(azcore.ETagAny) }

func modified(m blob.ModifiedAccessConditions) *blob.AccessConditions {
	return &blob.AccessConditions{ModifiedAccessConditions: &m}
}

func suiteWriteConditions(s suite) {
	t := s.t
	c := s.container()
	b := c.NewBlockBlobClient("once")
	once := &blockblob.UploadOptions{AccessConditions: modified(blob.ModifiedAccessConditions{IfNoneMatch: etagAny()})}
	first := must(b.Upload(ctx, body("first"), once))(t)
	_, err := b.Upload(ctx, body("second"), once)
	wantError(t, err, 409, "BlobAlreadyExists")
	must(b.StageBlock(ctx, blockID(1), body("block"), nil))(t)
	_, err = b.CommitBlockList(ctx, []string{blockID(1)}, &blockblob.CommitBlockListOptions{AccessConditions: once.AccessConditions})
	wantError(t, err, 409, "BlobAlreadyExists")
	if get(t, c, "once") != "first" {
		t.Fatal("a refused write changed the blob")
	}
	stale := modified(blob.ModifiedAccessConditions{IfMatch: new(azcore.ETag(`"0x1"`))})
	_, err = b.Upload(ctx, body("x"), &blockblob.UploadOptions{AccessConditions: stale})
	wantError(t, err, 412, "ConditionNotMet")
	_, err = b.Delete(ctx, &blob.DeleteOptions{AccessConditions: stale})
	wantError(t, err, 412, "ConditionNotMet")
	old := modified(blob.ModifiedAccessConditions{IfUnmodifiedSince: new(first.LastModified.Add(-time.Hour))})
	_, err = b.SetMetadata(ctx, nil, &blob.SetMetadataOptions{AccessConditions: old})
	wantError(t, err, 412, "ConditionNotMet")
	_, err = c.NewBlockBlobClient("absent").Upload(ctx, body("x"), &blockblob.UploadOptions{AccessConditions: stale})
	wantError(t, err, 412, "ConditionNotMet")
	current := must(b.GetProperties(ctx, nil))(t).ETag
	must(b.Upload(ctx, body("third"), &blockblob.UploadOptions{AccessConditions: modified(blob.ModifiedAccessConditions{IfMatch: current})}))(t)
}

// A refusal must reach a client that is still sending: it is told by the first answer, not by a broken pipe.
func suiteRefusalOfLargeBody(s suite) {
	t := s.t
	c := s.container()
	large := strings.Repeat("x", 6<<20)
	once := &blockblob.UploadOptions{AccessConditions: modified(blob.ModifiedAccessConditions{IfNoneMatch: etagAny()})}
	must(c.NewBlockBlobClient("x").Upload(ctx, body(large), once))(t)
	for range 10 {
		_, err := c.NewBlockBlobClient("x").Upload(ctx, body(large), once)
		wantError(t, err, 409, "BlobAlreadyExists")
	}
}

func suiteReadConditions(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "x", "text")
	b := c.NewBlobClient("x")
	props := must(b.GetProperties(ctx, nil))(t)
	// azblob turns a 304 to a download into an answer without body.
	same := must(b.DownloadStream(ctx, &blob.DownloadStreamOptions{AccessConditions: modified(blob.ModifiedAccessConditions{IfNoneMatch: props.ETag})}))(t)
	if same.Body != nil || same.ErrorCode == nil {
		t.Fatalf("the blob was sent again: %+v", same)
	}
	_, err := b.DownloadStream(ctx, &blob.DownloadStreamOptions{AccessConditions: modified(blob.ModifiedAccessConditions{IfMatch: new(azcore.ETag(`"0x1"`))})})
	wantError(t, err, 412, "ConditionNotMet")
	_, err = b.GetProperties(ctx, &blob.GetPropertiesOptions{AccessConditions: modified(blob.ModifiedAccessConditions{IfModifiedSince: new(time.Now().Add(24 * time.Hour))})})
	if e, ok := errors.AsType[*azcore.ResponseError](err); !ok || e.StatusCode != http.StatusNotModified {
		t.Fatalf("got %v, want 304", err)
	}
	must(b.GetProperties(ctx, &blob.GetPropertiesOptions{AccessConditions: modified(blob.ModifiedAccessConditions{IfMatch: props.ETag})}))(t)
}

func suiteMetadata(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "m", "text")
	b := c.NewBlobClient("m")
	before := must(b.GetProperties(ctx, nil))(t)
	set := must(b.SetMetadata(ctx, map[string]*string{"sha256": new("abc"), "tenant": new("t1")}, nil))(t)
	if *set.ETag == *before.ETag {
		t.Fatal("the ETag did not change")
	}
	after := must(b.GetProperties(ctx, nil))(t)
	if len(after.Metadata) != 2 || *after.Metadata["Sha256"] != "abc" {
		t.Fatalf("metadata %v", after.Metadata)
	}
	must(b.SetMetadata(ctx, nil, nil))(t)
	if got := must(b.GetProperties(ctx, nil))(t).Metadata; len(got) != 0 {
		t.Fatalf("metadata %v was not removed", got)
	}
	if get(t, c, "m") != "text" {
		t.Fatal("metadata changed the bytes")
	}
}

func suiteProperties(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "p", "text")
	b := c.NewBlobClient("p")
	must(b.SetHTTPHeaders(ctx, blob.HTTPHeaders{BlobContentType: new("image/png"), BlobCacheControl: new("no-store")}, nil))(t)
	props := must(b.GetProperties(ctx, nil))(t)
	if *props.ContentType != "image/png" || *props.CacheControl != "no-store" || props.ContentMD5 != nil {
		t.Fatalf("properties %+v", props)
	}
}

func suiteMD5(s suite) {
	t := s.t
	c := s.container()
	b := c.NewBlockBlobClient("sum")
	right, wrong := md5.Sum([]byte("text")), md5.Sum([]byte("texd"))
	must(b.Upload(ctx, body("text"), &blockblob.UploadOptions{TransactionalValidation: blob.TransferValidationTypeMD5(right[:])}))(t)
	_, err := b.Upload(ctx, body("text"), &blockblob.UploadOptions{TransactionalValidation: blob.TransferValidationTypeMD5(wrong[:])})
	wantError(t, err, 400, "Md5Mismatch")
	_, err = b.StageBlock(ctx, blockID(1), body("text"), &blockblob.StageBlockOptions{TransactionalValidation: blob.TransferValidationTypeMD5(wrong[:])})
	wantError(t, err, 400, "Md5Mismatch")
	must(b.StageBlock(ctx, blockID(1), body("text"), &blockblob.StageBlockOptions{TransactionalValidation: blob.TransferValidationTypeMD5(right[:])}))(t)
	must(b.CommitBlockList(ctx, []string{blockID(1)}, &blockblob.CommitBlockListOptions{HTTPHeaders: &blob.HTTPHeaders{BlobContentMD5: right[:]}}))(t)
	if got := must(b.GetProperties(ctx, nil))(t).ContentMD5; !bytes.Equal(got, right[:]) {
		t.Fatalf("stored MD5 %x", got)
	}
}

func flatNames(t *testing.T, c *container.Client, o *container.ListBlobsFlatOptions) ([]string, int) {
	t.Helper()
	var names []string
	pages := 0
	for pager := c.NewListBlobsFlatPager(o); pager.More(); pages++ {
		for _, item := range must(pager.NextPage(ctx))(t).Segment.BlobItems {
			names = append(names, *item.Name)
		}
	}
	return names, pages
}

func suiteFlatList(s suite) {
	t := s.t
	c := s.container()
	want := []string{"a", "a/b", "a/c", "b", "raw/1", "raw/2"}
	for _, name := range want {
		must(c.NewBlockBlobClient(name).Upload(ctx, body(name), &blockblob.UploadOptions{Metadata: map[string]*string{"name": new(name)}}))(t)
	}
	if got, _ := flatNames(t, c, nil); !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	if got, pages := flatNames(t, c, &container.ListBlobsFlatOptions{MaxResults: new(int32(2))}); !slices.Equal(got, want) || pages < 3 {
		t.Fatalf("%d pages with %v", pages, got)
	}
	if got, _ := flatNames(t, c, &container.ListBlobsFlatOptions{Prefix: new("a/")}); !slices.Equal(got, []string{"a/b", "a/c"}) {
		t.Fatalf("got %v", got)
	}
	page := must(c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Metadata: true}}).NextPage(ctx))(t)
	item := page.Segment.BlobItems[0]
	sum := md5.Sum([]byte("a"))
	if *item.Metadata["name"] != "a" || *item.Properties.ContentLength != 1 || !bytes.Equal(item.Properties.ContentMD5, sum[:]) ||
		item.Properties.LastModified == nil || item.Properties.ETag == nil {
		t.Fatalf("item %+v %+v", item, item.Properties)
	}
}

func suiteHierarchy(s suite) {
	t := s.t
	c := s.container()
	for _, name := range []string{"raw/10/x", "raw/10/y", "raw/11/x", "raw/top", "zeta"} {
		put(t, c, name, "1")
	}
	var got []string
	pager := c.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: new("raw/"), MaxResults: new(int32(1))})
	for pager.More() {
		page := must(pager.NextPage(ctx))(t)
		for _, p := range page.Segment.BlobPrefixes {
			got = append(got, *p.Name)
		}
		for _, item := range page.Segment.BlobItems {
			got = append(got, *item.Name)
		}
	}
	if want := []string{"raw/10/", "raw/11/", "raw/top"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func suiteSnapshots(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "s", "old")
	b := c.NewBlockBlobClient("s")
	snap := must(b.CreateSnapshot(ctx, nil))(t)
	put(t, c, "s", "new")
	old := must(b.WithSnapshot(*snap.Snapshot))(t)
	if got := readAll(t, must(old.DownloadStream(ctx, nil))(t).Body); got != "old" {
		t.Fatalf("the snapshot holds %q", got)
	}
	page := must(c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Snapshots: true}}).NextPage(ctx))(t)
	if items := page.Segment.BlobItems; len(items) != 2 || !slices.ContainsFunc(items, func(i *container.BlobItem) bool { return i.Snapshot != nil && *i.Snapshot == *snap.Snapshot }) {
		t.Fatalf("%d items", len(items))
	}
	_, err := b.Delete(ctx, nil)
	wantError(t, err, 409, "SnapshotsPresent")
	must(b.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: new(blob.DeleteSnapshotsOptionTypeOnly)}))(t)
	if get(t, c, "s") != "new" {
		t.Fatal("the base blob went with its snapshots")
	}
	must(b.CreateSnapshot(ctx, nil))(t)
	must(b.Delete(ctx, &blob.DeleteOptions{DeleteSnapshots: new(blob.DeleteSnapshotsOptionTypeInclude)}))(t)
	if names, _ := flatNames(t, c, &container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Snapshots: true}}); len(names) != 0 {
		t.Fatalf("%v are left", names)
	}
}

func suiteNames(s suite) {
	t := s.t
	c := s.container()
	names := []string{"plain", "with space", "plus+and&more=", "ünïcödé/ψ", "a/b/c/d/e", "percent%41", "question?mark", "hash#tag", "quote'\"<>"}
	for _, name := range names {
		put(t, c, name, name)
	}
	for _, name := range names {
		if got := get(t, c, name); got != name {
			t.Errorf("%q holds %q", name, got)
		}
	}
	slices.Sort(names)
	if got, _ := flatNames(t, c, nil); !slices.Equal(slices.Sorted(slices.Values(got)), names) {
		t.Errorf("list %q, want %q", got, names)
	}
}

func suiteNotFound(s suite) {
	t := s.t
	c := s.container()
	_, err := c.NewBlobClient("absent").DownloadStream(ctx, nil)
	wantError(t, err, 404, "BlobNotFound")
	_, err = c.NewBlobClient("absent").GetProperties(ctx, nil)
	wantError(t, err, 404, "BlobNotFound")
	_, err = s.client.NewContainerClient(s.prefix+"x").NewBlockBlobClient("b").Upload(ctx, body("x"), nil)
	wantError(t, err, 404, "ContainerNotFound")
	_, err = s.client.NewContainerClient(s.prefix + "x").NewListBlobsFlatPager(nil).NextPage(ctx)
	wantError(t, err, 404, "ContainerNotFound")
}

func suiteTags(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "tagged", "x")
	b := c.NewBlobClient("tagged")
	must(b.SetTags(ctx, map[string]string{"team": "sales", "state": "new"}, nil))(t)
	tags := must(b.GetTags(ctx, nil))(t)
	if len(tags.BlobTagSet) != 2 {
		t.Fatalf("%d tags", len(tags.BlobTagSet))
	}
}

func suiteTier(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "cool", "x")
	must(c.NewBlobClient("cool").SetTier(ctx, blob.AccessTierCool, nil))(t)
	if got := *must(c.NewBlobClient("cool").GetProperties(ctx, nil))(t).AccessTier; got != "Cool" {
		t.Fatalf("tier %s", got)
	}
}

// wantUnauthenticated accepts Azure's code for a wrong signature and Azurite's.
func wantUnauthenticated(t *testing.T, err error) {
	t.Helper()
	if !bloberror.HasCode(err, bloberror.AuthenticationFailed, bloberror.AuthorizationFailure) {
		t.Fatalf("got %v, want a refusal of the signature", err)
	}
}

func suiteBlobSAS(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "signed", "text")
	put(t, c, "other", "text")
	url := must(c.NewBlobClient("signed").GetSASURL(sas.BlobPermissions{Read: true}, time.Now().Add(time.Hour), nil))(t)
	b := must(blockblob.NewClientWithNoCredential(url, &blockblob.ClientOptions{ClientOptions: noRetry()}))(t)
	if got := readAll(t, must(b.DownloadStream(ctx, nil))(t).Body); got != "text" {
		t.Fatalf("got %q", got)
	}
	_, err := b.Upload(ctx, body("x"), nil)
	wantError(t, err, 403, "AuthorizationPermissionMismatch")
	stolen := must(blob.NewClientWithNoCredential(strings.Replace(url, "/signed?", "/other?", 1), &blob.ClientOptions{ClientOptions: noRetry()}))(t)
	_, err = stolen.DownloadStream(ctx, nil)
	wantUnauthenticated(t, err)
	more := must(blob.NewClientWithNoCredential(strings.Replace(url, "sp=r", "sp=rw", 1), &blob.ClientOptions{ClientOptions: noRetry()}))(t)
	_, err = more.DownloadStream(ctx, nil)
	wantUnauthenticated(t, err)
}

func suiteContainerSAS(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "x", "text")
	url := must(c.GetSASURL(sas.ContainerPermissions{Read: true, List: true, Create: true}, time.Now().Add(time.Hour), nil))(t)
	signed := must(container.NewClientWithNoCredential(url, &container.ClientOptions{ClientOptions: noRetry()}))(t)
	if names, _ := flatNames(t, signed, nil); !slices.Equal(names, []string{"x"}) {
		t.Fatalf("got %v", names)
	}
	if get(t, signed, "x") != "text" {
		t.Fatal("wrong text")
	}
	put(t, signed, "new", "created")
	_, err := signed.NewBlobClient("x").Delete(ctx, nil)
	wantError(t, err, 403, "AuthorizationPermissionMismatch")
}

func suiteAccountSAS(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "x", "text")
	url := must(s.client.GetSASURL(sas.AccountResourceTypes{Object: true, Container: true}, sas.AccountPermissions{Read: true, List: true}, time.Now().Add(time.Hour), nil))(t)
	signed := must(service.NewClientWithNoCredential(url, &service.ClientOptions{ClientOptions: noRetry()}))(t)
	if get(t, signed.NewContainerClient(s.prefix), "x") != "text" {
		t.Fatal("wrong text")
	}
	_, err := signed.NewContainerClient(s.prefix).NewBlobClient("x").Delete(ctx, nil)
	wantError(t, err, 403, "AuthorizationPermissionMismatch")
	_, err = signed.GetProperties(ctx, nil)
	wantError(t, err, 403, "AuthorizationResourceTypeMismatch")
}

func suiteWrongKey(s suite) {
	t := s.t
	c := s.container()
	name := strings.Trim(s.client.URL(), "/")
	cred := must(service.NewSharedKeyCredential(name[strings.LastIndex(name, "/")+1:], base64.StdEncoding.EncodeToString([]byte("not the account's key"))))(t)
	wrong := must(container.NewClientWithSharedKeyCredential(c.URL(), cred, &container.ClientOptions{ClientOptions: noRetry()}))(t)
	_, err := wrong.GetProperties(ctx, nil)
	wantUnauthenticated(t, err)
}

func suiteBatch(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "a", "1")
	put(t, c, "b", "2")
	builder := must(c.NewBatchBuilder())(t)
	for _, name := range []string{"a", "b", "absent"} {
		if err := builder.Delete(name, nil); err != nil {
			t.Fatal(err)
		}
	}
	resp := must(c.SubmitBatch(ctx, builder, nil))(t)
	failed := 0
	for _, r := range resp.Responses {
		if r.Error != nil {
			failed++
			wantError(t, r.Error, 404, "BlobNotFound")
		}
	}
	if names, _ := flatNames(t, c, nil); failed != 1 || len(names) != 0 {
		t.Fatalf("%d failed, %v left", failed, names)
	}
}

func suiteUncommitted(s suite) {
	t := s.t
	c := s.container()
	must(c.NewBlockBlobClient("begun").StageBlock(ctx, blockID(1), body("x"), nil))(t)
	if names, _ := flatNames(t, c, nil); len(names) != 0 {
		t.Fatalf("%v in a plain list", names)
	}
	names, _ := flatNames(t, c, &container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{UncommittedBlobs: true}})
	if !slices.Equal(names, []string{"begun"}) {
		t.Fatalf("got %v", names)
	}
}

func suiteDeleteTwice(s suite) {
	t := s.t
	c := s.container()
	put(t, c, "x", "text")
	must(c.NewBlobClient("x").Delete(ctx, nil))(t)
	_, err := c.NewBlobClient("x").Delete(ctx, nil)
	wantError(t, err, 404, "BlobNotFound")
}

// stageTwo writes text as two blocks and returns it.
func stageTwo(ctx context.Context, b *blockblob.Client, text string) (string, error) {
	half := len(text) / 2
	for i, part := range []string{text[:half], text[half:]} {
		if _, err := b.StageBlock(ctx, blockID(i), streaming.NopCloser(strings.NewReader(part)), nil); err != nil {
			return "", err
		}
	}
	_, err := b.CommitBlockList(ctx, []string{blockID(0), blockID(1)}, nil)
	return text, err
}
