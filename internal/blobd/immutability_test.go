package blobd_test

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/millrun/millrun/internal/blobd"
)

const week = 7 * 24 * time.Hour

func locked(until time.Time) *blockblob.UploadOptions {
	return &blockblob.UploadOptions{
		ImmutabilityPolicyExpiryTime: &until, ImmutabilityPolicyMode: new(blob.ImmutabilityPolicySettingLocked),
	}
}

func setPolicy(b *blob.Client, until time.Time, mode blob.ImmutabilityPolicySetting) error {
	_, err := b.SetImmutabilityPolicy(ctx, until, &blob.SetImmutabilityPolicyOptions{Mode: &mode})
	return err
}

// versionsOf are the list's entries for one name, soft-deleted ones and snapshots included.
func versionsOf(t *testing.T, c *container.Client, name string) []*container.BlobItem {
	t.Helper()
	var out []*container.BlobItem
	pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &name, Include: container.ListBlobsInclude{
		Versions: true, Deleted: true, Snapshots: true, ImmutabilityPolicy: true, LegalHold: true, UncommittedBlobs: true, Metadata: true,
	}})
	for pager.More() {
		for _, item := range must(pager.NextPage(ctx))(t).Segment.BlobItems {
			if *item.Name == name {
				out = append(out, item)
			}
		}
	}
	return out
}

// The scenario that azblob's own tests recorded against Azure: policy, refused delete, policy removed, delete.
func TestUnlockedPolicyIsRefusedUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 0, false)
	put(t, c, "x", "text")
	b := c.NewBlobClient("x")
	until := time.Date(2049, 6, 11, 20, 0, 0, 0, time.UTC)
	if err := setPolicy(b, until, blob.ImmutabilityPolicySettingUnlocked); err != nil {
		t.Fatal(err)
	}
	set := must(b.SetImmutabilityPolicy(ctx, until, nil))(t)
	if !set.ImmutabilityPolicyExpiry.Equal(until) {
		t.Fatalf("until %s", set.ImmutabilityPolicyExpiry)
	}
	must(b.SetLegalHold(ctx, false, nil))(t)
	_, err := b.Delete(ctx, nil)
	wantError(t, err, 409, "BlobImmutableDueToPolicy")
	must(b.DeleteImmutabilityPolicy(ctx, nil))(t)
	must(b.Delete(ctx, nil))(t)
}

// The second recorded scenario: hold on, refused delete, hold off, delete.
func TestLegalHoldIsRefusedUntilItIsCleared(t *testing.T) {
	t.Parallel()
	c := newRig(t, nil).worm("worm", 0, false)
	put(t, c, "x", "text")
	b := c.NewBlobClient("x")
	must(b.SetLegalHold(ctx, true, nil))(t)
	if hold := must(b.GetProperties(ctx, nil))(t).LegalHold; hold == nil || !*hold {
		t.Fatal("the hold is not shown")
	}
	_, err := b.Delete(ctx, nil)
	wantError(t, err, 409, "BlobImmutableDueToLegalHold")
	_, err = b.SetMetadata(ctx, map[string]*string{"k": new("v")}, nil)
	wantError(t, err, 409, "BlobImmutableDueToLegalHold")
	must(b.SetLegalHold(ctx, false, nil))(t)
	must(b.Delete(ctx, nil))(t)
}

func TestUploadCarriesPolicyAndHold(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 0, false)
	until := origin.Add(week)
	o := locked(until)
	o.LegalHold = new(true)
	up := must(c.NewBlockBlobClient("x").Upload(ctx, body("text"), o))(t)
	props := must(c.NewBlobClient("x").GetProperties(ctx, nil))(t)
	if !props.ImmutabilityPolicyExpiresOn.Equal(until) || *props.ImmutabilityPolicyMode != "locked" || !*props.LegalHold ||
		*props.VersionID != *up.VersionID || !*props.IsCurrentVersion {
		t.Fatalf("properties %+v", props)
	}
	b := c.NewBlockBlobClient("blocks")
	must(b.StageBlock(ctx, blockID(1), body("text"), nil))(t)
	must(b.CommitBlockList(ctx, []string{blockID(1)}, &blockblob.CommitBlockListOptions{
		ImmutabilityPolicyExpiryTime: &until, ImmutabilityPolicyMode: new(blob.ImmutabilityPolicySettingLocked),
	}))(t)
	items := versionsOf(t, c, "blocks")
	if len(items) != 1 || !items[0].Properties.ImmutabilityPolicyExpiresOn.Equal(until) || *items[0].Properties.ImmutabilityPolicyMode != "locked" {
		t.Fatalf("list shows %+v", items)
	}
}

func TestLockedPolicyOnlyGetsLonger(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 0, false)
	until := origin.Add(week)
	must(c.NewBlockBlobClient("x").Upload(ctx, body("text"), locked(until)))(t)
	b := c.NewBlobClient("x")
	wantError(t, setPolicy(b, until.Add(-time.Second), blob.ImmutabilityPolicySettingLocked), 409, "BlobImmutableDueToPolicy")
	wantError(t, setPolicy(b, until.Add(time.Hour), blob.ImmutabilityPolicySettingUnlocked), 409, "BlobImmutableDueToPolicy")
	wantError(t, setPolicy(b, origin.Add(-time.Second), blob.ImmutabilityPolicySettingLocked), 400, "InvalidHeaderValue")
	_, err := b.DeleteImmutabilityPolicy(ctx, nil)
	wantError(t, err, 409, "ImmutabilityPolicyDeleteOnLockedPolicy")
	before := must(b.GetProperties(ctx, nil))(t).ETag
	if err := setPolicy(b, until.Add(time.Hour), blob.ImmutabilityPolicySettingLocked); err != nil {
		t.Fatal(err)
	}
	after := must(b.GetProperties(ctx, nil))(t)
	if !after.ImmutabilityPolicyExpiresOn.Equal(until.Add(time.Hour)) || *after.ETag != *before {
		t.Fatalf("until %s, ETag changed %t", after.ImmutabilityPolicyExpiresOn, *after.ETag != *before)
	}
}

func TestOverwriteOfProtectedBlobMakesVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 0, false)
	up := must(c.NewBlockBlobClient("x").Upload(ctx, body("original"), locked(origin.Add(week))))(t)
	put(t, c, "x", "intruder")
	if get(t, c, "x") != "intruder" {
		t.Fatal("the overwrite is not current")
	}
	old := must(c.NewBlobClient("x").WithVersionID(*up.VersionID))(t)
	if got := readAll(t, must(old.DownloadStream(ctx, nil))(t).Body); got != "original" {
		t.Fatalf("the protected version holds %q", got)
	}
	if cur := must(old.GetProperties(ctx, nil))(t).IsCurrentVersion; cur != nil && *cur {
		t.Fatal("the old version calls itself current")
	}
	_, err := old.Delete(ctx, nil)
	wantError(t, err, 409, "BlobImmutableDueToPolicy")
	items := versionsOf(t, c, "x")
	if len(items) != 2 || *items[0].VersionID != *up.VersionID || items[1].IsCurrentVersion == nil {
		t.Fatalf("%d versions", len(items))
	}
}

func TestPurgeOfExpiredBlobTakesTwoDeletes(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 0, false)
	up := must(c.NewBlockBlobClient("secret-name").Upload(ctx, body("secret-bytes"), &blockblob.UploadOptions{
		ImmutabilityPolicyExpiryTime: new(origin.Add(week)), ImmutabilityPolicyMode: new(blob.ImmutabilityPolicySettingLocked),
		Metadata: map[string]*string{"tenant": new("secret-tenant")},
	}))(t)
	b := c.NewBlobClient("secret-name")
	r.clock.Advance(week - time.Second)
	_, err := b.Delete(ctx, nil)
	wantError(t, err, 409, "BlobImmutableDueToPolicy")
	r.clock.Advance(time.Second)
	_, err = b.SetMetadata(ctx, nil, nil)
	wantError(t, err, 409, "BlobImmutableDueToPolicy") // also after expiry
	version := must(b.WithVersionID(*up.VersionID))(t)
	_, err = version.Delete(ctx, nil)
	wantError(t, err, 403, "OperationNotAllowedOnRootBlob")
	must(b.Delete(ctx, nil))(t)
	_, err = b.GetProperties(ctx, nil)
	wantError(t, err, 404, "BlobNotFound")
	if items := versionsOf(t, c, "secret-name"); len(items) != 1 || items[0].IsCurrentVersion != nil {
		t.Fatalf("after the first delete: %d entries", len(items))
	}
	if len(filesWith(t, r.dir, "secret-bytes")) == 0 {
		t.Fatal("the version is gone before its delete: the search would prove nothing")
	}
	must(version.Delete(ctx, nil))(t)
	if items := versionsOf(t, c, "secret-name"); len(items) != 0 {
		t.Fatalf("after both deletes: %d entries", len(items))
	}
	for _, text := range []string{"secret-bytes", "secret-name", "secret-tenant"} {
		if files := filesWith(t, r.dir, text); len(files) != 0 {
			t.Errorf("%q is still in %v", text, files)
		}
	}
}

func TestDefaultPolicyOfContainer(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, tc := range []struct {
		name   string
		locked bool
		mode   blob.ImmutabilityPolicyMode
	}{{"unlocked", false, "unlocked"}, {"locked", true, "locked"}} {
		c := r.worm(tc.name, 1, tc.locked)
		put(t, c, "x", "text")
		props := must(c.NewBlobClient("x").GetProperties(ctx, nil))(t)
		if !props.ImmutabilityPolicyExpiresOn.Equal(origin.Add(24*time.Hour)) || *props.ImmutabilityPolicyMode != tc.mode {
			t.Errorf("%s: %v %v", tc.name, props.ImmutabilityPolicyExpiresOn, *props.ImmutabilityPolicyMode)
		}
		// A header of one's own without a mode means unlocked, whatever the default.
		must(c.NewBlockBlobClient("own").Upload(ctx, body("x"), &blockblob.UploadOptions{ImmutabilityPolicyExpiryTime: new(origin.Add(week))}))(t)
		own := must(c.NewBlobClient("own").GetProperties(ctx, nil))(t)
		if !own.ImmutabilityPolicyExpiresOn.Equal(origin.Add(week)) || *own.ImmutabilityPolicyMode != "unlocked" {
			t.Errorf("%s: own policy %v %v", tc.name, own.ImmutabilityPolicyExpiresOn, *own.ImmutabilityPolicyMode)
		}
	}
}

func TestContainerSaysWhatItPromises(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *blobd.Config) {
		c.Containers = []blobd.ContainerConfig{{Name: "archive", ImmutableWithVersioning: true, DefaultDays: 1, DefaultLocked: true}, {Name: "staging"}}
	})
	props := must(r.client.NewContainerClient("archive").GetProperties(ctx, nil))(t)
	if !*props.IsImmutableStorageWithVersioningEnabled || !*props.HasImmutabilityPolicy {
		t.Fatalf("archive: %+v", props)
	}
	props = must(r.client.NewContainerClient("staging").GetProperties(ctx, nil))(t)
	if *props.IsImmutableStorageWithVersioningEnabled || *props.HasImmutabilityPolicy {
		t.Fatalf("staging: %+v", props)
	}
	_, err := r.client.NewContainerClient("archive").Delete(ctx, nil)
	wantError(t, err, 409, "ContainerImmutableStorageWithVersioningEnabled")
}

func TestOrdinaryContainerRefusesPolicies(t *testing.T) {
	t.Parallel()
	c := newRig(t, nil).container("plain")
	_, err := c.NewBlockBlobClient("x").Upload(ctx, body("text"), locked(origin.Add(week)))
	if err == nil {
		t.Fatal("a policy was accepted where it cannot be kept")
	}
	put(t, c, "x", "text")
	if err := setPolicy(c.NewBlobClient("x"), origin.Add(week), blob.ImmutabilityPolicySettingLocked); err == nil {
		t.Fatal("a policy was accepted where it cannot be kept")
	}
	_, err = c.NewBlobClient("x").SetLegalHold(ctx, true, nil)
	if err == nil {
		t.Fatal("a hold was accepted where it cannot be kept")
	}
}

func TestProtectionSurvivesRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 0, false)
	must(c.NewBlockBlobClient("x").Upload(ctx, body("text"), locked(origin.Add(week))))(t)
	put(t, c, "x", "newer")
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	r.open(nil)
	c = r.client.NewContainerClient("worm")
	items := versionsOf(t, c, "x")
	if len(items) != 2 || items[0].Properties.ImmutabilityPolicyMode == nil {
		t.Fatalf("%d versions after the restart", len(items))
	}
	old := must(c.NewBlobClient("x").WithVersionID(*items[0].VersionID))(t)
	_, err := old.Delete(ctx, nil)
	wantError(t, err, 409, "BlobImmutableDueToPolicy")
	third := must(c.NewBlockBlobClient("x").Upload(ctx, body("third"), nil))(t)
	if *third.VersionID <= *items[1].VersionID {
		t.Fatalf("version %s after %s: the clock stands still, ids must not", *third.VersionID, *items[1].VersionID)
	}
}

func TestSnapshotsAndTiersUnderProtection(t *testing.T) {
	t.Parallel()
	c := newRig(t, nil).worm("worm", 0, false)
	up := must(c.NewBlockBlobClient("x").Upload(ctx, body("text"), locked(origin.Add(week))))(t)
	b := c.NewBlobClient("x")
	must(b.SetTier(ctx, blob.AccessTierCold, nil))(t)
	must(b.CreateSnapshot(ctx, nil))(t)
	old := must(b.WithVersionID(*up.VersionID))(t)
	_, err := old.Delete(ctx, nil)
	wantError(t, err, 409, "BlobImmutableDueToPolicy")
	if got := versionsOf(t, c, "x"); len(got) != 3 {
		t.Fatalf("%d entries, want the snapshot, the protected version and the one that the snapshot made current", len(got))
	}
}

func TestDateIsTheClocks(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("plain")
	r.clock.Advance(50 * time.Hour)
	put(t, c, "x", "text")
	props := must(c.NewBlobClient("x").GetProperties(ctx, nil))(t)
	want := origin.Add(50 * time.Hour)
	if !props.Date.Equal(want) || !props.LastModified.Equal(want) || !props.CreationTime.Equal(want) {
		t.Fatalf("Date %s, Last-Modified %s, want %s", props.Date, props.LastModified, want)
	}
}

func TestProtectedSnapshotStopsTheDeleteOfAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 1, true) // snapshots get the container's default
	put(t, c, "x", "text")
	b := c.NewBlobClient("x")
	snap := must(b.CreateSnapshot(ctx, nil))(t)
	all := &blob.DeleteOptions{DeleteSnapshots: new(blob.DeleteSnapshotsOptionTypeInclude)}
	_, err := b.Delete(ctx, all)
	wantError(t, err, 409, "BlobImmutableDueToPolicy")
	one := must(b.WithSnapshot(*snap.Snapshot))(t)
	_, err = one.Delete(ctx, nil)
	wantError(t, err, 409, "BlobImmutableDueToPolicy")
	r.clock.Advance(24 * time.Hour)
	must(b.Delete(ctx, all))(t)
	for _, item := range versionsOf(t, c, "x") {
		if item.Snapshot != nil {
			t.Fatal("the snapshot is still there")
		}
	}
}
