package httpin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/events"
)

// errViewBehind says that the view could not be brought to the present in time.
var errViewBehind = errors.New("httpin: the view of the images is behind")

// view is what the door knows of the images: the worker's changelog from its beginning, and the receipts in raw-images
// that the worker has not committed yet, both held in memory. It reads without a group and writes nothing, so every
// process has a whole one.
//
// One goroutine, run, reads and is the only one that changes the positions; what it has applied is seen by everybody
// under the lock. Reads are read-your-writes across processes by catchUp.
type view struct {
	kafka []kgo.Opt
	codec *events.Codec
	clock clock.Clock
	log   *slog.Logger

	mu        sync.Mutex
	index     *imageIndex
	positions positions     // next offset to read, of the partitions that are read
	moved     chan struct{} // closed and replaced whenever a position moves
	client    *kgo.Client   // of the session, nil while there is none
	loaded    bool          // the session has read everything that was there when it began
}

// positions are offsets by topic and partition.
type positions map[string]map[int32]int64

func (p positions) set(topic string, partition int32, offset int64) {
	if p[topic] == nil {
		p[topic] = map[int32]int64{}
	}
	p[topic][partition] = offset
}

// behind says whether p has yet to reach an offset of ends.
func (p positions) behind(ends positions) bool {
	for topic, of := range ends {
		for partition, end := range of {
			if at, known := p[topic][partition]; !known || at < end {
				return true
			}
		}
	}
	return false
}

func newView(cfg *Config) *view {
	return &view{
		kafka: cfg.Kafka, codec: cfg.Codec, clock: cfg.Clock, log: cfg.Log,
		index: newImageIndex(), positions: positions{}, moved: make(chan struct{}),
	}
}

// found is what the view says of an image.
type found struct {
	item    *item // nil when there is none
	expired bool  // it was there and its time is over
}

// look finds a tenant's image as far as the view has read; another tenant's does not exist.
func (v *view) look(tenant, id string) found {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.clock.Now()
	if it := v.index.shown[id]; it != nil && it.tenant == tenant {
		if !it.expires.After(now) {
			return found{expired: true}
		}
		return found{item: it}
	}
	it := v.index.gone[id]
	return found{expired: it != nil && it.tenant == tenant}
}

// page lists a tenant's images as far as the view has read.
func (v *view) page(tenant string, f filter) (items []*item, more bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.index.tenants[tenant].page(f, v.clock.Now())
}

// size is the number of images held.
func (v *view) size() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.index.shown)
}

// note takes a receipt that this process has just produced, before it comes back from Kafka.
func (v *view) note(r events.RawImage, partition int32, offset int64) error {
	it, err := pendingItem(r, partition, offset)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.index.receive(it)
	return nil
}

// ready is nil once everything was read that was there at the start.
func (v *view) ready() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.client == nil || !v.loaded {
		return errViewBehind
	}
	return nil
}

// catchUp returns once the view has applied everything that was in Kafka when it was called, so that what is then
// absent is absent. It is the caller's context that bounds the wait.
func (v *view) catchUp(ctx context.Context) error {
	v.mu.Lock()
	client := v.client
	v.mu.Unlock()
	if client == nil {
		return errViewBehind
	}
	ends, err := endsOf(ctx, client)
	if err != nil {
		return err
	}
	return v.reach(ctx, ends)
}

// reach waits until the positions are at ends.
func (v *view) reach(ctx context.Context, ends positions) error {
	for {
		v.mu.Lock()
		behind, moved := v.positions.behind(ends), v.moved
		v.mu.Unlock()
		if !behind {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errViewBehind, ctx.Err())
		}
	}
}

// viewTopics are what the view reads.
var viewTopics = []string{events.TopicImagesChangelog, events.TopicRawImages}

// endsOf asks for the last stable offsets of the view's topics. A topic that does not exist has none.
func endsOf(ctx context.Context, client *kgo.Client) (positions, error) {
	listed, err := kadm.NewClient(client).ListCommittedOffsets(ctx, viewTopics...)
	if err != nil {
		return nil, fmt.Errorf("httpin: ends of the view's topics: %w", err)
	}
	return offsetsOf(listed)
}

func offsetsOf(listed kadm.ListedOffsets) (positions, error) {
	p := positions{}
	for topic, of := range listed {
		for partition, o := range of {
			if errors.Is(o.Err, kerr.UnknownTopicOrPartition) {
				continue
			}
			if o.Err != nil {
				return nil, fmt.Errorf("httpin: offset of %s/%d: %w", topic, partition, o.Err)
			}
			p.set(topic, partition, o.Offset)
		}
	}
	return p, nil
}

// run reads until ctx ends. A session that fails is begun anew from nothing: what the view holds is Kafka's, and a
// whole reading is the one way back that is surely right.
func (v *view) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := v.session(ctx); err != nil && ctx.Err() == nil {
			v.log.Warn("the view of the images begins anew", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
