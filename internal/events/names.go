package events

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"mime"
	"strings"
	"time"
)

// Topics of the image pipeline.
const (
	TopicCompanyImages   = "company-images"   // the company's own feed; any key
	TopicRawImages       = "raw-images"       // RawImage by image_id
	TopicImageStatus     = "image-status"     // ImageStatus by image_id
	TopicProcessedImages = "processed-images" // ProcessedImage by image_id
)

// Applications (consumer groups) that read them, and the store that holds every image's life.
const (
	AppWorker      = "millrun-worker"
	AppArchive     = "millrun-archive"
	GroupAnalytics = "millrun-analytics"
	StoreImages    = "images"

	// TopicImagesChangelog holds an Image (JSON) by image_id, a tombstone once it has expired. Its records without a
	// value under MarkerKey stand for nothing.
	TopicImagesChangelog = AppWorker + "-" + StoreImages + "-changelog"
)

// MarkerKey is the key of the records that the worker appends to changelogs so that Kafka rolls their active segment.
// No image_id can equal it.
const MarkerKey = "__millrun.marker"

// DLQ is the topic of a topic's dead letters.
func DLQ(topic string) string { return topic + ".dlq" }

// Origins of a receipt.
const (
	OriginAPI  = "api"
	OriginFeed = "feed"
)

// Retention is how long an image is kept: a floor (immutable) and a ceiling (purged afterwards).
const Retention = 168 * time.Hour

// SettleLimit is how long after its receipt an image may still be worked on. What is not settled then has failed, and
// no redrive is accepted: its records would outlive their topics' share of the seven days.
const SettleLimit = 90 * time.Hour

// ExpiresAt is when an image received at t must be gone: Retention later.
func ExpiresAt(received time.Time) time.Time { return Expiry(received, Retention) }

// Expiry is when what was received at t and may be kept for so long must be gone, rounded up to the second, because an
// immutability policy's end has no finer unit (RFC 1123).
func Expiry(received time.Time, keep time.Duration) time.Time {
	t := received.UTC().Add(keep)
	if s := t.Truncate(time.Second); !s.Equal(t) {
		return s.Add(time.Second)
	}
	return t
}

// idEncoding is lower-case base32 (RFC 4648) without padding.
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ImageID names an image by its tenant and the SHA-256 of its bytes, so that the same bytes of the same tenant have
// the same name wherever they enter: "img_" and the first 26 characters of base32(SHA-256(tenant ‖ 0x00 ‖ sha)).
func ImageID(tenant string, sha [32]byte) string {
	h := sha256.New()
	h.Write([]byte(tenant))
	h.Write([]byte{0})
	h.Write(sha[:])
	return "img_" + idEncoding.EncodeToString(h.Sum(nil))[:26]
}

// hourPath is the UTC hour of receipt as folders.
func hourPath(t time.Time) string { return t.UTC().Format("2006/01/02/15") }

// StagingName is the staging blob of a receipt: incoming/{yyyy}/{mm}/{dd}/{hh}/{uuid}.
func StagingName(received time.Time, uuid string) string {
	return "incoming/" + hourPath(received) + "/" + uuid
}

// RawName is the archived original: raw/{yyyy}/{mm}/{dd}/{hh}/{image_id}.{ext}.
func RawName(received time.Time, imageID, contentType string) string {
	return fmt.Sprintf("raw/%s/%s.%s", hourPath(received), imageID, Ext(contentType))
}

// DerivedName is an archived derivative: derived/{hour}/{image_id}/{step}@{version}/{name}.{ext}.
func DerivedName(received time.Time, imageID string, d Derivative) string {
	return fmt.Sprintf("derived/%s/%s/%s@%s/%s.%s", hourPath(received), imageID, d.Step, d.Version, d.Name, Ext(d.ContentType))
}

// MetadataName is the archived metadata of the n-th attempt: metadata/{hour}/{image_id}.{n}.json.
func MetadataName(received time.Time, imageID string, n int) string {
	return fmt.Sprintf("metadata/%s/%s.%d.json", hourPath(received), imageID, n)
}

// extensions of the media types that images and derivatives have.
var extensions = map[string]string{
	"image/jpeg":       "jpg",
	"image/png":        "png",
	"image/gif":        "gif",
	"image/webp":       "webp",
	"application/json": "json",
	"text/plain":       "txt",
}

// Ext is the file extension for a media type, without the dot; "bin" for one that is not known here.
func Ext(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = strings.ToLower(strings.TrimSpace(contentType))
	}
	if e, ok := extensions[media]; ok {
		return e
	}
	return "bin"
}

// ValidTenant says whether a name may stand for a tenant: 1 to 64 of a-z, 0-9, '-', '_' and '.', beginning with a
// letter or digit. It ends up in metadata headers and image names, hence nothing else.
func ValidTenant(name string) bool { return validName(name, 64) }

// ValidName says whether a step, version or derivative name may become part of a blob name.
func ValidName(name string) bool { return validName(name, 64) }

func validName(name string, limit int) bool {
	if name == "" || len(name) > limit || name[0] == '.' || name[0] == '-' || name[0] == '_' {
		return false
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return true
}
