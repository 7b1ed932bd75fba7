package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/host"
	"github.com/millrun/millrun/processors/host/step"
	"github.com/millrun/millrun/processors/images"
)

// The built-in step: it always runs, and first.
const (
	thumbnailStep    = "thumbnail"
	thumbnailVersion = "1"
)

// fault ends an image: rejected by its own fault, or failed by ours.
type fault struct {
	rejected bool
	code     string
	err      error
}

// Error is for people: it becomes the image's error.
func (f *fault) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *fault) Unwrap() error { return f.err }

// result is what work has made of an image.
type result struct {
	format        images.Format
	width, height int
	frames        int
	derivatives   []events.Derivative
	steps         []events.StepResult
	failed        []stepFailure
}

// stepFailure is a step that goes to the dead letters.
type stepFailure struct {
	step     string
	attempts int
	err      error
}

// work takes a receipt's bytes through all steps. Its error is a *fault, or what ended ctx; storage that is away is
// waited for.
func (p *pipeline) work(ctx context.Context, raw events.RawImage, first events.Receipt) (*result, error) {
	began := time.Now()
	b, err := p.fetch(ctx, raw)
	if err != nil {
		return nil, err
	}
	out, thumbnail, err := p.picture(ctx, b)
	if err != nil {
		return nil, err
	}
	if err := p.keep(ctx, out, raw, first, thumbnailStep, thumbnailVersion, []step.Output{thumbnail}); err != nil {
		return nil, err
	}
	out.steps = append(out.steps, events.StepResult{Step: thumbnailStep, Version: thumbnailVersion})
	for _, h := range p.hosts {
		if err := p.step(ctx, h, out, raw, first, b); err != nil {
			return nil, err
		}
	}
	p.metrics.seconds.WithLabelValues(string(out.format)).Observe(time.Since(began).Seconds())
	return out, nil
}

// fetch reads the bytes from staging and makes sure that they are those that were received.
func (p *pipeline) fetch(ctx context.Context, raw events.RawImage) (b []byte, err error) {
	err = p.persist(ctx, "fetch from staging", func() error {
		b, err = p.c.Staging.Read(ctx, raw.Blob.Name, p.c.MaxBytes)
		return away(err)
	})
	tooLarge, isTooLarge := errors.AsType[*azblob.TooLargeError](err)
	switch {
	case errors.Is(err, azblob.ErrNotFound):
		return nil, &fault{code: events.CodeStagingMissing, err: fmt.Errorf("its bytes are not in staging: %w", err)}
	case isTooLarge:
		return nil, &fault{code: events.CodeSizeMismatch, err: fmt.Errorf("staging holds more than was received: %w", tooLarge)}
	case err != nil:
		return nil, err
	case int64(len(b)) != raw.Bytes:
		return nil, &fault{code: events.CodeSizeMismatch, err: fmt.Errorf("staging holds %d bytes, received were %d", len(b), raw.Bytes)}
	case sha256.Sum256(b) != raw.SHA256:
		return nil, &fault{code: events.CodeDigestMismatch, err: errors.New("staging holds other bytes than were received")}
	}
	return b, nil
}

// picture decodes an image and makes its thumbnail; the pixels are given back before the steps run.
func (p *pipeline) picture(ctx context.Context, b []byte) (*result, step.Output, error) {
	m, err := p.decoder.Decode(ctx, b)
	if err != nil {
		return nil, step.Output{}, decodeFault(ctx, err)
	}
	defer m.Close()
	jpg, size, err := images.Thumbnail(m.Pixels, images.ThumbnailSide)
	if err != nil {
		return nil, step.Output{}, &fault{code: events.CodeInternal, err: err}
	}
	out := &result{format: m.Format, width: m.Width, height: m.Height, frames: m.Frames}
	return out, step.Output{Name: thumbnailStep, ContentType: images.JPEG.ContentType(), Width: size.X, Height: size.Y, Bytes: jpg}, nil
}

// rejections are the codes of an image's own faults.
var rejections = []struct {
	kind error
	code string
}{
	{images.ErrNotAnImage, events.CodeUnsupported},
	{images.ErrTruncated, events.CodeTruncated},
	{images.ErrUndecodable, events.CodeUndecodable},
	{images.ErrZeroSize, events.CodeZeroSize},
	{images.ErrTooBig, events.CodeTooBig},
}

func decodeFault(ctx context.Context, err error) error {
	for _, r := range rejections {
		if errors.Is(err, r.kind) {
			return &fault{rejected: true, code: r.code, err: err}
		}
	}
	switch {
	case errors.Is(err, images.ErrTimeout):
		return &fault{code: events.CodeDecodeTimeout, err: err}
	case ctx.Err() != nil:
		return err
	}
	return &fault{code: events.CodeInternal, err: err}
}

// step hands the bytes to one step of the company's own code. A step that fails does not end the image.
func (p *pipeline) step(ctx context.Context, h *host.Host, out *result, raw events.RawImage, first events.Receipt, b []byte) error {
	began := time.Now()
	outputs, err := h.Call(ctx, step.Request{ImageID: raw.ImageID, ContentType: out.format.ContentType(), Format: string(out.format),
		Width: out.width, Height: out.height}, b)
	did := events.StepResult{Step: h.Name(), Version: h.Version()}
	bad, isStep := errors.AsType[*host.Error](err)
	switch {
	case isStep:
		p.metrics.steps.WithLabelValues(h.Name(), "failed").Inc()
		did.Error = bad.Error()
		out.failed = append(out.failed, stepFailure{h.Name(), bad.Attempts, bad})
	case err != nil:
		return err
	default:
		p.metrics.steps.WithLabelValues(h.Name(), "done").Inc()
		p.metrics.stepSeconds.WithLabelValues(h.Name()).Observe(time.Since(began).Seconds())
		if err := p.keep(ctx, out, raw, first, h.Name(), h.Version(), outputs); err != nil {
			return err
		}
	}
	out.steps = append(out.steps, did)
	return nil
}

// keep puts derivatives into staging, under names that the same receipt, step and version give again.
func (p *pipeline) keep(ctx context.Context, out *result, raw events.RawImage, first events.Receipt, step, version string, outputs []step.Output) error {
	for _, o := range outputs {
		name := events.StagingName(raw.ReceivedAt, derivativeID(raw.ImageID, first.Blob, step, version, o.Name))
		err := p.persist(ctx, "put a derivative into staging", func() error {
			return away(p.c.Staging.PutUntil(ctx, name, o.ContentType, bytes.NewReader(o.Bytes), int64(len(o.Bytes)), raw.ExpiresAt))
		})
		if err != nil {
			return err
		}
		out.derivatives = append(out.derivatives, events.Derivative{
			Name: o.Name, Step: step, Version: version, ContentType: o.ContentType, Bytes: int64(len(o.Bytes)), SHA256: sha256.Sum256(o.Bytes),
			Width: int32(o.Width), Height: int32(o.Height), Blob: events.Blob{Container: p.c.Staging.Container(), Name: name},
		})
	}
	return nil
}

// derivativeID is a UUID made of what a derivative is made of.
func derivativeID(parts ...string) string {
	var all []byte
	for _, p := range parts {
		all = append(append(all, p...), 0)
	}
	return uuid.NewSHA1(uuid.NameSpaceOID, all).String()
}
