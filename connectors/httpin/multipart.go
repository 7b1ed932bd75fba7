package httpin

import (
	"errors"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
)

// longestBoundary is RFC 2046's bound.
const longestBoundary = 70

// uploadParts takes every file part of a multipart body as an image. The parts are staged as they come and accepted
// together behind the last one, so that a body that is malformed, cut off or over a limit of the whole request leaves
// nothing accepted: only a part's own fault is told in its own place.
func (s *Server) uploadParts(c *call, boundary string) error {
	if boundary == "" || len(boundary) > longestBoundary {
		return kindMalformed.because("multipart/form-data needs a boundary of 1 to %d characters.", longestBoundary)
	}
	b, p := s.openBody(c, 0)
	if p != nil {
		return p
	}
	u, p := s.beginUpload(c, -1)
	if p != nil {
		return p
	}
	defer u.end()
	if err := u.takeParts(multipart.NewReader(b, boundary)); err != nil {
		return err
	}
	if len(u.parts) == 0 {
		return kindMalformed.because("There is no file part.")
	}
	if p := b.verify(); p != nil {
		return p
	}
	return u.conclude(func(outcomes []outcome) (answer, error) { return u.results(outcomes) })
}

// takeParts reads to the closing boundary. Parts without a file name are form fields and passed over.
func (u *uploading) takeParts(r *multipart.Reader) error {
	limit := u.s.cfg.Limits.Parts
	for n := 0; ; n++ {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return multipartFault(err)
		}
		if n == limit {
			return kindTooLarge.because("At most %d parts; nothing of the request was accepted.", limit)
		}
		name := p.FileName()
		if name == "" {
			continue
		}
		if err := u.take(name, p, -1); err != nil {
			return err
		}
	}
}

// multipartFault is what to say when the next part cannot be found.
func multipartFault(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if errors.Is(err, multipart.ErrMessageTooLarge) {
		return kindTooLarge.because("The parts' headers are too large.")
	}
	return kindMalformed.because("The multipart body is malformed or ends before its closing boundary.")
}

// results is the answer about every part: 202 when all were accepted, else 207.
func (u *uploading) results(outcomes []outcome) (answer, error) {
	status := http.StatusAccepted
	list := make([]map[string]any, len(outcomes))
	for i, o := range outcomes {
		entry := map[string]any{"name": u.parts[i].name}
		if o.problem != nil {
			status = http.StatusMultiStatus
			maps.Copy(entry, o.problem.object("", ""))
		} else {
			a := o.accepted
			maps.Copy(entry, map[string]any{
				"status": http.StatusAccepted, "image_id": a.ImageID, "status_url": a.StatusURL, "sha256": a.SHA256, "bytes": a.Bytes,
				"content_type": a.ContentType, "duplicate": a.Duplicate, "expires_at": a.ExpiresAt,
			})
		}
		list[i] = entry
	}
	return jsonAnswer(status, map[string]any{"results": list})
}
