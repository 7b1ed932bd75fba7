package sink

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/internal/patience"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
)

// archive takes one processed image after the other to its end. One per task; it keeps nothing between records.
type archive struct {
	c       Config
	metrics *sinkMetrics
	wait    *patience.Patience
}

// fault ends an image that cannot be archived: with a dead letter.
type fault struct {
	code string
	err  error
}

// Error is for people: it becomes the image's error.
func (f *fault) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *fault) Unwrap() error { return f.err }

// Process archives one image.
func (a *archive) Process(ctx *stream.ProcessorContext[string, effect], rec stream.Record[string, []byte]) error {
	if rec.Tombstone || rec.Value == nil {
		return nil
	}
	var p events.ProcessedImage
	err := a.persist(ctx.Context(), "read a processed image", func() (err error) {
		p, err = a.c.Codec.DecodeProcessedImage(rec.Value)
		return err
	})
	if errors.Is(err, events.ErrUnreadable) {
		a.metrics.images.WithLabelValues("unreadable").Inc()
		return a.letter(ctx, rec, "decode", 1, err)
	}
	if err != nil {
		return err
	}
	scope, end := a.wait.Scope(ctx.Context())
	defer end()
	blobs, err := a.store(scope, p)
	f, failed := errors.AsType[*fault](err)
	switch {
	case errors.Is(err, azblob.ErrExpired):
		err = a.reject(ctx, p)
	case failed:
		return a.fail(ctx, rec, p, f)
	case err == nil:
		err = a.done(ctx, p, blobs)
	}
	if err != nil {
		return err
	}
	return a.clear(scope, ctx.Log(), p)
}

// done says that the image is in the archive. Where a step went to the dead letters the error names it.
func (a *archive) done(ctx *stream.ProcessorContext[string, effect], p events.ProcessedImage, blobs []events.ArchivedBlob) error {
	s := a.status(p, events.StatusArchived)
	s.Archive = blobs
	for _, step := range p.Steps {
		if step.Error != "" {
			code := events.CodeStepFailed
			s.ErrorCode, s.Error = &code, step.Error
		}
	}
	a.metrics.images.WithLabelValues("archived").Inc()
	return a.say(ctx, s)
}

// reject says that the image came too late to be kept.
func (a *archive) reject(ctx *stream.ProcessorContext[string, effect], p events.ProcessedImage) error {
	s := a.status(p, events.StatusRejected)
	code := events.CodeExpired
	s.ErrorCode, s.Error = &code, "it expired before it could be archived"
	a.metrics.images.WithLabelValues("expired").Inc()
	return a.say(ctx, s)
}

// fail keeps the record in the dead letters; staging keeps its blobs for a redrive.
func (a *archive) fail(ctx *stream.ProcessorContext[string, effect], rec stream.Record[string, []byte], p events.ProcessedImage, f *fault) error {
	a.metrics.images.WithLabelValues("failed").Inc()
	s := a.status(p, events.StatusFailed)
	s.ErrorCode, s.Error = &f.code, f.Error()
	if err := a.say(ctx, s); err != nil {
		return err
	}
	return a.letter(ctx, rec, "archive", p.Attempt, f)
}

func (a *archive) status(p events.ProcessedImage, s events.Status) events.ImageStatus {
	at := a.c.Clock.Now().UTC().Truncate(time.Millisecond)
	if !at.After(p.StartedAt) {
		at = p.StartedAt.Add(time.Millisecond) // this process's clock runs behind the worker's
	}
	ms := int32(min(at.Sub(p.StartedAt).Milliseconds(), 1<<31-1))
	return events.ImageStatus{
		ImageID: p.ImageID, Tenant: p.Tenant, Status: s, At: at, Attempt: p.Attempt, Receipt: p.Blob.Name, ExpiresAt: p.ExpiresAt,
		TenantClass: p.TenantClass, Origin: p.Origin, Format: p.Format, Bytes: &p.Bytes, Width: &p.Width, Height: &p.Height, ProcessingMS: &ms,
	}
}

func (a *archive) say(ctx *stream.ProcessorContext[string, effect], s events.ImageStatus) error {
	var value []byte
	err := a.persist(ctx.Context(), "write a status", func() (err error) {
		value, err = a.c.Codec.EncodeImageStatus(s)
		return err
	})
	if err != nil {
		return err
	}
	return ctx.Emit(s.ImageID, effect{events.TopicImageStatus, value})
}

// letter writes the source's bytes into the dead letters, with the reason in headers.
func (a *archive) letter(ctx *stream.ProcessorContext[string, effect], rec stream.Record[string, []byte], stage string, attempts int, cause error) error {
	m, _ := ctx.Metadata()
	out := stream.Record[string, effect]{
		Key: rec.Key, Keyless: rec.Keyless, Timestamp: rec.Timestamp, Value: effect{events.DLQ(events.TopicProcessedImages), rec.Value},
	}
	for _, h := range rec.Headers {
		if !dlq.IsHeader(h.Key) {
			out.Headers = append(out.Headers, h)
		}
	}
	for _, h := range dlq.Headers(dlq.Failure{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Stage: stage, Attempts: attempts, Err: cause}) {
		out.Headers = append(out.Headers, serde.Header{Key: h.Key, Value: h.Value})
	}
	return ctx.Forward(out)
}

// clear deletes what staging holds of the image. What cannot be deleted now goes at its expires_at by the purge. A crash
// before the status is in Kafka does no harm: the replay finds everything in the archive.
func (a *archive) clear(ctx context.Context, log *slog.Logger, p events.ProcessedImage) error {
	names := []string{p.Blob.Name}
	for _, d := range p.Derivatives {
		names = append(names, d.Blob.Name)
	}
	for _, n := range names {
		err := a.wait.Attempt(ctx, "sink: delete from staging", deleteAttempts, func() error { return a.c.Staging.Delete(ctx, n) })
		if ctx.Err() != nil || errors.Is(err, patience.ErrStopping) {
			return err
		}
		if err != nil {
			a.metrics.undeleted.Inc()
			log.Warn("a staging blob could not be deleted and stays until it expires", "image_id", p.ImageID, "blob", n, "err", err)
		}
	}
	return nil
}

// deleteAttempts is how often a staging blob is tried to be deleted before it is left to the purge.
const deleteAttempts = 5

// persist does f until it succeeds or the answer is final, however long what it needs is away.
func (a *archive) persist(ctx context.Context, what string, f func() error) error {
	return a.wait.Persist(ctx, "sink: "+what, func(err error) bool { return !final(err) }, f)
}

// final says whether the same again would get the same answer.
func final(err error) bool {
	_, other := errors.AsType[*azblob.DigestError](err)
	_, broken := errors.AsType[*azblob.PromiseError](err)
	_, large := errors.AsType[*azblob.TooLargeError](err)
	_, fault := errors.AsType[*fault](err)
	return other || broken || large || fault || errors.Is(err, azblob.ErrExpired) || errors.Is(err, azblob.ErrNotFound) || errors.Is(err, events.ErrUnreadable)
}
