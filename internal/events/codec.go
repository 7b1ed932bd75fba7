package events

import (
	"context"
	_ "embed" // the schemas
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/serde/avro"
)

//go:embed schema/raw_image.avsc
var rawImageSchema string

//go:embed schema/image_status.avsc
var imageStatusSchema string

//go:embed schema/processed_image.avsc
var processedImageSchema string

// ErrUnreadable marks a value that is none of the pipeline's records. Reading it again will not help.
var ErrUnreadable = errors.New("events: unreadable value")

// ErrRegistry marks a failure of the schema registry: the record may be fine, and the same again may succeed.
var ErrRegistry = errors.New("events: schema registry")

// Schemas are the Avro schemas by topic, as a schema registry gets them under the subject "<topic>-value".
func Schemas() map[string]string {
	return map[string]string{
		TopicRawImages:       rawImageSchema,
		TopicImageStatus:     imageStatusSchema,
		TopicProcessedImages: processedImageSchema,
	}
}

// Codec writes and reads the pipeline's records. It writes Confluent's wire format (magic 0, schema id) when it has a
// registry and Avro single-object encoding otherwise; it reads both, whoever wrote them, and takes fields by name, so
// that a record of an older or newer schema is understood as far as it goes. Safe for concurrent use.
type Codec struct {
	raw       serde.Serde[RawImage]
	status    serde.Serde[ImageStatus]
	processed serde.Serde[ProcessedImage]
}

// NewCodec returns a codec. registry is "" for none, "mock://NAME" for one inside this process, or the URL of a schema
// registry (several separated by commas). Options carry the registry's credentials.
func NewCodec(registry string, opts ...sr.ClientOpt) (*Codec, error) {
	var reg *avro.Registry
	if registry != "" {
		if u, err := url.Parse(registry); err != nil || !slices.Contains([]string{"http", "https", "mock"}, u.Scheme) {
			return nil, errors.New("events: kafka.schema_registry begins with none of http://, https:// and mock://")
		}
		var err error
		if reg, err = avro.Open(registry, opts...); err != nil {
			return nil, fmt.Errorf("events: kafka.schema_registry: %w", err)
		}
	}
	raw, err1 := avro.For[RawImage](rawImageSchema, avro.With(reg))
	status, err2 := avro.For[ImageStatus](imageStatusSchema, avro.With(reg))
	processed, err3 := avro.For[ProcessedImage](processedImageSchema, avro.With(reg))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("events: schemas: %w", err)
	}
	return &Codec{raw, status, processed}, nil
}

// EncodeRawImage is the value of a record in raw-images.
func (c *Codec) EncodeRawImage(r RawImage) ([]byte, error) { return encode(c.raw, TopicRawImages, r) }

// DecodeRawImage reads one. What it accepts names an image that follows from tenant and digest, and a staging blob.
func (c *Codec) DecodeRawImage(b []byte) (RawImage, error) {
	r, err := decode(c.raw, TopicRawImages, b)
	if err != nil {
		return RawImage{}, err
	}
	return r, r.check()
}

// EncodeImageStatus is the value of a record in image-status.
func (c *Codec) EncodeImageStatus(s ImageStatus) ([]byte, error) {
	return encode(c.status, TopicImageStatus, s)
}

// DecodeImageStatus reads one.
func (c *Codec) DecodeImageStatus(b []byte) (ImageStatus, error) {
	s, err := decode(c.status, TopicImageStatus, b)
	switch {
	case err != nil:
		return ImageStatus{}, err
	case s.ImageID == "" || s.Status == "":
		return ImageStatus{}, fmt.Errorf("%w in %s: no image_id or status", ErrUnreadable, TopicImageStatus)
	case !plausible(s.At) || !plausible(s.ExpiresAt):
		return ImageStatus{}, fmt.Errorf("%w in %s: a status at %s that expires at %s", ErrUnreadable, TopicImageStatus, s.At, s.ExpiresAt)
	}
	return s, nil
}

// EncodeProcessedImage is the value of a record in processed-images.
func (c *Codec) EncodeProcessedImage(p ProcessedImage) ([]byte, error) {
	return encode(c.processed, TopicProcessedImages, p)
}

// DecodeProcessedImage reads one. What it accepts can be archived: every name in it may be part of a blob's name.
func (c *Codec) DecodeProcessedImage(b []byte) (ProcessedImage, error) {
	p, err := decode(c.processed, TopicProcessedImages, b)
	if err != nil {
		return ProcessedImage{}, err
	}
	for _, d := range p.Derivatives {
		if !ValidName(d.Name) || !ValidName(d.Step) || !ValidName(d.Version) || d.Blob.Name == "" || d.Bytes < 0 || !headerSafe(d.ContentType) {
			return ProcessedImage{}, fmt.Errorf("%w in %s: derivative %q of step %q cannot become a blob", ErrUnreadable, TopicProcessedImages, d.Name, d.Step)
		}
	}
	if !headerSafe(p.Source) || !plausible(p.StartedAt) {
		return ProcessedImage{}, fmt.Errorf("%w in %s: source %q, started at %s", ErrUnreadable, TopicProcessedImages, p.Source, p.StartedAt)
	}
	return p, p.Raw().check()
}

func encode[T any](s serde.Serde[T], topic string, v T) ([]byte, error) {
	b, err := s.Append(nil, v, serde.Meta{Topic: topic, Headers: &serde.Headers{}})
	switch {
	case err == nil:
		return b, nil
	case registryFailed(err):
		return nil, fmt.Errorf("%w: %s: %w", ErrRegistry, topic, err)
	}
	return nil, fmt.Errorf("events: %s: %w", topic, err)
}

func decode[T any](s serde.Serde[T], topic string, b []byte) (T, error) {
	v, err := s.Decode(b, serde.Meta{Topic: topic, Headers: &serde.Headers{}})
	switch {
	case err == nil:
		return v, nil
	case registryFailed(err):
		return v, fmt.Errorf("%w: %s: %w", ErrRegistry, topic, err)
	}
	return v, fmt.Errorf("%w in %s: %w", ErrUnreadable, topic, err)
}

// registryFailed tells a registry that is away, overloaded or refuses us from one that does not know a schema.
func registryFailed(err error) bool {
	if answer, ok := errors.AsType[*sr.ResponseError](err); ok {
		return answer.StatusCode != http.StatusNotFound
	}
	_, unreached := errors.AsType[*url.Error](err)
	return unreached || errors.Is(err, context.DeadlineExceeded)
}

// check finds what would make a receipt unusable, so that nobody downstream has to ask again.
func (r RawImage) check() error {
	switch {
	case !ValidTenant(r.Tenant):
		return fmt.Errorf("%w: %q cannot be a tenant", ErrUnreadable, r.Tenant)
	case r.ImageID != ImageID(r.Tenant, r.SHA256):
		return fmt.Errorf("%w: image_id %q does not follow from tenant and sha256", ErrUnreadable, r.ImageID)
	case r.Blob.Name == "":
		return fmt.Errorf("%w: image %s names no staging blob", ErrUnreadable, r.ImageID)
	case r.ReceivedAt.IsZero() || !plausible(r.ReceivedAt) || !plausible(r.ExpiresAt) || r.ExpiresAt.Before(r.ReceivedAt):
		return fmt.Errorf("%w: image %s was received at %s and expires at %s", ErrUnreadable, r.ImageID, r.ReceivedAt, r.ExpiresAt)
	case r.Origin != OriginAPI && r.Origin != OriginFeed:
		return fmt.Errorf("%w: image %s has the origin %.20q", ErrUnreadable, r.ImageID, r.Origin)
	case r.Bytes < 0 || !headerSafe(r.ContentType):
		return fmt.Errorf("%w: image %s has %d bytes of %.80q", ErrUnreadable, r.ImageID, r.Bytes, r.ContentType)
	}
	return nil
}

// plausible says whether a time can be written in RFC 3339, or is absent: Avro's milliseconds reach much further.
func plausible(t time.Time) bool { return t.IsZero() || (t.Year() >= 1970 && t.Year() <= 9999) }

// headerSafe says whether a text may become an HTTP header's value.
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) <= 256
}
