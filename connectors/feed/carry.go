package feed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/dlq"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/images"
)

// atOnce is how many images of a batch are staged at a time.
const atOnce = 4

// reserveTimeout bounds the wait for memory that uploads hold.
const reserveTimeout = 30 * time.Second

// stage is what the dead letters say about where it happened.
const stage = "feed"

// account is in whose name the feed holds memory; no tenant's account is called that.
const account = "feed"

// carry hands every record of a batch in: staged and produced, or a dead letter. It returns nil once all of them are
// acknowledged by every in-sync replica; after an error the whole batch is to be carried again.
func (b *Bridge) carry(ctx context.Context, send *kgo.Client, from origin, records []*kgo.Record) error {
	out := make([]*kgo.Record, len(records))
	codes := make([]string, len(records))
	work, wctx := errgroup.WithContext(ctx)
	work.SetLimit(atOnce)
	for i, r := range records {
		work.Go(func() (err error) {
			out[i], codes[i], err = b.take(wctx, from, r)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	sctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if err := send.ProduceSync(sctx, out...).FirstErr(); err != nil {
		return fmt.Errorf("feed: produce: %w", err)
	}
	for i, code := range codes {
		b.metrics.records.WithLabelValues(code).Inc()
		if code != outcomeAccepted {
			r := records[i]
			b.cfg.Log.Warn("a record of the feed is a dead letter", "reason", code, "topic", r.Topic, "partition", r.Partition, "offset", r.Offset)
		}
	}
	return nil
}

// take makes of a record of the feed what is to be produced for it, and says what that is. An error is ours, and the
// same again may succeed.
func (b *Bridge) take(ctx context.Context, from origin, r *kgo.Record) (*kgo.Record, string, error) {
	received := b.receivedAt(r.Timestamp)
	raw, err := b.receipt(ctx, from, r, received)
	if no, ok := errors.AsType[*refusal](err); ok {
		return b.letter(r, no), no.code, nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("feed: %s/%d/%d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	value, err := b.cfg.Codec.EncodeRawImage(raw)
	if err != nil {
		return nil, "", fmt.Errorf("feed: record: %w", err)
	}
	return &kgo.Record{
		Topic: events.TopicRawImages, Key: []byte(raw.ImageID), Value: value, Timestamp: b.cfg.Stamp.Now(),
		Headers: []kgo.RecordHeader{{Key: events.TraceHeader, Value: []byte(raw.Trace)}},
	}, outcomeAccepted, nil
}

// letter is the dead letter of a record, its bytes unchanged. The one exception is a record that is too old to be
// worked on: its bytes, kept three days more, would outlive the seven that an image has, so only its place, its headers
// and the reason are kept.
func (b *Bridge) letter(r *kgo.Record, no *refusal) *kgo.Record {
	l := dlq.Record(r, dlq.Failure{Stage: stage, Attempts: max(no.attempts, 1), Err: no})
	l.Timestamp = b.cfg.Stamp.Now()
	if no.code == codeTooLate {
		l.Value = nil
	}
	return l
}

// receipt stages a record's image and returns its claim check.
func (b *Bridge) receipt(ctx context.Context, from origin, r *kgo.Record, received time.Time) (events.RawImage, error) {
	if age := b.cfg.Clock.Now().Sub(received); age > events.SettleLimit {
		return events.RawImage{}, refuse(codeTooLate, fmt.Errorf("the record is %s old, at most %s can be worked on", age.Round(time.Minute), events.SettleLimit))
	}
	c, err := b.open.open(r)
	if err != nil {
		return events.RawImage{}, err
	}
	if c.tenant == "" {
		c.tenant = b.cfg.Tenant
	}
	if c.tenant == "" {
		return events.RawImage{}, refuse(codeNoTenant, errors.New("neither a header nor an envelope nor feed.tenant names a tenant"))
	}
	if _, known := b.cfg.Tenants[c.tenant]; !known {
		return events.RawImage{}, refuse(codeUnknownTenant, errors.New("the tenant is not under tenants"))
	}
	name := events.StagingName(received, from.name(r))
	var staged intake.Staged
	if c.url != "" {
		staged, err = b.stageURL(ctx, name, c.url)
	} else {
		staged, err = b.stage(ctx, name, bytes.NewReader(c.data), int64(len(c.data)))
	}
	if err != nil {
		return events.RawImage{}, err
	}
	return b.cfg.Intake.Receipt(staged, c.tenant, events.OriginFeed, received, events.Trace(trace(r))), nil
}

// name is the staging blob's: the same for the same record, however often it is read.
func (o origin) name(r *kgo.Record) string {
	place := o.cluster + "\x00" + string(o.topic[:]) + "\x00" + strconv.Itoa(int(r.Partition)) + "\x00" + strconv.FormatInt(r.Offset, 10)
	return uuid.NewHash(sha256.New(), uuid.NameSpaceOID, []byte(place), 8).String()
}

// trace is the traceparent that the record came with.
func trace(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == events.TraceHeader {
			return string(h.Value)
		}
	}
	return ""
}

// stage takes bytes in; what is wrong with them is a *refusal.
func (b *Bridge) stage(ctx context.Context, name string, body io.Reader, size int64) (intake.Staged, error) {
	rctx, cancel := context.WithTimeout(ctx, reserveTimeout)
	defer cancel()
	release, err := b.cfg.Intake.Reserve(rctx, account, size)
	if err != nil {
		return intake.Staged{}, err
	}
	defer release()
	staged, err := b.cfg.Intake.Take(ctx, name, body, size)
	if code := codeOf(err); code != "" {
		return intake.Staged{}, refuse(code, err)
	}
	if err == nil {
		b.metrics.bytes.Add(float64(staged.Bytes))
	}
	return staged, err
}

// codeOf is the reason why bytes are refused for what they are; "" when they are not.
func codeOf(err error) string {
	for _, c := range []struct {
		err  error
		code string
	}{
		{images.ErrNotAnImage, events.CodeUnsupported}, {images.ErrTruncated, events.CodeTruncated}, {images.ErrZeroSize, events.CodeZeroSize},
		{images.ErrTooBig, events.CodeTooBig}, {images.ErrUndecodable, events.CodeUndecodable}, {intake.ErrLateBytes, events.CodeUndecodable},
		{intake.ErrTooLarge, codeTooLarge}, {intake.ErrEmpty, codeEmpty},
	} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return ""
}

// stageURL fetches an image and takes it in on the way. A server that does not answer is asked again; in the end the
// record is a dead letter, because the records behind it wait.
func (b *Bridge) stageURL(ctx context.Context, name, url string) (intake.Staged, error) {
	var last error
	for attempt := range fetchAttempts {
		if attempt > 0 && !pause(ctx, time.Duration(attempt)*b.cfg.Patience) {
			return intake.Staged{}, fmt.Errorf("feed: fetch: %w", ctx.Err())
		}
		staged, err := b.fetchInto(ctx, name, url)
		var no *refusal
		var reading *intake.BodyError
		switch {
		case err == nil, errors.As(err, &no), errors.Is(err, intake.ErrStaging), errors.Is(err, intake.ErrBusy), ctx.Err() != nil:
			return staged, err
		case errors.As(err, &reading):
			err = errors.New("the server broke off")
		}
		last = err
	}
	return intake.Staged{}, &refusal{code: codeURLFailed, attempts: fetchAttempts, err: last}
}

func (b *Bridge) fetchInto(ctx context.Context, name, url string) (intake.Staged, error) {
	resp, err := b.fetch.get(ctx, url)
	if err != nil {
		return intake.Staged{}, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	return b.stage(ctx, name, resp.Body, resp.ContentLength)
}

// clockSlack is how far a record's timestamp may be ahead of the machine's clock and still be by that clock.
const clockSlack = time.Minute

// receivedAt is when a record of the feed was received: its timestamp, so that reading it again tells the same. Where
// the clock was moved ahead of the machine's, producers that do not know are corrected by as much; nothing is received
// in the future.
func (b *Bridge) receivedAt(stamp time.Time) time.Time {
	now, machine := b.cfg.Clock.Now(), time.Now()
	at := stamp
	if ahead := now.Sub(machine).Round(time.Second); ahead > clockSlack && !stamp.After(machine.Add(clockSlack)) {
		at = stamp.Add(ahead)
	}
	if stamp.UnixMilli() <= 0 || at.After(now) {
		at = now
	}
	return at.UTC().Truncate(time.Millisecond)
}
