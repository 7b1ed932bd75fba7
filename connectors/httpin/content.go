package httpin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/millrun/millrun/internal/events"
)

// mostCaching bounds how long a caller's own cache may keep an image, besides its expiry.
const mostCaching = 5 * time.Minute

// content serves an image's original bytes from the archive.
func (s *Server) content(c *call) error {
	image, err := s.find(c)
	if err != nil {
		return err
	}
	blob, there := image.RawBlob()
	if image.Status != events.StatusArchived || !there {
		return notArchived(image)
	}
	return s.serveBlob(c, image, blob, image.ContentType, image.SHA256)
}

// derivative serves what a step made of an image.
func (s *Server) derivative(c *call) error {
	image, err := s.find(c)
	if err != nil {
		return err
	}
	if image.Status != events.StatusArchived {
		return notArchived(image)
	}
	d, blob, there := image.DerivativeBlob(c.r.PathValue("name"))
	if !there {
		return kindNotFound.because("The image has no derivative of this name.")
	}
	return s.serveBlob(c, image, blob, d.ContentType, fmt.Sprintf("%s-%s-%s@%s", image.SHA256, d.Name, d.Step, d.Version))
}

func notArchived(i events.Image) *problem {
	p := kindNotArchived.because("The image is %s.", i.Status).with("image_status", i.Status)
	if i.Status.Final() {
		return p
	}
	return p.after(time.Second)
}

// serveBlob answers with a blob of the archive, whole or in ranges. The tag names the bytes: an image's bytes never
// change, and a step of one version makes the same of them.
func (s *Server) serveBlob(c *call, image events.Image, blob events.ArchivedBlob, contentType, tag string) error {
	left := image.ExpiresAt.Sub(s.cfg.Clock.Now())
	if left <= 0 {
		return expired()
	}
	b := &blobReader{size: blob.Bytes, open: func(offset, length int64) (io.ReadCloser, error) {
		return s.cfg.Archive.Open(c.r.Context(), blob, offset, length)
	}}
	defer b.Close()
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", fmt.Sprintf("private, max-age=%d", int(min(left, mostCaching)/time.Second)))
	h.Set("ETag", `"`+tag+`"`)
	h.Set("Content-Disposition", "inline")
	late := &lateWriter{writer: c.w}
	http.ServeContent(late, c.r, "", time.Time{}, b)
	if b.err != nil {
		for _, name := range []string{"Content-Type", "Content-Length", "Content-Range", "ETag", "Content-Disposition", "Accept-Ranges"} {
			if !late.out {
				h.Del(name)
			}
		}
		h.Set("Cache-Control", "no-store")
		return unavailable("The archive is away.", b.err)
	}
	if late.status == http.StatusRequestedRangeNotSatisfiable {
		total := h.Get("Content-Range")
		h.Del("ETag")
		h.Set("Cache-Control", "no-store")
		return kindRange.because("The content has %d bytes.", blob.Bytes).setHeader("Content-Range", total)
	}
	late.flushHeader()
	return nil
}

// lateWriter keeps the status back until the first byte is there, so that a blob that cannot be opened is a problem and
// not an empty success; and it swallows the plain text of a range that is refused.
type lateWriter struct {
	*writer

	status int
	out    bool
}

// WriteHeader keeps the status back.
func (l *lateWriter) WriteHeader(status int) { l.status = status }

// Write lets the header out first.
func (l *lateWriter) Write(b []byte) (int, error) {
	if l.status == http.StatusRequestedRangeNotSatisfiable {
		return len(b), nil
	}
	l.flushHeader()
	return l.writer.Write(b)
}

func (l *lateWriter) flushHeader() {
	if !l.out {
		l.out = true
		l.writer.WriteHeader(max(l.status, http.StatusOK))
	}
}

// blobReader is a blob for http.ServeContent: seeking costs nothing, and the first read after it opens the rest. One
// goroutine owns it.
type blobReader struct {
	size   int64
	open   func(offset, length int64) (io.ReadCloser, error)
	at     int64
	stream io.ReadCloser // nil: not open
	err    error         // of the archive
}

// Seek moves without reading.
func (b *blobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, errors.New("httpin: seek before the beginning")
	}
	if offset != b.at {
		b.Close()
	}
	b.at = offset
	return offset, nil
}

// Read opens the blob where it stands, when it is not open.
func (b *blobReader) Read(p []byte) (int, error) {
	left := b.size - b.at
	if left <= 0 {
		return 0, io.EOF
	}
	if b.stream == nil {
		stream, err := b.open(b.at, left)
		if err != nil {
			b.err = err
			return 0, err
		}
		b.stream = stream
	}
	n, err := b.stream.Read(p[:min(int64(len(p)), left)])
	b.at += int64(n)
	switch {
	case errors.Is(err, io.EOF) && int64(n) < left:
		b.err = fmt.Errorf("httpin: blob ended at %d of %d bytes: %w", b.at, b.size, io.ErrUnexpectedEOF)
	case err != nil && !errors.Is(err, io.EOF):
		b.err = err
	default:
		return n, err
	}
	return n, b.err
}

// Close closes what is open.
func (b *blobReader) Close() {
	if b.stream != nil {
		_ = b.stream.Close() // only read from
		b.stream = nil
	}
}
