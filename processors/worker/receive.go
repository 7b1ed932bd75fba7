package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
)

// receive decides about receipts and works on images. One per task; the store it shares with settle.
type receive struct {
	*pipeline

	ctx    *stream.ProcessorContext[string, effect]
	images state.TimestampedKeyValueStore[string, events.Image]
	due    dues
}

// punctuation is how often a task looks for what has become due.
const punctuation = 5 * time.Second

// Init opens the store.
func (r *receive) Init(ctx *stream.ProcessorContext[string, effect]) error {
	r.ctx, r.images = ctx, ctx.Store(lives)
	ctx.Schedule(punctuation, stream.WallClockTime, func(time.Time) error { return r.expire() })
	return nil
}

// outcome is what a receipt turns out to be.
type outcome string

const (
	begins    outcome = "begins"    // the first receipt of a life
	replayed  outcome = "replayed"  // the record behind the current attempt again, after a crash
	redriven  outcome = "redriven"  // the first receipt again, out of the dead letters
	repeated  outcome = "repeated"  // the first receipt again, and nothing is to be done: its producer tried twice
	duplicate outcome = "duplicate" // another receipt of a living image
	past      outcome = "past"      // a receipt of an earlier life, read again after a crash
	refused   outcome = "refused"   // an older receipt, redriven after the same bytes were received again
)

// decide is the rule of contract section 4: a life begins with the first receipt; the same bytes begin anew after they
// were rejected, have failed or have expired. What was decided once is decided so again when it is read again, although
// the image has gone on since: a duplicate's bytes are deleted, so it must never begin a life afterwards.
func decide(img events.Image, known bool, q receipt, now time.Time) outcome {
	if !known {
		return begins
	}
	expired := !now.Before(img.ExpiresAt)
	seen := img.Seen.Has(q.offset, q.raw.ReceivedAt)
	switch same := img.First.Blob == q.raw.Blob.Name; {
	case same && expired:
		return repeated
	case same && img.Work == q.offset:
		return replayed
	case same && !seen && img.Status == events.StatusFailed:
		return redriven
	case same:
		return repeated
	case seen && (expired || q.offset < img.First.Offset):
		return past
	case seen:
		return duplicate
	case expired:
		return begins
	case img.Status.Ended() && !q.raw.ReceivedAt.After(img.Seen.ReceivedAt):
		return refused
	case img.Status.Ended():
		return begins
	}
	return duplicate
}

// receipt is a record of raw-images, understood.
type receipt struct {
	raw       events.RawImage
	partition int32
	offset    int64
	record    stream.Record[string, []byte]
}

// Process takes one receipt to its end.
func (r *receive) Process(ctx *stream.ProcessorContext[string, effect], rec stream.Record[string, []byte]) error {
	if rec.Tombstone || rec.Value == nil {
		return nil
	}
	m, _ := ctx.Metadata()
	q := receipt{partition: m.Partition, offset: m.Offset, record: rec}
	err := r.persist(ctx.Context(), "read a receipt", func() (err error) {
		q.raw, err = r.c.Codec.DecodeRawImage(rec.Value)
		return err
	})
	if err == nil && (rec.Keyless || rec.Key != q.raw.ImageID) {
		err = fmt.Errorf("%w in %s: the key is not the image_id, so another partition may own the image", events.ErrUnreadable, events.TopicRawImages)
	}
	if errors.Is(err, events.ErrUnreadable) {
		r.metrics.receipts.WithLabelValues("", "unreadable").Inc()
		return r.letter(q, "decode", 1, err)
	}
	if err != nil {
		return err
	}
	img, known, err := r.images.Get(q.raw.ImageID)
	if err != nil {
		return err
	}
	return r.handle(q, img, known)
}

func (r *receive) handle(q receipt, img events.Image, known bool) error {
	now := r.now()
	what := decide(img, known, q, now)
	r.metrics.receipts.WithLabelValues(q.raw.Origin, string(what)).Inc()
	switch what {
	case past:
		return nil
	case duplicate, repeated, refused:
		return r.pass(q, img, what)
	case replayed:
		return r.again(q, img, now)
	case redriven:
		img.Seen.Add(q.offset, q.raw.ReceivedAt)
		img.Attempt, img.Work = img.Attempt+1, q.offset
		img.Processed, img.ErrorCode, img.Error, img.Derivatives = false, "", "", nil
		return r.start(q, img, now)
	}
	if !now.Before(q.raw.ExpiresAt) {
		// Nobody is to see or keep it any more. The status has its staging blob deleted (settle).
		gone := r.newLife(q)
		gone.Reach(events.StatusRejected, now)
		gone.ErrorCode, gone.Error = events.CodeExpired, "it was received too long ago"
		return r.say(&gone, events.StatusRejected, now)
	}
	img = r.newLife(q)
	img.Reach(events.StatusAccepted, q.raw.ReceivedAt)
	if err := r.say(&img, events.StatusAccepted, q.raw.ReceivedAt); err != nil {
		return err
	}
	return r.start(q, img, now)
}

// pass remembers a receipt that changes nothing in the image's life; a duplicate is said.
func (r *receive) pass(q receipt, img events.Image, what outcome) error {
	if !img.Seen.Has(q.offset, q.raw.ReceivedAt) {
		img.Seen.Add(q.offset, q.raw.ReceivedAt)
		if err := r.images.Put(img.ImageID, img, r.c.Stamp.Now()); err != nil {
			return err
		}
	}
	if what == refused {
		r.ctx.Log().Warn("an old receipt is refused: the same bytes were received again since", "image_id", img.ImageID)
	}
	if what != duplicate {
		return nil
	}
	return r.sayDuplicate(q)
}

// newLife is an image at its first receipt.
func (r *receive) newLife(q receipt) events.Image {
	return events.Image{
		ImageID: q.raw.ImageID, Tenant: q.raw.Tenant, TenantClass: r.c.class(q.raw.Tenant), Origin: q.raw.Origin, Attempt: 1,
		First:       events.Receipt{Partition: q.partition, Offset: q.offset, Blob: q.raw.Blob.Name},
		Work:        q.offset,
		Seen:        events.Seen{Offset: q.offset, ReceivedAt: q.raw.ReceivedAt},
		ContentType: q.raw.ContentType, Bytes: q.raw.Bytes, SHA256: fmt.Sprintf("%x", q.raw.SHA256),
		ReceivedAt: q.raw.ReceivedAt, ExpiresAt: q.raw.ExpiresAt,
	}
}

// again does a receipt once more that a crash may have left half done. What the store says was decided stays decided.
func (r *receive) again(q receipt, img events.Image, now time.Time) error {
	switch img.Status {
	case events.StatusArchived:
		return nil
	case events.StatusRejected, events.StatusFailed:
		at, _ := img.Reached(img.Status)
		if err := r.say(&img, img.Status, at); err != nil || img.Status == events.StatusRejected {
			return err
		}
		return r.failureLetter(q, &img)
	}
	if err := r.say(&img, events.StatusAccepted, img.ReceivedAt); err != nil {
		return err
	}
	return r.start(q, img, now)
}

// start says that work begins, works, and says how it went.
func (r *receive) start(q receipt, img events.Image, now time.Time) error {
	if !now.Before(img.ReceivedAt.Add(events.SettleLimit)) {
		r.due.add(&img)
		return r.fail(q, img, &fault{code: events.CodeTooLate, err: fmt.Errorf("it was received more than %s ago", events.SettleLimit)})
	}
	began := img.After(now)
	if img.Status == events.StatusProcessing {
		began, _ = img.Reached(events.StatusProcessing)
	}
	img.Reach(events.StatusProcessing, began)
	r.due.add(&img)
	if err := r.images.Put(img.ImageID, img, r.c.Stamp.Now()); err != nil {
		return err
	}
	if err := r.say(&img, events.StatusProcessing, began); err != nil {
		return err
	}
	scope, end := r.wait.Scope(r.ctx.Context())
	defer end()
	done, err := r.work(scope, q.raw, img.First)
	var f *fault
	switch {
	case errors.As(err, &f) && f.code == events.CodeStagingMissing && img.Processed:
		return nil // the archive has it already: its status is on the way
	case errors.As(err, &f) && f.rejected:
		return r.reject(img, f)
	case errors.As(err, &f):
		return r.fail(q, img, f)
	case err != nil:
		return err
	}
	return r.finish(q, img, done, began)
}

// finish remembers what work has made of the image and hands it to the archive.
func (r *receive) finish(q receipt, img events.Image, done *result, began time.Time) error {
	img.Processed = true
	img.ContentType, img.Format = done.format.ContentType(), string(done.format)
	img.Width, img.Height, img.Frames = int32(done.width), int32(done.height), int32(done.frames)
	img.Derivatives = nil
	for _, d := range done.derivatives {
		img.Derivatives = append(img.Derivatives, events.DerivativeView{Name: d.Name, Step: d.Step, Version: d.Version,
			ContentType: d.ContentType, Bytes: d.Bytes, Width: d.Width, Height: d.Height})
	}
	for _, s := range done.failed {
		img.ErrorCode, img.Error = events.CodeStepFailed, s.err.Error()
		if err := r.letter(q, s.step, s.attempts, s.err); err != nil {
			return err
		}
	}
	if err := r.images.Put(img.ImageID, img, r.c.Stamp.Now()); err != nil {
		return err
	}
	value, err := r.encodeProcessed(q, &img, done, began)
	if err != nil {
		return err
	}
	return r.ctx.Emit(img.ImageID, effect{events.TopicProcessedImages, value})
}

// reject ends an image by its own fault.
func (r *receive) reject(img events.Image, f *fault) error {
	r.metrics.ended.WithLabelValues(string(events.StatusRejected), f.code).Inc()
	return r.end(&img, events.StatusRejected, f)
}

// fail ends an image by ours, and keeps its receipt in the dead letters; the staging blob stays for a redrive. After
// the limit for redrives there is no dead letter: it could only outlive the image.
func (r *receive) fail(q receipt, img events.Image, f *fault) error {
	r.metrics.ended.WithLabelValues(string(events.StatusFailed), f.code).Inc()
	if err := r.end(&img, events.StatusFailed, f); err != nil || f.code == events.CodeTooLate {
		return err
	}
	return r.failureLetter(q, &img)
}

func (r *receive) end(img *events.Image, s events.Status, f *fault) error {
	at := img.After(r.now())
	img.Reach(s, at)
	img.ErrorCode, img.Error = f.code, f.Error()
	if err := r.images.Put(img.ImageID, *img, r.c.Stamp.Now()); err != nil {
		return err
	}
	return r.say(img, s, at)
}

// failureLetter is the dead letter of a failed image.
func (r *receive) failureLetter(q receipt, img *events.Image) error {
	if img.ErrorCode == events.CodeTooLate {
		return nil
	}
	return r.letter(q, img.ErrorCode, img.Attempt, errors.New(img.Error))
}

// letter writes a receipt's bytes into the dead letters, with the reason in headers.
func (r *receive) letter(q receipt, stage string, attempts int, cause error) error {
	out := stream.Record[string, effect]{
		Key: q.record.Key, Keyless: q.record.Keyless, Timestamp: q.record.Timestamp,
		Value: effect{events.DLQ(events.TopicRawImages), q.record.Value},
	}
	for _, h := range q.record.Headers {
		if !dlq.IsHeader(h.Key) {
			out.Headers = append(out.Headers, h)
		}
	}
	for _, h := range dlq.Headers(dlq.Failure{Topic: events.TopicRawImages, Partition: q.partition, Offset: q.offset, Stage: stage, Attempts: attempts, Err: cause}) {
		out.Headers = append(out.Headers, serde.Header{Key: h.Key, Value: h.Value})
	}
	r.metrics.letters.WithLabelValues(stage).Inc()
	return r.ctx.Forward(out)
}
