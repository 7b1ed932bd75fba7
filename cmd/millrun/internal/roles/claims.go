package roles

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/internal/scan"
)

// claimsAge is how long one reading of the topics serves the questions of a purge pass.
const claimsAge = 30 * time.Second

// claims knows which staged blobs a record still speaks of: receipts name what came in, processed images name their
// derivatives. Both are produced within seconds of the staging, so what is a day old and unnamed is an orphan of a door
// that died in between. Owned by the purger's goroutine.
type claims struct {
	kafka []kgo.Opt
	codec *events.Codec

	read  time.Time // by the machine's clock
	names map[string]bool
}

// claimed says whether a record names the blob. A topic that cannot be read to its end is an error, and nothing is
// deleted for it.
func (c *claims) claimed(ctx context.Context, name string) (bool, error) {
	if c.names == nil || time.Since(c.read) > claimsAge {
		names := map[string]bool{}
		if err := c.collect(ctx, names); err != nil {
			return false, err
		}
		c.read, c.names = time.Now(), names
	}
	return c.names[name], nil
}

func (c *claims) collect(ctx context.Context, names map[string]bool) error {
	var away error
	note := func(r *kgo.Record, err error) {
		// What never can be read claims nothing: its reader makes a dead letter of it. Anything else may be readable later.
		if err != nil && !errors.Is(err, events.ErrUnreadable) {
			away = fmt.Errorf("%s/%d at %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
	}
	_, err := scan.Topic(ctx, c.kafka, events.TopicRawImages, func(r *kgo.Record) {
		raw, err := c.codec.DecodeRawImage(r.Value)
		note(r, err)
		names[raw.Blob.Name] = true
	})
	if err != nil {
		return err
	}
	_, err = scan.Topic(ctx, c.kafka, events.TopicProcessedImages, func(r *kgo.Record) {
		p, err := c.codec.DecodeProcessedImage(r.Value)
		note(r, err)
		for _, d := range p.Derivatives {
			names[d.Blob.Name] = true
		}
	})
	return errors.Join(err, away)
}
