package kafkad

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// partition names one log.
type partition struct {
	topic string
	id    int32
}

// cleaner applies retention and compaction by the server's clock. It has one goroutine (run); fields without a lock
// belong to it, or to the broker's while the cleaner waits for it (alone).
type cleaner struct {
	s     *Server
	token string // marks our own requests among those of clients

	seen    map[partition]*sighting
	blanked map[partition]int64 // how far the bytes of each log were overwritten

	compactions map[partition]*compaction
	compacted   time.Time     // real time of the last compaction's end
	took        time.Duration // of the last compaction
	busy        bool          // alone found an open transaction
	failed      error         // alone could not do its work
	swapped     sync.RWMutex  // held for writing while configurations are not the topics' own
	was         undo          // their own, meanwhile

	mu     sync.Mutex
	floors map[[16]byte]map[int32]int64 // by topic id: first offset left by compaction
}

// sighting is how far a log reached at two moments of real time.
type sighting struct {
	at      time.Time
	end     int64
	settled int64 // what was there settle ago, or longer
}

// topic is a topic at one moment.
type topic struct {
	name       string
	info       *kfake.TopicInfo
	partitions []*kfake.PartitionInfo
}

func newCleaner(s *Server) *cleaner {
	return &cleaner{
		s:           s,
		token:       "millrun-" + rand.Text(),
		seen:        make(map[partition]*sighting),
		blanked:     make(map[partition]int64),
		compactions: make(map[partition]*compaction),
		floors:      make(map[[16]byte]map[int32]int64),
		compacted:   time.Now(),
	}
}

// run cleans until ctx ends. A round that fails is said and tried again: the next one finds the same work.
func (c *cleaner) run(ctx context.Context) {
	tick := time.NewTicker(c.s.config.poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			c.s.log.Error("embedded Kafka: retention failed, it is tried again", "error", err)
		}
	}
}

func (c *cleaner) round(ctx context.Context) error {
	if err := c.undoSwap(ctx); err != nil { // an earlier round could not
		return err
	}
	topics, err := c.look(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range topics {
		errs = append(errs, c.expire(ctx, t))
	}
	errs = append(errs, c.compact(ctx, topics), c.blank(topics))
	return errors.Join(errs...)
}

// look is every topic as it is now.
func (c *cleaner) look(ctx context.Context) ([]topic, error) {
	details, err := c.s.admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, fmt.Errorf("kafkad: list topics: %w", err)
	}
	var topics []topic
	for name := range details {
		t := topic{name: name, info: c.s.cluster.TopicInfo(name), partitions: c.s.cluster.PartitionInfos(name)}
		if t.info != nil { // else deleted meanwhile
			topics = append(topics, t)
		}
	}
	return topics, nil
}

// expire deletes what is older than the topic's retention: records up to the first one that is not (KIP-107's
// DeleteRecords, batch by batch; Kafka does so by whole segments, later). Open transactions and what has just arrived
// stay.
func (c *cleaner) expire(ctx context.Context, t topic) error {
	limits := c.settled(t)
	retention, ok := t.retention()
	if !ok {
		return nil
	}
	var due bool
	for _, p := range t.partitions {
		due = due || limits[p.Partition] > p.LogStartOffset
	}
	if !due {
		return nil
	}
	firsts, err := c.s.admin.ListOffsetsAfterMilli(ctx, c.s.config.Clock.Now().Add(-retention).UnixMilli(), t.name)
	if err != nil {
		return fmt.Errorf("kafkad: ask what is expired in %s: %w", t.name, err)
	}
	for _, p := range t.partitions {
		first, ok := firsts.Lookup(t.name, p.Partition)
		if !ok || first.Err != nil {
			continue // deleted meanwhile
		}
		if to := min(first.Offset, limits[p.Partition]); to > p.LogStartOffset {
			if err := c.deleteBefore(t, p.Partition, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// settled is, for each partition, the offset up to which records have been there for a while and are decided.
func (c *cleaner) settled(t topic) map[int32]int64 {
	now := time.Now()
	limits := make(map[int32]int64, len(t.partitions))
	for _, p := range t.partitions {
		key := partition{t.name, p.Partition}
		s := c.seen[key]
		if s == nil || p.HighWatermark < s.end { // new, or another topic of this name
			s = &sighting{at: now, end: p.HighWatermark, settled: p.LogStartOffset}
			c.seen[key] = s
		}
		if now.Sub(s.at) >= c.s.config.settle {
			s.settled, s.at, s.end = s.end, now, p.HighWatermark
		}
		limits[p.Partition] = min(s.settled, p.LastStableOffset)
	}
	return limits
}

// deleteBefore deletes records, and remembers it first where files would remember them.
func (c *cleaner) deleteBefore(t topic, partition int32, offset int64) error {
	if c.s.starts != nil {
		if err := c.s.starts.set(t.name, t.info.TopicID, partition, offset); err != nil {
			return err
		}
	}
	if err := c.s.cluster.DeleteRecords(t.name, partition, offset); err != nil {
		return fmt.Errorf("kafkad: delete %s-%d before %d: %w", t.name, partition, offset, err)
	}
	return nil
}

// blank overwrites what was deleted, by whomever, in segments that stay for the sake of later records.
func (c *cleaner) blank(topics []topic) error {
	if c.s.config.Dir == "" {
		return nil
	}
	var errs []error
	for _, t := range topics {
		for _, p := range c.s.cluster.PartitionInfos(t.name) {
			key := partition{t.name, p.Partition}
			if p.LogStartOffset < c.blanked[key] { // another topic of this name
				delete(c.blanked, key)
			}
			if p.LogStartOffset == c.blanked[key] {
				continue
			}
			if err := blankBefore(partitionDir(dataDir(c.s.config.Dir), t.name, p.Partition), p.LogStartOffset); err != nil {
				errs = append(errs, err)
				continue
			}
			c.blanked[key] = p.LogStartOffset
		}
	}
	return errors.Join(errs...)
}

// Kafka's defaults: https://kafka.apache.org/documentation/#topicconfigs.
const (
	defaultRetention       = 7 * 24 * time.Hour
	defaultDeleteRetention = 24 * time.Hour
)

// retention is how long records of the topic stay; false when they stay for ever.
func (t topic) retention() (time.Duration, bool) {
	if policy := t.policy(); !strings.Contains(policy, "delete") {
		return 0, false
	}
	d := t.millis("retention.ms", defaultRetention)
	return d, d >= 0
}

func (t topic) policy() string {
	if v := t.info.Configs["cleanup.policy"]; v != nil {
		return *v
	}
	return "delete"
}

func (t topic) compacts() bool { return strings.Contains(t.policy(), "compact") }

// millis is a configuration in milliseconds; what is no number counts as absent. Values beyond 292 years count as that.
func (t topic) millis(name string, absent time.Duration) time.Duration {
	v := t.info.Configs[name]
	if v == nil {
		return absent
	}
	n, err := strconv.ParseInt(*v, 10, 64)
	if err != nil {
		return absent
	}
	const most = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(n, most)) * time.Millisecond
}
