package httpin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/events"
)

// housekeeping is how often a session looks for new partitions, expired images and receipts that are dealt with; it
// also bounds how long a poll waits.
const housekeeping = time.Second

// askTimeout bounds a question to the brokers.
const askTimeout = 10 * time.Second

// viewBatch is how many records are applied under one hold of the lock.
const viewBatch = 2000

// session reads with one client until something is wrong with what it reads.
func (v *view) session(ctx context.Context) error {
	client, err := kgo.NewClient(append(append([]kgo.Opt{}, v.kafka...),
		kgo.ClientID("millrun-api-view"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // or the positions would never pass the markers of a transaction
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(16<<20),
		kgo.MaxConcurrentFetches(2),
		kgo.MaxDecompressBatchBytes(64<<20),
	)...)
	if err != nil {
		return fmt.Errorf("httpin: view: %w", err)
	}
	defer client.Close()
	v.begin(client)
	defer v.begin(nil)
	var next time.Time
	for ctx.Err() == nil {
		if now := time.Now(); !now.Before(next) {
			if err := v.keepHouse(ctx, client); err != nil {
				return err
			}
			next = time.Now().Add(housekeeping)
		}
		if err := v.poll(ctx, client, time.Until(next)); err != nil {
			return err
		}
	}
	return nil
}

// begin makes client the session's, with nothing read; nil ends the session. What was known stays readable meanwhile,
// marked as behind, until the next session begins.
func (v *view) begin(client *kgo.Client) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.client, v.loaded, v.positions = client, false, positions{}
	if client != nil {
		v.index = newImageIndex()
	}
}

// poll applies what comes within wait.
func (v *view) poll(ctx context.Context, client *kgo.Client, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, max(wait, 10*time.Millisecond))
	defer cancel()
	fetches := client.PollRecords(ctx, viewBatch)
	if fetches.IsClientClosed() {
		return errors.New("httpin: view: client closed")
	}
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			return fmt.Errorf("httpin: view of %s/%d: %w", e.Topic, e.Partition, e.Err)
		}
	}
	if fetches.Empty() {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	fetches.EachRecord(v.apply)
	close(v.moved)
	v.moved = make(chan struct{})
	return nil
}

// apply takes one record; the lock is held. A value that cannot be read is the writer's fault and shown by its absence:
// the door must not stop for it.
func (v *view) apply(r *kgo.Record) {
	defer v.positions.set(r.Topic, r.Partition, r.Offset+1)
	if r.Attrs.IsControl() || string(r.Key) == events.MarkerKey {
		return
	}
	var err error
	switch {
	case r.Topic == events.TopicImagesChangelog && r.Value == nil:
		v.index.unsettle(string(r.Key), v.clock.Now())
	case r.Topic == events.TopicImagesChangelog:
		err = v.applyImage(r)
	case r.Value != nil:
		err = v.applyReceipt(r)
	}
	if err != nil {
		v.log.Error("the view leaves a record out", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "error", err)
	}
}

func (v *view) applyImage(r *kgo.Record) error {
	image, err := events.UnmarshalImage(r.Value)
	if err != nil {
		return err
	}
	if image.ImageID != string(r.Key) {
		return errors.New("httpin: the image under this key has another name")
	}
	v.index.settle(settledItem(image, r.Value))
	return nil
}

func (v *view) applyReceipt(r *kgo.Record) error {
	raw, err := v.codec.DecodeRawImage(r.Value)
	if err != nil {
		return err
	}
	it, err := pendingItem(raw, r.Partition, r.Offset)
	if err != nil {
		return err
	}
	v.index.receive(it)
	return nil
}

// keepHouse takes on partitions that are new, forgets receipts that the worker has dealt with and images whose time is
// over, and finds out when everything has been read.
func (v *view) keepHouse(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	committed, err := committedByWorker(ctx, admin)
	if err != nil {
		return err
	}
	ends, err := endsOf(ctx, client) // asked after committed: whatever was dealt with is in the changelog before these
	if err != nil {
		return err
	}
	if err := v.takeOn(ctx, admin, client, committed, ends); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.positions.behind(ends) {
		v.index.processed(committed)
		v.loaded = true
	}
	v.index.expire(v.clock.Now())
	return nil
}

// committedByWorker is how far the worker has dealt with raw-images.
func committedByWorker(ctx context.Context, admin *kadm.Client) (map[int32]int64, error) {
	resp, err := admin.FetchOffsets(ctx, events.AppWorker)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("httpin: offsets of %s: %w", events.AppWorker, err)
	}
	committed := map[int32]int64{}
	for partition, o := range resp[events.TopicRawImages] {
		if o.Err != nil {
			return nil, fmt.Errorf("httpin: offsets of %s: %w", events.AppWorker, o.Err)
		}
		if o.At >= 0 {
			committed[partition] = o.At
		}
	}
	return committed, nil
}

// takeOn begins to read the partitions that are not read yet: the changelog from its beginning, raw-images from where
// the worker is.
func (v *view) takeOn(ctx context.Context, admin *kadm.Client, client *kgo.Client, committed map[int32]int64, ends positions) error {
	v.mu.Lock()
	missing := v.positions.missing(ends)
	v.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	listed, err := admin.ListStartOffsets(ctx, missing...)
	if err != nil {
		return fmt.Errorf("httpin: starts of the view's topics: %w", err)
	}
	starts, err := offsetsOf(listed)
	if err != nil {
		return err
	}
	add := map[string]map[int32]kgo.Offset{}
	v.mu.Lock()
	defer v.mu.Unlock()
	for topic, of := range starts {
		for partition, start := range of {
			if _, read := v.positions[topic][partition]; read {
				continue
			}
			if end := ends[topic][partition]; topic == events.TopicRawImages && committed[partition] > start {
				start = max(start, min(committed[partition], end))
			}
			if add[topic] == nil {
				add[topic] = map[int32]kgo.Offset{}
			}
			add[topic][partition] = kgo.NewOffset().At(start)
			v.positions.set(topic, partition, start)
		}
	}
	client.AddConsumePartitions(add)
	return nil
}

// missing are the topics of ends with a partition that p does not have.
func (p positions) missing(ends positions) []string {
	var topics []string
	for topic, of := range ends {
		for partition := range of {
			if _, known := p[topic][partition]; !known {
				topics = append(topics, topic)
				break
			}
		}
	}
	return topics
}
