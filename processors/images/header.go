package images

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/webp"
)

// Limits bound what is accepted and what decoding may cost. The zero value of a field means its default.
type Limits struct {
	MaxPixels int64 // width × height. Default: 40,000,000.
	MaxSide   int   // width and height each. Default: 20,000.
}

// DefaultLimits are those of the contract.
var DefaultLimits = Limits{MaxPixels: 40_000_000, MaxSide: 20_000}

func (l Limits) withDefaults() Limits {
	if l.MaxPixels == 0 {
		l.MaxPixels = DefaultLimits.MaxPixels
	}
	if l.MaxSide == 0 {
		l.MaxSide = DefaultLimits.MaxSide
	}
	return l
}

// Info is what an image's header says.
type Info struct {
	Format Format
	Width  int
	Height int

	model color.Model
}

// Header reads an image's header and checks it against the limits, for a few kilobytes of memory whatever the image
// claims to be. It reads from r no more than the header needs, a buffer's length apart. Its error is an *Error, or
// what r returned.
func Header(r io.Reader, l Limits) (Info, error) {
	w := &watch{r: r}
	first := make([]byte, SniffLength)
	n, err := io.ReadFull(w, first)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Info{}, err
	}
	f, ok := Sniff(first[:n])
	if !ok {
		return Info{}, &Error{Kind: ErrNotAnImage}
	}
	w.prefix = first[:n]
	cfg, err := decodeConfig(f, w)
	if err != nil {
		return Info{}, w.fault(f, Info{}, err)
	}
	info := Info{Format: f, Width: cfg.Width, Height: cfg.Height, model: cfg.ColorModel}
	return info, info.check(l.withDefaults())
}

// decodeConfig asks the format's own decoder; image.DecodeConfig would ask whatever a program has registered.
func decodeConfig(f Format, r io.Reader) (cfg image.Config, err error) {
	defer contain(&err)
	switch f {
	case JPEG:
		return jpeg.DecodeConfig(r)
	case PNG:
		return pngConfig(r)
	case GIF:
		return gif.DecodeConfig(r)
	default:
		return webp.DecodeConfig(r)
	}
}

// pngConfig reads the size before the decoder does, whose error for an empty image cannot be told from others.
func pngConfig(r io.Reader) (image.Config, error) {
	var head [24]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return image.Config{}, err
	}
	w, h := binary.BigEndian.Uint32(head[16:]), binary.BigEndian.Uint32(head[20:])
	if string(head[12:16]) == "IHDR" && (w == 0 || h == 0) {
		return image.Config{Width: int(w), Height: int(h)}, nil
	}
	return png.DecodeConfig(io.MultiReader(bytes.NewReader(head[:]), r))
}

func (i Info) check(l Limits) error {
	e := &Error{Format: i.Format, Width: i.Width, Height: i.Height}
	switch {
	case i.Width <= 0 || i.Height <= 0:
		e.Kind = ErrZeroSize
	case i.Width > l.MaxSide || i.Height > l.MaxSide:
		e.Kind, e.Err = ErrTooBig, fmt.Errorf("at most %d a side", l.MaxSide)
	case int64(i.Width)*int64(i.Height) > l.MaxPixels:
		e.Kind, e.Err = ErrTooBig, fmt.Errorf("at most %d pixels", l.MaxPixels)
	default:
		return nil
	}
	return e
}

// watch is the reader a decoder gets: it remembers that the decoder wanted more than there was, which is what tells a
// truncated image from a damaged one, and gives way when the caller no longer waits.
type watch struct {
	prefix  []byte // read before r
	r       io.Reader
	stop    func() error // nil: never
	ended   bool         // the decoder read past the end
	failure error        // r's own error
}

func (w *watch) Read(p []byte) (int, error) {
	if w.stop != nil {
		if err := w.stop(); err != nil {
			w.failure = err
			return 0, err
		}
	}
	if len(w.prefix) > 0 {
		n := copy(p, w.prefix)
		w.prefix = w.prefix[n:]
		return n, nil
	}
	n, err := w.r.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		w.ended = w.ended || n == 0
	default:
		w.failure = err
	}
	return n, err
}

// fault is a decoder's error as one of ours; a failure of the reader stays itself.
func (w *watch) fault(f Format, i Info, err error) error {
	if w.failure != nil {
		return fmt.Errorf("images: %w", w.failure)
	}
	kind := ErrUndecodable
	if w.ended || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		kind = ErrTruncated
	}
	return &Error{Kind: kind, Format: f, Width: i.Width, Height: i.Height, Err: err}
}

// contain turns a decoder's panic into an error.
func contain(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the decoder panicked: %v", p)
	}
}
