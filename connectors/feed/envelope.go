package feed

import (
	_ "embed" // the envelope's schema
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/serde/avro"
)

// Headers that a record of the feed may have. The media type and the file name are the producer's words: the bytes
// decide what an image is, and a file name may be personal, so neither goes any further.
const (
	headerTenant = "tenant"
)

// schemaText describes an envelope in Avro.
//
//go:embed company_image.avsc
var schemaText string

// Schema is the Avro schema of an envelope, for those who write the feed.
func Schema() string { return schemaText }

// envelope is an image with what its producer says of it. Exactly one of Data and URL is there.
type envelope struct {
	Tenant      *string `avro:"tenant"       json:"tenant"`
	Filename    *string `avro:"filename"     json:"filename"`
	ContentType *string `avro:"content_type" json:"content_type"`
	Data        []byte  `avro:"data"         json:"data"` // base64 in JSON
	URL         *string `avro:"url"          json:"url"`
}

// content is what a record of the feed holds: bytes, or where to fetch them.
type content struct {
	tenant string // "" when neither header nor envelope names one
	data   []byte
	url    string
}

// opener reads the feed's records. Safe for concurrent use.
type opener struct {
	avro serde.Serde[envelope]
}

func newOpener(schemas *avro.Registry) (*opener, error) {
	s, err := avro.For[envelope](schemaText, avro.With(schemas))
	if err != nil {
		return nil, err
	}
	return &opener{avro: s}, nil
}

// open reads a record: bytes of an image, or an envelope in JSON or Avro. The tenant of the header goes before that of
// the envelope. The error is a *refusal, or the schema registry's.
func (o *opener) open(r *kgo.Record) (content, error) {
	var c content
	e, wrapped, err := o.envelope(r)
	if err != nil {
		return c, err
	}
	if !wrapped {
		c.data = r.Value
	} else if err := c.fill(e); err != nil {
		return c, err
	}
	for _, h := range r.Headers {
		if h.Key == headerTenant && len(h.Value) > 0 {
			c.tenant = string(h.Value)
		}
	}
	return c, nil
}

func (c *content) fill(e envelope) error {
	if e.Tenant != nil {
		c.tenant = *e.Tenant
	}
	c.data = e.Data
	if e.URL != nil {
		c.url = *e.URL
	}
	if (e.Data != nil) == (e.URL != nil) {
		return refuse(codeEnvelope, errors.New("an envelope has either data or url"))
	}
	return nil
}

// The first bytes by which an envelope is known. No image that we accept begins like that.
const (
	jsonBegin      = '{'
	confluentBegin = 0x00
	singleBegin    = 0xc3
)

func (o *opener) envelope(r *kgo.Record) (e envelope, wrapped bool, err error) {
	v := r.Value
	switch {
	case len(v) == 0:
		return e, false, nil
	case v[0] == jsonBegin:
		if err := json.Unmarshal(v, &e); err != nil {
			return e, true, refuse(codeEnvelope, errors.New("the JSON envelope cannot be read")) // the decoder's words may repeat the value
		}
		return e, true, nil
	case v[0] == confluentBegin || (v[0] == singleBegin && len(v) > 1 && v[1] == 1):
		e, err := o.avro.Decode(v, serde.Meta{Topic: r.Topic, Headers: &serde.Headers{}})
		switch {
		case err == nil:
			return e, true, nil
		case registryAway(err):
			return e, true, err
		}
		return e, true, refuse(codeEnvelope, errors.New("the Avro envelope cannot be read with the schemas that are known"))
	}
	return e, false, nil
}

// registryAway tells a registry that cannot be asked now from one that does not know a schema.
func registryAway(err error) bool {
	if answer, ok := errors.AsType[*sr.ResponseError](err); ok {
		return answer.StatusCode != http.StatusNotFound
	}
	_, unreached := errors.AsType[*url.Error](err)
	return unreached
}

// Reasons for a dead letter, besides those of events that are about the image itself.
const (
	codeEnvelope      = "malformed_envelope"
	codeNoTenant      = "no_tenant"
	codeUnknownTenant = "unknown_tenant"
	codeTooLarge      = "too_large"
	codeEmpty         = "empty"
	codeURLRefused    = "url_refused"
	codeURLFailed     = "url_failed"
	codeTooLate       = events.CodeTooLate
)

// refusal is why a record becomes a dead letter: its own fault, whatever is tried.
type refusal struct {
	code     string
	attempts int // 0: tried once
	err      error
}

func refuse(code string, err error) *refusal { return &refusal{code: code, err: err} }

// Error is what the dead letter says.
func (r *refusal) Error() string { return "feed: " + r.code + ": " + r.err.Error() }

// Unwrap is the cause.
func (r *refusal) Unwrap() error { return r.err }
