package events

import (
	_ "embed" // the schemas
	"fmt"

	"github.com/linkedin/goavro/v2"
)

//go:embed schema/raw_image.avsc
var rawImageSchema string

//go:embed schema/image_status.avsc
var imageStatusSchema string

//go:embed schema/processed_image.avsc
var processedImageSchema string

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
	raw, status, processed *wire
}

// NewCodec returns a codec. registry is "" for none, "mock://NAME" for one inside this process, or the URL of a schema
// registry (several separated by commas).
func NewCodec(registry string) (*Codec, error) {
	reg, err := openRegistry(registry)
	if err != nil {
		return nil, err
	}
	var c Codec
	for topic, w := range map[string]**wire{TopicRawImages: &c.raw, TopicImageStatus: &c.status, TopicProcessedImages: &c.processed} {
		schema := Schemas()[topic]
		avro, err := goavro.NewCodec(schema)
		if err != nil {
			return nil, fmt.Errorf("events: schema of %s: %w", topic, err)
		}
		*w = &wire{topic: topic, schema: schema, avro: avro, registry: reg}
	}
	return &c, nil
}

// EncodeRawImage is the value of a record in raw-images.
func (c *Codec) EncodeRawImage(r RawImage) ([]byte, error) { return c.raw.encode(rawNative(r)) }

// DecodeRawImage reads one.
func (c *Codec) DecodeRawImage(b []byte) (RawImage, error) {
	m, err := c.raw.decode(b)
	if err != nil {
		return RawImage{}, err
	}
	r := rawFrom(m)
	if err := r.check(); err != nil {
		return RawImage{}, fmt.Errorf("events: %s: %w", TopicRawImages, err)
	}
	return r, nil
}

// EncodeImageStatus is the value of a record in image-status.
func (c *Codec) EncodeImageStatus(s ImageStatus) ([]byte, error) {
	return c.status.encode(statusNative(s))
}

// DecodeImageStatus reads one.
func (c *Codec) DecodeImageStatus(b []byte) (ImageStatus, error) {
	m, err := c.status.decode(b)
	if err != nil {
		return ImageStatus{}, err
	}
	s := statusFrom(m)
	if s.ImageID == "" || s.Status == "" {
		return ImageStatus{}, fmt.Errorf("events: %s: a record without image_id or status", TopicImageStatus)
	}
	return s, nil
}

// EncodeProcessedImage is the value of a record in processed-images.
func (c *Codec) EncodeProcessedImage(p ProcessedImage) ([]byte, error) {
	return c.processed.encode(processedNative(p))
}

// DecodeProcessedImage reads one.
func (c *Codec) DecodeProcessedImage(b []byte) (ProcessedImage, error) {
	m, err := c.processed.decode(b)
	if err != nil {
		return ProcessedImage{}, err
	}
	p := processedFrom(m)
	if err := p.check(); err != nil {
		return ProcessedImage{}, fmt.Errorf("events: %s: %w", TopicProcessedImages, err)
	}
	for _, d := range p.Derivatives {
		if !ValidName(d.Name) || !ValidName(d.Step) || !ValidName(d.Version) || d.Blob.Name == "" {
			return ProcessedImage{}, fmt.Errorf("events: %s: derivative %q of step %q cannot name a blob", TopicProcessedImages, d.Name, d.Step)
		}
	}
	return p, nil
}

// check finds what would make a receipt unusable, so that nobody downstream has to ask again.
func (r RawImage) check() error {
	switch {
	case !ValidTenant(r.Tenant):
		return fmt.Errorf("%q cannot be a tenant", r.Tenant)
	case r.ImageID != ImageID(r.Tenant, r.SHA256):
		return fmt.Errorf("image_id %q does not follow from tenant and sha256", r.ImageID)
	case r.Blob.Name == "":
		return fmt.Errorf("image %s names no staging blob", r.ImageID)
	case r.ReceivedAt.IsZero() || r.ExpiresAt.Before(r.ReceivedAt):
		return fmt.Errorf("image %s was received at %s and expires at %s", r.ImageID, r.ReceivedAt, r.ExpiresAt)
	}
	return nil
}
