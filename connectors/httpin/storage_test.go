package httpin

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/blobd"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

// What the binary plugs in.
var (
	_ intake.Staging = (*azblob.Staging)(nil)
	_ Archive        = (*azblob.Archive)(nil)
	_ Purged         = (*azblob.PurgedSet)(nil)
)

// vault is the embedded Blob server with the connector's staging and archive on it.
type vault struct {
	staging *azblob.Staging
	archive *azblob.Archive
}

func openVault(t *testing.T, c clock.Clock) vault {
	t.Helper()
	server, err := blobd.Open(blobd.Config{
		Dir: t.TempDir(), Account: "devstore", Key: base64.StdEncoding.EncodeToString([]byte("a key for tests, thirty-two byte")), Clock: c, Log: slog.New(slog.DiscardHandler),
		Containers: []blobd.ContainerConfig{{Name: "archive", ImmutableWithVersioning: true, DefaultDays: 1, DefaultLocked: true}, {Name: "staging"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	account, err := azblob.Connect(azblob.Options{ConnectionString: server.ConnectionString(addr), Transport: &http.Client{Transport: transport}, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := azblob.OpenArchive(t.Context(), account, azblob.ArchiveConfig{Container: "archive", Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	return vault{azblob.NewStaging(account, azblob.StagingConfig{Container: "staging", Clock: c}), archive}
}

// TestUploadToContentOverTheBlobServer goes the whole way of an image's bytes: staged by the door, archived by the
// connector as the sink does, served by the door from the protected version.
func TestUploadToContentOverTheBlobServer(t *testing.T) {
	t.Parallel()
	var v vault
	d := openDoor(t, func(c *Config) {
		v = openVault(t, c.Clock)
		in, err := intake.New(intake.Config{Staging: v.staging})
		if err != nil {
			t.Fatal(err)
		}
		c.Archive, c.Intake = v.archive, in
	})
	noise := make([]byte, 11<<20) // several blocks
	for i, r := 0, rand.NewPCG(3, 4); i < len(noise); i += 8 {
		for j, x := 0, r.Uint64(); j < 8; j, x = j+1, x>>8 {
			noise[i+j] = byte(x)
		}
	}
	for name, b := range map[string][]byte{"small": picture(1), "large": append(picture(2), noise...)} {
		id := d.upload(demoKey, b)
		var raw events.RawImage
		for _, rec := range d.records(events.TopicRawImages) {
			if string(rec.Key) == id {
				var err error
				if raw, err = d.server.cfg.Codec.DecodeRawImage(rec.Value); err != nil {
					t.Fatal(err)
				}
			}
		}
		staged, err := v.staging.Read(t.Context(), raw.Blob.Name, 64<<20)
		if err != nil || !bytes.Equal(staged, b) {
			t.Fatalf("%s: %d bytes of %d are staged: %v", name, len(staged), len(b), err)
		}
		image := d.image("demo", b)
		stored, err := v.archive.Put(t.Context(), azblob.Object{
			Name: events.RawName(image.ReceivedAt, id, "image/png"), ContentType: "image/png", ImageID: id, Tenant: "demo", Origin: "api", Source: "raw-images/0/0",
			ExpiresAt: image.ExpiresAt, Body: bytes.NewReader(staged),
		})
		if err != nil {
			t.Fatal(err)
		}
		image.Archive = []events.ArchivedBlob{stored.Blob}
		image.Reach(events.StatusArchived, d.clock.Now())
		d.say(image)
		d.shows(image)
		path := "/v1/images/" + id + "/content"
		if r := d.do("GET", path, demoKey, nil); r.status != 200 || sha256.Sum256(r.body) != sha256.Sum256(b) {
			t.Errorf("%s: %d, %d bytes", name, r.status, len(r.body))
		}
		if r := d.do("GET", path, demoKey, nil, "Range", fmt.Sprintf("bytes=20-%d", len(b)-2)); r.status != 206 || !bytes.Equal(r.body, b[20:len(b)-1]) {
			t.Errorf("%s: a range is %d, %d bytes", name, r.status, len(r.body))
		}
	}
	cut, ct := form(t, "a.png", picture(3), "b.png", append(picture(4), noise...))
	if r := d.do("POST", "/v1/images", demoKey, bytes.NewReader(cut.Bytes()[:cut.Len()-100]), "Content-Type", ct); r.status != 400 {
		t.Errorf("a body that breaks off: %d", r.status)
	}
	if n := len(d.records(events.TopicRawImages)); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}
