package worker

import (
	"context"
	"time"

	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/stream"
)

// say writes a status of an image as the worker knows it.
func (r *receive) say(img *events.Image, s events.Status, at time.Time) error {
	return r.emit(r.ctx, statusOf(img, s, at))
}

// sayDuplicate writes that a living image was received again. The receipt's own staging blob goes when settle reads it.
func (r *receive) sayDuplicate(q receipt) error {
	img := r.newLife(q)
	s := statusOf(&img, events.StatusAccepted, q.raw.ReceivedAt)
	s.Duplicate = true
	return r.emit(r.ctx, s)
}

func statusOf(img *events.Image, s events.Status, at time.Time) events.ImageStatus {
	out := events.ImageStatus{
		ImageID: img.ImageID, Tenant: img.Tenant, Status: s, At: at, Attempt: img.Attempt, Receipt: img.First.Blob,
		ExpiresAt: img.ExpiresAt, TenantClass: img.TenantClass, Origin: img.Origin, Format: img.Format, Bytes: &img.Bytes,
	}
	if img.Width > 0 {
		out.Width, out.Height = &img.Width, &img.Height
	}
	if s.Ended() {
		out.ErrorCode, out.Error = &img.ErrorCode, img.Error
		if began, ok := img.Reached(events.StatusProcessing); ok {
			ms := int32(min(at.Sub(began).Milliseconds(), 1<<31-1))
			out.ProcessingMS = &ms
		}
	}
	return out
}

func (p *pipeline) emit(ctx *stream.ProcessorContext[string, effect], s events.ImageStatus) error {
	value, err := p.encode(ctx.Context(), func() ([]byte, error) { return p.c.Codec.EncodeImageStatus(s) })
	if err != nil {
		return err
	}
	return ctx.Emit(s.ImageID, effect{events.TopicImageStatus, value})
}

func (r *receive) encodeProcessed(q receipt, img *events.Image, done *result, began time.Time) ([]byte, error) {
	out := events.ProcessedImage{
		ImageID: img.ImageID, Tenant: img.Tenant, Origin: img.Origin, ReceivedAt: img.ReceivedAt, ExpiresAt: img.ExpiresAt,
		ContentType: img.ContentType, Bytes: img.Bytes, SHA256: q.raw.SHA256, Blob: q.raw.Blob, Trace: q.raw.Trace,
		TenantClass: img.TenantClass, Source: img.First.Source(), Attempt: img.Attempt, StartedAt: began,
		Format: img.Format, Width: img.Width, Height: img.Height, Frames: img.Frames, Derivatives: done.derivatives, Steps: done.steps,
	}
	return r.encode(r.ctx.Context(), func() ([]byte, error) { return r.c.Codec.EncodeProcessedImage(out) })
}

// encode writes a value, waiting for a schema registry that is away.
func (p *pipeline) encode(ctx context.Context, f func() ([]byte, error)) (value []byte, err error) {
	err = p.persist(ctx, "write a record", func() (err error) {
		value, err = f()
		return err
	})
	return value, err
}
