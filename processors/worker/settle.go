package worker

import (
	"errors"

	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/internal/patience"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// settle brings what others say about an image into its life, and deletes staging blobs that nobody needs any more. It
// does the latter on reading a status, not on writing it: what has been read back is surely in Kafka, so a crash never
// leaves an image without bytes and without a status. One per task; it writes nothing but the store.
type settle struct {
	*pipeline

	images state.TimestampedKeyValueStore[string, events.Image]
}

// Init opens the store.
func (s *settle) Init(ctx *stream.ProcessorContext[string, effect]) error {
	s.images = ctx.Store(lives)
	return nil
}

// Process takes in one status.
func (s *settle) Process(ctx *stream.ProcessorContext[string, effect], rec stream.Record[string, []byte]) error {
	if rec.Tombstone || rec.Value == nil {
		return nil
	}
	var e events.ImageStatus
	err := s.persist(ctx.Context(), "read a status", func() (err error) {
		e, err = s.c.Codec.DecodeImageStatus(rec.Value)
		return err
	})
	if errors.Is(err, events.ErrUnreadable) {
		ctx.Log().Warn("a status is unreadable; the role analytics keeps it as a dead letter", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	img, known, err := s.images.Get(e.ImageID)
	if err != nil {
		return err
	}
	current := known && img.First.Blob == e.Receipt
	if current && !e.Duplicate && apply(&img, e) {
		if err := s.images.Put(img.ImageID, img, s.c.Stamp.Now()); err != nil {
			return err
		}
	}
	if superfluous(e, img, current) {
		return s.drop(ctx, e)
	}
	return nil
}

// apply brings a status of the image's current attempt into its life; false where it says nothing new. An image that is
// archived stays so, whatever was said before.
func apply(img *events.Image, e events.ImageStatus) bool {
	if e.Attempt != img.Attempt || !e.Status.Final() || img.Status == events.StatusArchived || img.Status == e.Status {
		return false
	}
	if img.Status == events.StatusRejected && e.Status != events.StatusArchived {
		return false
	}
	img.Reach(e.Status, img.After(e.At))
	if e.ErrorCode != nil {
		img.ErrorCode, img.Error = *e.ErrorCode, e.Error
	}
	if e.Status == events.StatusArchived {
		img.Archive = e.Archive
	}
	return true
}

// superfluous says whether the receipt's staging blob is of no more use: it was a duplicate's, or was rejected. A blob
// whose image lives under the same receipt stays.
func superfluous(e events.ImageStatus, img events.Image, current bool) bool {
	if e.Receipt == "" || (!e.Duplicate && e.Status != events.StatusRejected) {
		return false
	}
	return !current || img.Status == events.StatusRejected
}

// drop deletes a staging blob. One that cannot be deleted now goes at its expires_at by the purge.
func (s *settle) drop(ctx *stream.ProcessorContext[string, effect], e events.ImageStatus) error {
	scope, done := s.wait.Scope(ctx.Context())
	defer done()
	err := s.wait.Attempt(scope, "worker: delete from staging", deleteAttempts, func() error { return s.c.Staging.Delete(scope, e.Receipt) })
	if err != nil && scope.Err() == nil && !errors.Is(err, patience.ErrStopping) {
		s.metrics.undeleted.Inc()
		ctx.Log().Warn("a staging blob could not be deleted and stays until it expires", "image_id", e.ImageID, "blob", e.Receipt, "err", err)
		return nil
	}
	return err
}
