package httpin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/processors/images"
)

// body is a request's body as the door reads it: within a deadline in all and one for each read, within the account's
// bytes a minute, hashed when a Content-Digest is to be checked. What ends it early is a *problem. One goroutine owns
// it.
type body struct {
	s       *Server
	c       *call
	control *http.ResponseController
	end     time.Time // for the whole body
	next    time.Time // the deadline in force
	prepaid bool      // the declared length was counted at the start
	digest  []byte    // what Content-Digest says of SHA-256, nil when it says nothing
	sum     hash.Hash // of what was read, when digest is set
	ended   bool
}

// openBody begins to read the call's body, which may have most bytes in all (0: as many as the account has left).
func (s *Server) openBody(c *call, most int64) (*body, *problem) {
	r := c.r
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, kindUnsupported.because("Content-Encoding %q is not accepted; send the bytes as they are.", e).setHeader("Accept-Encoding", "identity")
	}
	if r.ContentLength == 0 && r.ProtoMajor < 2 && len(r.TransferEncoding) == 0 && r.Header.Get("Content-Length") == "" {
		return nil, kindLengthRequired.because("Send a body, with Content-Length or chunked.")
	}
	if perMinute := s.cfg.Limits.BytesPerMinute; most <= 0 || most > perMinute {
		most = perMinute
	}
	if r.ContentLength > most {
		return nil, kindTooLarge.because("At most %d bytes; these would be %d.", most, r.ContentLength)
	}
	b := &body{s: s, c: c, control: http.NewResponseController(c.w), end: c.started.Add(s.cfg.Limits.BodyTimeout)}
	var p *problem
	if b.digest, p = contentDigest(r.Header.Values("Content-Digest")); p != nil {
		return nil, p
	}
	if b.digest != nil {
		b.sum = sha256.New()
	}
	if n := r.ContentLength; n > 0 {
		b.prepaid = true
		if wait, ok := s.bytes.take(c.who.account(), n); !ok {
			return nil, s.tooManyBytes(wait)
		}
	}
	return b, nil
}

func (s *Server) tooManyBytes(wait time.Duration) *problem {
	s.metrics.refused.WithLabelValues("bytes").Inc()
	return kindTooManyRequests.because("At most %d bytes a minute.", s.cfg.Limits.BytesPerMinute).after(wait)
}

// Read reads on while there is time and room.
func (b *body) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	if err := b.moveDeadline(time.Now()); err != nil {
		return 0, err
	}
	n, err := b.c.r.Body.Read(p)
	b.c.read += int64(n)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	if n > 0 && !b.prepaid {
		account := b.c.who.account()
		b.s.bytes.charge(account, int64(n))
		if wait, full := b.s.bytes.full(account); full {
			return n, b.s.tooManyBytes(wait)
		}
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		b.ended = true
		return n, io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, b.tooSlow()
	}
	return n, kindMalformed.because("The body ended before its declared end, or its chunks are malformed.")
}

// moveDeadline lets the connection wait for at most Limits.Stall, and never beyond the end. It is moved a few times a second
// at most: a deadline costs more than a read.
func (b *body) moveDeadline(now time.Time) error {
	if !now.Before(b.end) {
		return b.tooSlow()
	}
	stall := b.s.cfg.Limits.Stall
	if b.next.Sub(now) > stall-stall/20 {
		return nil
	}
	b.next = now.Add(stall)
	if b.next.After(b.end) {
		b.next = b.end
	}
	if err := b.control.SetReadDeadline(b.next); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("httpin: body: %w", err)
	}
	return nil
}

func (b *body) tooSlow() *problem {
	return kindTooSlow.because("A body has %s in all, and may pause for %s.", b.s.cfg.Limits.BodyTimeout, b.s.cfg.Limits.Stall)
}

// verify compares the whole body with its Content-Digest, reading what is left of it.
func (b *body) verify() *problem {
	if b.digest == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		return refusal(&intake.BodyError{Err: err})
	}
	if subtle.ConstantTimeCompare(b.sum.Sum(nil), b.digest) != 1 {
		return kindDigest.because("The SHA-256 of the body is another one.")
	}
	return nil
}

// contentDigest is the SHA-256 that Content-Digest promises (RFC 9530, section 2): a structured dictionary whose other
// algorithms are passed over, as the RFC allows.
func contentDigest(fields []string) ([]byte, *problem) {
	var digest []byte
	for member := range strings.SplitSeq(strings.Join(fields, ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		if name != "sha-256" {
			continue
		}
		encoded, ok := strings.CutPrefix(value, ":")
		if ok {
			encoded, ok = strings.CutSuffix(encoded, ":")
		}
		d, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(d) != sha256.Size {
			return nil, kindMalformed.because("Content-Digest must be like sha-256=:BASE64 OF 32 BYTES:.")
		}
		digest = d
	}
	return digest, nil
}

// refusal is what to answer when an image was not taken in.
func refusal(err error) *problem {
	var p *problem
	var image *images.Error
	var reading *intake.BodyError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &reading):
		return kindMalformed.because("The body could not be read to its end.")
	case errors.Is(err, images.ErrNotAnImage):
		return kindUnsupported.because("The bytes are no JPEG, PNG, GIF or WebP image, whatever they are called.")
	case errors.As(err, &image):
		return kindUndecodable.because("%s", imageFault(image))
	case errors.Is(err, intake.ErrLateBytes):
		return kindUndecodable.because("The image does not tell its size within its first 4 MiB.")
	case errors.Is(err, intake.ErrEmpty):
		return kindMalformed.because("There are no bytes.")
	case errors.Is(err, intake.ErrTooLarge):
		return kindTooLarge.because("The image has more bytes than are accepted.")
	case errors.Is(err, intake.ErrBusy):
		return kindUnavailable.because("Too many uploads are under way.").after(time.Second).causedBy(err)
	case errors.Is(err, intake.ErrStaging):
		return kindUnavailable.because("The blob storage is away; nothing was accepted.").after(5 * time.Second).causedBy(err)
	}
	return kindInternal.because("The request id names it in our log.").causedBy(err)
}

// imageFault says what is wrong with an image, without the decoder's own words.
func imageFault(e *images.Error) string {
	switch {
	case errors.Is(e, images.ErrTooBig):
		return fmt.Sprintf("The image is %d × %d pixels, which is too big.", e.Width, e.Height)
	case errors.Is(e, images.ErrZeroSize):
		return "The image has no pixels."
	case errors.Is(e, images.ErrTruncated):
		return "The image ends within its header."
	}
	return "The image's header is damaged."
}
