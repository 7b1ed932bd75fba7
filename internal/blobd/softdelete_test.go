package blobd_test

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/millrun/millrun/internal/blobd"
)

// soft is a rig whose account keeps deleted blobs for two days.
func soft(t *testing.T, versioning bool) *rig {
	t.Helper()
	return newRig(t, func(c *blobd.Config) { c.SoftDelete, c.Versioning = 48*time.Hour, versioning })
}

func TestSoftDeletedBlobComesBackUntilItsRetentionEnds(t *testing.T) {
	t.Parallel()
	r := soft(t, false)
	c := r.container("plain")
	put(t, c, "x", "kept-bytes")
	b := c.NewBlobClient("x")
	must(b.Delete(ctx, nil))(t)
	_, err := b.GetProperties(ctx, nil)
	wantError(t, err, 404, "BlobNotFound")
	items := versionsOf(t, c, "x")
	if len(items) != 1 || !*items[0].Deleted || *items[0].Properties.RemainingRetentionDays != 2 || !items[0].Properties.DeletedTime.Equal(origin) {
		t.Fatalf("list: %+v", items)
	}
	must(b.Undelete(ctx, nil))(t)
	if get(t, c, "x") != "kept-bytes" {
		t.Fatal("other bytes came back")
	}
	must(b.Delete(ctx, nil))(t)
	r.clock.Advance(48*time.Hour - time.Second)
	if len(versionsOf(t, c, "x")) != 1 {
		t.Fatal("gone before its retention ended")
	}
	r.clock.Advance(time.Second)
	if len(versionsOf(t, c, "x")) != 0 {
		t.Fatal("still listed after its retention")
	}
	_, err = b.Undelete(ctx, nil)
	wantError(t, err, 404, "BlobNotFound")
	if err := r.server.Sweep(); err != nil {
		t.Fatal(err)
	}
	if files := filesWith(t, r.dir, "kept-bytes"); len(files) != 0 {
		t.Fatalf("the bytes are still in %v", files)
	}
}

func TestOverwriteUnderSoftDeleteKeepsASnapshot(t *testing.T) {
	t.Parallel()
	r := soft(t, false)
	c := r.container("plain")
	put(t, c, "x", "first")
	put(t, c, "x", "second")
	items := versionsOf(t, c, "x")
	if len(items) != 2 || items[0].Snapshot == nil || !*items[0].Deleted {
		t.Fatalf("list: %d", len(items))
	}
	b := c.NewBlobClient("x")
	must(b.Undelete(ctx, nil))(t)
	snap := must(b.WithSnapshot(*items[0].Snapshot))(t)
	if got := readAll(t, must(snap.DownloadStream(ctx, nil))(t).Body); got != "first" || get(t, c, "x") != "second" {
		t.Fatalf("the snapshot holds %q", got)
	}
}

func TestUndeleteUnderVersioningRestoresVersionsButMakesNoneCurrent(t *testing.T) {
	t.Parallel()
	r := soft(t, true)
	c := r.container("plain")
	put(t, c, "x", "text")
	b := c.NewBlobClient("x")
	must(b.Delete(ctx, nil))(t)
	items := versionsOf(t, c, "x")
	if len(items) != 1 || items[0].Deleted != nil {
		t.Fatalf("a delete of the current version soft-deleted it: %+v", items)
	}
	version := must(b.WithVersionID(*items[0].VersionID))(t)
	must(version.Delete(ctx, nil))(t)
	if items = versionsOf(t, c, "x"); len(items) != 1 || items[0].Deleted == nil {
		t.Fatalf("list: %+v", items)
	}
	_, err := version.GetProperties(ctx, nil)
	wantError(t, err, 404, "BlobNotFound")
	must(b.Undelete(ctx, nil))(t)
	must(version.GetProperties(ctx, nil))(t)
	_, err = b.GetProperties(ctx, nil)
	wantError(t, err, 404, "BlobNotFound")
}

func TestPermanentDeleteNeedsTheAccountsLeave(t *testing.T) {
	t.Parallel()
	r := soft(t, true)
	c := r.container("plain")
	put(t, c, "x", "secret-bytes")
	b := c.NewBlobClient("x")
	id := *versionsOf(t, c, "x")[0].VersionID
	must(b.Delete(ctx, nil))(t)
	version := must(b.WithVersionID(id))(t)
	permanent := &blob.DeleteOptions{BlobDeleteType: new(blob.DeleteTypePermanent)}
	_, err := version.Delete(ctx, permanent)
	wantError(t, err, 409, "PermanentDeleteNotAllowed")
	must(r.client.SetProperties(ctx, &service.SetPropertiesOptions{DeleteRetentionPolicy: &service.RetentionPolicy{
		Enabled: new(true), Days: new(int32(2)), AllowPermanentDelete: new(true)}}))(t)
	_, err = version.Delete(ctx, permanent)
	wantError(t, err, 409, "PermanentDeleteNotAllowed") // not soft-deleted yet
	must(version.Delete(ctx, nil))(t)
	must(version.Delete(ctx, permanent))(t)
	if files := filesWith(t, r.dir, "secret-bytes"); len(files) != 0 {
		t.Fatalf("the bytes are still in %v", files)
	}
}

func TestSoftDeleteSettingsApplyToLaterDeletionsAndSurviveRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("plain")
	put(t, c, "before", "1")
	put(t, c, "after", "2")
	must(c.NewBlobClient("before").Delete(ctx, nil))(t)
	must(r.client.SetProperties(ctx, &service.SetPropertiesOptions{DeleteRetentionPolicy: &service.RetentionPolicy{Enabled: new(true), Days: new(int32(3))}}))(t)
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	r.open(nil)
	c = r.client.NewContainerClient("plain")
	if p := must(r.client.GetProperties(ctx, nil))(t).DeleteRetentionPolicy; !*p.Enabled || *p.Days != 3 {
		t.Fatalf("settings after the restart: %+v", p)
	}
	must(c.NewBlobClient("after").Delete(ctx, nil))(t)
	if len(versionsOf(t, c, "before")) != 0 || len(versionsOf(t, c, "after")) != 1 {
		t.Fatal("the setting applied to the wrong deletion")
	}
}
