package images

import (
	"errors"
	"fmt"
)

// What is wrong with an image, for errors.Is. The first is no image at all (HTTP 415), the others are images that we
// refuse (HTTP 422, or the status rejected when only decoding shows it).
var (
	ErrNotAnImage  = errors.New("not a JPEG, PNG, GIF or WebP image")
	ErrTruncated   = errors.New("the image ends too early")
	ErrUndecodable = errors.New("the image cannot be decoded")
	ErrZeroSize    = errors.New("the image has no pixels")
	ErrTooBig      = errors.New("the image is too big in pixels")
)

// Error is a fault of an image. It is one of the sentinels above, and says what was seen.
type Error struct {
	Kind          error // a sentinel of this package
	Format        Format
	Width, Height int   // as far as they are known
	Err           error // the decoder's words, or nil
}

// Error names the fault, the format and the size.
func (e *Error) Error() string {
	s := "images: " + e.Kind.Error()
	if e.Format != "" {
		s += " (" + string(e.Format)
		if e.Width > 0 || e.Height > 0 {
			s += fmt.Sprintf(" %d×%d", e.Width, e.Height)
		}
		s += ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
