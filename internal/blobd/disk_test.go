package blobd_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/millrun/millrun/internal/blobd"
)

func TestEverythingSurvivesRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("plain")
	must(c.NewBlockBlobClient("a/b").Upload(ctx, body("text"), &blockblob.UploadOptions{Metadata: map[string]*string{"k": new("v")}, Tags: map[string]string{"t": "1"}}))(t)
	must(c.NewBlockBlobClient("begun").StageBlock(ctx, blockID(1), body("staged"), nil))(t)
	must(c.NewBlobClient("a/b").CreateSnapshot(ctx, nil))(t)
	before := versionsOf(t, c, "a/b")
	tag := must(c.NewBlobClient("a/b").GetProperties(ctx, nil))(t).ETag
	for range 2 {
		if err := r.server.Close(); err != nil {
			t.Fatal(err)
		}
		r.open(nil)
	}
	c = r.client.NewContainerClient("plain")
	after := must(c.NewBlobClient("a/b").GetProperties(ctx, nil))(t)
	if get(t, c, "a/b") != "text" || *after.ETag != *tag || *after.Metadata["K"] != "v" || *after.TagCount != 1 {
		t.Fatalf("after the restart: %+v", after)
	}
	if got := versionsOf(t, c, "a/b"); len(got) != len(before) || *got[0].Snapshot != *before[0].Snapshot {
		t.Fatalf("%d entries, %d before", len(got), len(before))
	}
	must(c.NewBlockBlobClient("begun").CommitBlockList(ctx, []string{blockID(1)}, nil))(t)
	if get(t, c, "begun") != "staged" {
		t.Fatal("the uncommitted block is lost")
	}
}

func TestDeletedBytesNamesAndMetadataAreGoneFromDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("plain")
	for i := range 3 {
		must(c.NewBlockBlobClient("secret-name").Upload(ctx, body(strings.Repeat("secret-bytes", i+1)), &blockblob.UploadOptions{
			Metadata: map[string]*string{"tenant": new("secret-tenant")}}))(t)
	}
	must(c.NewBlockBlobClient("secret-name").StageBlock(ctx, blockID(1), body("secret-block"), nil))(t)
	texts := []string{"secret-bytes", "secret-block", "secret-name", "secret-tenant"}
	for _, text := range texts {
		if n := len(filesWith(t, r.dir, text)); n != 1 {
			t.Fatalf("%q is in %d files before the delete", text, n)
		}
	}
	put(t, c, "secret-name", "") // drops the block
	must(c.NewBlobClient("secret-name").Delete(ctx, nil))(t)
	for _, text := range texts {
		if files := filesWith(t, r.dir, text); len(files) != 0 {
			t.Errorf("%q is still in %v", text, files)
		}
	}
	if s := r.server.Stats(); s.Bytes != 0 || s.Blobs != 0 || s.Uncommitted != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestDeletedContainerIsGoneFromDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("secret-container")
	put(t, c, "x", "secret-bytes")
	must(c.Delete(ctx, nil))(t)
	for _, text := range []string{"secret-container", "secret-bytes"} {
		if files := filesWith(t, r.dir, text); len(files) != 0 {
			t.Errorf("%q is still in %v", text, files)
		}
	}
	must(c.Create(ctx, nil))(t)
	if names, _ := flatNames(t, c, nil); len(names) != 0 {
		t.Errorf("the new container holds %v", names)
	}
}

func TestUncommittedBlocksGoAfterSevenDays(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("plain")
	b := c.NewBlockBlobClient("begun")
	must(b.StageBlock(ctx, blockID(1), body("secret-block"), nil))(t)
	r.clock.Advance(6 * 24 * time.Hour)
	must(b.StageBlock(ctx, blockID(2), body("secret-block"), nil))(t) // the last one counts
	r.clock.Advance(6 * 24 * time.Hour)
	sweep(t, r)
	if r.server.Stats().Uncommitted != 2 {
		t.Fatal("blocks went before their time")
	}
	r.clock.Advance(24 * time.Hour)
	sweep(t, r)
	if s := r.server.Stats(); s.Uncommitted != 0 || s.Bytes != 0 {
		t.Fatalf("stats %+v", s)
	}
	if files := filesWith(t, r.dir, "secret-block"); len(files) != 0 {
		t.Fatalf("still in %v", files)
	}
}

func sweep(t *testing.T, r *rig) {
	t.Helper()
	if err := r.server.Sweep(); err != nil {
		t.Fatal(err)
	}
}

// A folder as a process that was killed at the worst moment leaves it: files that no head names, a blob's folder
// without head, a half-removed container, something in tmp.
func TestLeftoversOfAKilledProcessAreRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("plain")
	put(t, c, "x", "text")
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	heads := must(filepath.Glob(filepath.Join(r.dir, "c", "*", "b", "*", "head.json")))(t)
	if len(heads) != 1 {
		t.Fatalf("%d heads", len(heads))
	}
	blobDir := filepath.Dir(heads[0])
	orphan := filepath.Join(filepath.Dir(blobDir), strings.Repeat("0", 64))
	torn := filepath.Join(r.dir, "c", strings.Repeat("1", 64), "b", strings.Repeat("2", 64))
	for dir, files := range map[string][]string{
		blobDir: {"s-99.seg", "u-0-99-6162.seg", "s-98.seg"}, orphan: {"s-1.seg"}, torn: {"head.json"}, filepath.Join(r.dir, "tmp"): {"7"},
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f), []byte("leftover"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.open(nil)
	if get(t, r.client.NewContainerClient("plain"), "x") != "text" {
		t.Fatal("the blob was harmed")
	}
	if files := filesWith(t, r.dir, "leftover"); len(files) != 0 {
		t.Fatalf("left: %v", files)
	}
}

func TestDamagedFolderIsRefusedByName(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(head string) error{
		"segment cut":  func(head string) error { return os.Truncate(segmentOf(head), 1) },
		"segment lost": func(head string) error { return os.Remove(segmentOf(head)) },
		"head cut":     func(head string) error { return os.Truncate(head, 10) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			put(t, r.container("plain"), "x", "text")
			if err := r.server.Close(); err != nil {
				t.Fatal(err)
			}
			head := must(filepath.Glob(filepath.Join(r.dir, "c", "*", "b", "*", "head.json")))(t)[0]
			if err := damage(head); err != nil {
				t.Fatal(err)
			}
			_, err := blobd.Open(blobd.Config{Dir: r.dir, Account: account, Key: key})
			if err == nil || !strings.Contains(err.Error(), filepath.Base(filepath.Dir(head))) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func segmentOf(head string) string {
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(head), "*.seg"))
	return files[0]
}

func TestFolderBelongsToOneServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	if _, err := blobd.Open(blobd.Config{Dir: r.dir, Account: account, Key: key}); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Fatalf("got %v", err)
	}
}

func TestConfigurationFaultsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := blobd.Open(blobd.Config{Account: "No", Key: "?", SoftDelete: time.Hour, Containers: []blobd.ContainerConfig{{Name: "UP"}, {Name: "plain", DefaultDays: 3}}})
	for _, want := range []string{"Dir", "account", "Key", "SoftDelete", "UP", "plain"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "?") && strings.Contains(err.Error(), `"?"`) {
		t.Errorf("the key is in %v", err)
	}
	r := newRig(t, func(c *blobd.Config) { c.Containers = []blobd.ContainerConfig{{Name: "archive"}} })
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = blobd.Open(blobd.Config{Dir: r.dir, Account: account, Key: key, Containers: []blobd.ContainerConfig{{Name: "archive", ImmutableWithVersioning: true}}})
	if err == nil || !strings.Contains(err.Error(), "archive") {
		t.Fatalf("an ordinary container passed for an immutable one: %v", err)
	}
}

// zeros is a body of any length that holds nothing in memory.
type zeros struct{ size, at int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.at >= z.size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.size-z.at)
	clear(p[:n])
	z.at += n
	return int(n), nil
}

func (z *zeros) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		z.at = offset
	case io.SeekCurrent:
		z.at += offset
	default:
		z.at = z.size + offset
	}
	return z.at, nil
}

// Not parallel: it measures the process's allocations.
func TestBodiesPassInConstantMemory(t *testing.T) {
	r := newRig(t, nil)
	c := r.container("plain")
	const size = 96 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	must(c.NewBlockBlobClient("big").Upload(ctx, streaming.NopCloser(&zeros{size: size}), nil))(t)
	resp := must(c.NewBlobClient("big").DownloadStream(ctx, nil))(t)
	n := must(io.Copy(io.Discard, resp.Body))(t)
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n != size {
		t.Fatalf("%d bytes came back", n)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Fatalf("%d MiB were allocated for %d MiB there and back", grown>>20, size>>20)
	}
}

// Many writers on few names: every acknowledged write is whole, and a conditional one wins once.
func TestConcurrentWritersLeaveWholeBlobs(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 0, false)
	const writers, rounds = 8, 12
	done := make(chan int, writers)
	once := &blockblob.UploadOptions{AccessConditions: modified(blob.ModifiedAccessConditions{IfNoneMatch: etagAny()})}
	for w := range writers {
		go func() {
			won := 0
			for i := range rounds {
				text := bytes.Repeat([]byte{byte('a' + w)}, 1000+i)
				if _, err := c.NewBlockBlobClient("shared").Upload(ctx, body(string(text)), nil); err != nil {
					t.Error(err)
				}
				if _, err := c.NewBlockBlobClient("once"+string(rune('a'+i))).Upload(ctx, body(string(text)), once); err == nil {
					won++
				}
			}
			done <- won
		}()
	}
	won := 0
	for range writers {
		won += <-done
	}
	if won != rounds {
		t.Fatalf("%d conditional writes won, want %d", won, rounds)
	}
	items := versionsOf(t, c, "shared")
	if len(items) != writers*rounds {
		t.Fatalf("%d versions, want %d", len(items), writers*rounds)
	}
	ids := make([]string, 0, len(items))
	for _, item := range items {
		ids = append(ids, *item.VersionID)
		v := must(c.NewBlobClient("shared").WithVersionID(*item.VersionID))(t)
		text := readAll(t, must(v.DownloadStream(ctx, nil))(t).Body)
		if strings.Trim(text, text[:1]) != "" || int64(len(text)) != *item.Properties.ContentLength {
			t.Fatalf("a version mixes writers: %q", text)
		}
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Fatal("version ids are not unique and ascending")
	}
}

// While names come and go, a list neither fails nor shows what never existed.
func TestListWhileBlobsComeAndGo(t *testing.T) {
	t.Parallel()
	c := newRig(t, nil).container("plain")
	put(t, c, "stays", "1")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			put(t, c, "comes", "1")
			must(c.NewBlobClient("comes").Delete(ctx, nil))(t)
		}
	}()
	for range 50 {
		names, _ := flatNames(t, c, &container.ListBlobsFlatOptions{MaxResults: new(int32(1))})
		if !slices.Contains(names, "stays") || len(names) > 2 {
			t.Errorf("list %v", names)
		}
	}
	close(stop)
	<-done
}

func TestClosedServerSaysBusy(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for range 2 {
		if err := r.server.Close(); err != nil {
			t.Fatal(err)
		}
	}
	rec := httptest.NewRecorder()
	r.server.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/devstore/?comp=list", nil))
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("X-Ms-Error-Code") != "ServerBusy" {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
}

// Requests in flight when the server closes are cut off or answered; the folder opens whole in either case.
func TestCloseAmongRequests(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("plain")
	done := make(chan int, 4)
	began := make(chan struct{}, 4)
	for w := range 4 {
		go func() {
			for n := 0; ; n++ {
				name := "w" + string(rune('a'+w)) + strings.Repeat("x", n%5)
				if _, err := c.NewBlockBlobClient(name).Upload(ctx, body(name), nil); err != nil {
					done <- n
					return
				}
				if n == 3 {
					began <- struct{}{}
				}
			}
		}()
	}
	for range 4 {
		<-began
	}
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		<-done
	}
	r.open(nil)
	names, _ := flatNames(t, r.client.NewContainerClient("plain"), nil)
	for _, name := range names {
		if get(t, r.client.NewContainerClient("plain"), name) != name {
			t.Errorf("%s is not whole", name)
		}
	}
}
