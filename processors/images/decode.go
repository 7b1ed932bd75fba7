package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"sync"
	"time"

	"golang.org/x/image/webp"
	"golang.org/x/sync/semaphore"
)

// ErrTimeout says that decoding took longer than its deadline: our fault as much as the image's.
var ErrTimeout = errors.New("images: decoding took too long")

// DecoderConfig is what a Decoder may use. The zero value of a field means its default.
type DecoderConfig struct {
	Limits  Limits
	Budget  int64         // bytes of pixels alive at a time, all callers together. Default: 512 MiB.
	Timeout time.Duration // of one image, waiting for the budget included. Default: 30s.
}

// Decoder turns images into pixels. All callers share its budget: one that would exceed it waits. Safe for concurrent
// use.
type Decoder struct {
	limits  Limits
	budget  int64
	timeout time.Duration
	memory  *semaphore.Weighted
	working sync.WaitGroup
}

// NewDecoder returns a Decoder; Wait must be called before its goroutines are expected to be gone.
func NewDecoder(c DecoderConfig) *Decoder {
	if c.Budget == 0 {
		c.Budget = 512 << 20
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	return &Decoder{limits: c.Limits.withDefaults(), budget: c.Budget, timeout: c.Timeout, memory: semaphore.NewWeighted(c.Budget)}
}

// Decoded is an image's pixels. Close gives their memory back to the budget, so it must be called, and Pixels must not
// be used afterwards.
type Decoded struct {
	Info

	Frames int         // 1 but for an animated GIF or WebP
	Pixels image.Image // of the first frame

	close func()
}

// Close gives the pixels' share of the budget back. Calling it again does nothing.
func (d *Decoded) Close() { d.close() }

// Decode decodes the first frame of b. Its error is an *Error where the image is at fault, ErrTimeout, or ctx's.
// A decoder that does not come back in time is left alone: it ends with its input, and keeps its share of the budget
// until then.
func (d *Decoder) Decode(ctx context.Context, b []byte) (*Decoded, error) {
	info, err := Header(bytes.NewReader(b), d.limits)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, ErrTimeout)
	cost := min(info.cost(b), d.budget)
	if err := d.memory.Acquire(ctx, cost); err != nil {
		defer cancel()
		return nil, fmt.Errorf("images: waiting for memory to decode %d×%d: %w", info.Width, info.Height, context.Cause(ctx))
	}
	release := sync.OnceFunc(func() { d.memory.Release(cost) })
	type result struct {
		pixels image.Image
		err    error
	}
	done := make(chan result) // unbuffered: the pixels belong either to the caller or to nobody
	d.working.Go(func() {
		defer cancel()
		m, err := decodePixels(ctx, info, b)
		select {
		case done <- result{m, err}:
		case <-ctx.Done():
			release()
		}
	})
	select {
	case r := <-done:
		if r.err != nil {
			release()
			return nil, r.err
		}
		return &Decoded{Info: info, Frames: countFrames(info.Format, b), Pixels: r.pixels, close: release}, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("images: decoding %d×%d: %w", info.Width, info.Height, context.Cause(ctx))
	}
}

// Wait waits for decoders that were left alone.
func (d *Decoder) Wait() { d.working.Wait() }

// decodePixels runs the format's decoder; it checks that the pixels are those the header promised.
func decodePixels(ctx context.Context, i Info, b []byte) (image.Image, error) {
	b, err := unpack(i, b)
	if err != nil {
		return nil, err
	}
	w := &watch{r: bytes.NewReader(b), stop: func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}}
	m, err := runDecoder(i.Format, w)
	if err != nil {
		return nil, w.fault(i.Format, i, err)
	}
	if s := m.Bounds().Size(); s.X <= 0 || s.Y <= 0 || s.X > i.Width || s.Y > i.Height {
		return nil, &Error{Kind: ErrUndecodable, Format: i.Format, Width: i.Width, Height: i.Height,
			Err: fmt.Errorf("its pixels are %d×%d", s.X, s.Y)}
	}
	return m, nil
}

// unpack is what the format's decoder is given: an animated WebP's first frame. The frame has a size of its own, which
// must be looked at before it is decoded: the canvas was, and a frame beyond it is no frame of this image.
func unpack(i Info, b []byte) ([]byte, error) {
	if i.Format != WebP || !animated(b) {
		return b, nil
	}
	b = firstFrame(b)
	w := &watch{r: bytes.NewReader(b)}
	cfg, err := decodeConfig(WebP, w)
	if err != nil {
		return nil, w.fault(WebP, i, err)
	}
	if cfg.Width > i.Width || cfg.Height > i.Height {
		return nil, &Error{Kind: ErrUndecodable, Format: WebP, Width: i.Width, Height: i.Height,
			Err: fmt.Errorf("its first frame is %d×%d", cfg.Width, cfg.Height)}
	}
	return b, nil
}

func runDecoder(f Format, r io.Reader) (m image.Image, err error) {
	defer contain(&err)
	switch f {
	case JPEG:
		return jpeg.Decode(r)
	case PNG:
		return png.Decode(r)
	case GIF:
		return gif.Decode(r)
	default:
		return webp.Decode(r)
	}
}

// cost is how many bytes decoding takes at its peak: four a pixel, or more where the format's decoder is known to
// keep more. Measured on Go's decoders.
func (i Info) cost(b []byte) int64 {
	perPixel := int64(4)
	switch {
	case i.Format == JPEG && progressive(b):
		perPixel = 16 // a 32-bit coefficient for each sample beside the samples
	case i.model == color.RGBA64Model || i.model == color.NRGBA64Model:
		perPixel = 8
	}
	if i.Format == PNG && len(b) > 28 && b[28] == 1 {
		perPixel *= 2 // interlaced: each pass is an image of its own
	}
	return int64(i.Width) * int64(i.Height) * perPixel
}
