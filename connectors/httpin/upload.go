package httpin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/images"
)

// discardTimeout bounds the removal of staged bytes that nobody will claim.
const discardTimeout = 5 * time.Second

// upload takes one image as the body, or any number of them as multipart/form-data.
func (s *Server) upload(c *call) error {
	media, params := "application/octet-stream", map[string]string(nil)
	if declared := c.r.Header.Get("Content-Type"); declared != "" {
		var err error
		if media, params, err = mime.ParseMediaType(declared); err != nil {
			return kindMalformed.because("Content-Type cannot be read.")
		}
	}
	switch {
	case media == "multipart/form-data":
		return s.uploadParts(c, params["boundary"])
	case media == "application/octet-stream" || strings.HasPrefix(media, "image/"):
		return s.uploadOne(c)
	}
	return kindUnsupported.because("Send image/*, application/octet-stream or multipart/form-data.")
}

// uploadOne takes the body as an image.
func (s *Server) uploadOne(c *call) error {
	b, p := s.openBody(c, s.cfg.Intake.MaxBytes())
	if p != nil {
		return p
	}
	u, p := s.beginUpload(c, c.r.ContentLength)
	if p != nil {
		return p
	}
	defer u.end()
	if err := u.take("", b, c.r.ContentLength); err != nil {
		return err
	}
	if u.parts[0].problem == nil {
		if p := b.verify(); p != nil {
			return p
		}
	}
	return u.conclude(func(outcomes []outcome) (answer, error) {
		o := outcomes[0]
		if p := o.problem; p != nil {
			if p.status >= http.StatusInternalServerError {
				return answer{}, p
			}
			c.w.Header().Set("Connection", "close") // the rest of the body is not worth reading
			return p.answer(c.r.URL.EscapedPath(), c.id), nil
		}
		a, err := jsonAnswer(http.StatusAccepted, o.accepted)
		if err == nil {
			a.header["Location"] = "/v1/images/" + o.accepted.ImageID
		}
		return a, err
	})
}

// uploading is one request's images on their way in. Its end gives back the memory, the Idempotency-Key and the staged
// bytes, unless a record claims them.
type uploading struct {
	s        *Server
	c        *call
	claim    claim
	release  func()
	received time.Time
	parts    []part
	print    hash.Hash // of what tells one body from another
	kept     bool      // records claim the staged bytes, or may do so
}

// part is an image of a request: staged, or refused for a reason of its own.
type part struct {
	name    string
	staged  intake.Staged
	problem *problem
}

// beginUpload takes the Idempotency-Key and waits for memory; size is -1 when it is not known.
func (s *Server) beginUpload(c *call, size int64) (*uploading, *problem) {
	account := c.who.account()
	held, p := s.answers.claim(c.r, account, c.route.pattern)
	if p != nil {
		return nil, p
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), s.cfg.Limits.Accept)
	defer cancel()
	release, err := s.cfg.Intake.Reserve(ctx, account, size)
	if err != nil {
		held.drop()
		return nil, refusal(err)
	}
	return &uploading{s: s, c: c, claim: held, release: release, received: s.cfg.Clock.Now(), print: sha256.New()}, nil
}

func (u *uploading) end() {
	u.release()
	u.claim.drop()
	if u.kept {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.c.r.Context()), discardTimeout)
	defer cancel()
	for _, p := range u.parts {
		if p.problem != nil {
			continue
		}
		if err := u.s.cfg.Intake.Discard(ctx, p.staged); err != nil {
			u.s.cfg.Log.Warn("staged bytes without a record are left to the purger", "request_id", u.c.id, "error", err)
		}
	}
}

// take stages one image or notes why it is refused. An error ends the whole request.
func (u *uploading) take(name string, body io.Reader, size int64) error {
	staged, err := u.s.cfg.Intake.Take(u.c.r.Context(), events.StagingName(u.received, uuid.NewString()), body, size)
	p := part{name: name, staged: staged}
	if err != nil {
		p.problem = refusal(err)
		if !ownFault(err) {
			return p.problem
		}
		u.s.metrics.images.WithLabelValues(p.problem.name).Inc()
		u.tellf("%q %q\n", name, p.problem.Error())
	} else {
		u.tellf("%q %x\n", name, staged.SHA256)
	}
	u.parts = append(u.parts, p)
	return nil
}

// tellf adds to what tells one body from another.
func (u *uploading) tellf(format string, args ...any) {
	u.print.Write(fmt.Appendf(nil, format, args...))
}

// ownFault says whether err is about one image, rather than about the request or about us.
func ownFault(err error) bool {
	if _, reading := errors.AsType[*intake.BodyError](err); reading {
		return false
	}
	_, image := errors.AsType[*images.Error](err)
	return image || errors.Is(err, intake.ErrTooLarge) || errors.Is(err, intake.ErrEmpty) || errors.Is(err, intake.ErrLateBytes)
}

// conclude answers: as before for a repeated request, else by producing the records and telling what became of each.
func (u *uploading) conclude(render func([]outcome) (answer, error)) error {
	body := fingerprint(u.print.Sum(nil))
	earlier, again, p := u.claim.repeat(body)
	if p != nil {
		return p
	}
	if again {
		return u.c.send(earlier)
	}
	outcomes := u.s.accept(u)
	a, err := render(outcomes)
	if err != nil {
		return err
	}
	if settled(outcomes) {
		u.claim.settle(body, a)
	}
	return u.c.send(a)
}

// settled says whether the same request would get the same answer: nothing in it was our fault.
func settled(outcomes []outcome) bool {
	for _, o := range outcomes {
		if o.problem != nil && o.problem.status >= http.StatusInternalServerError {
			return false
		}
	}
	return true
}

func hexDigest(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:]) }

// printOf is the fingerprint of a body that is held whole.
func printOf(b []byte) fingerprint { return sha256.Sum256(b) }
