package kafkad

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// compaction is what one log of a compacted topic still has to go through. Compaction is due some time after records
// arrived, and once more when the last tombstone among them may go, which is final until records arrive again.
type compaction struct {
	end        int64     // high watermark when last looked at
	dirtySince time.Time // real time of the first record since the last compaction; zero: none
	final      bool      // every tombstone was given its last chance
	marker     int64     // offset of the last marker that the cleaner appended; -1: none
}

// followed notes arrivals and says whether the log wants compaction, and whether it would be the final one.
func (c *cleaner) followed(t topic) (dirty, last bool) {
	now, clock := time.Now(), c.s.config.Clock.Now()
	for _, p := range t.partitions {
		key := partition{t.name, p.Partition}
		st := c.compactions[key]
		if st == nil || p.HighWatermark < st.end {
			st = &compaction{end: p.LogStartOffset, final: true, marker: -1}
			c.compactions[key] = st
		}
		if p.HighWatermark != st.end {
			st.end, st.final = p.HighWatermark, false
			if st.dirtySince.IsZero() {
				st.dirtySince = now
			}
		}
		dirty = dirty || !st.dirtySince.IsZero() && now.Sub(st.dirtySince) >= c.s.config.compactAfter
		last = last || st.isLast(t, p.MaxTimestamp, clock)
	}
	return dirty, last
}

// isLast says whether the youngest tombstone that the log can hold, which is as old as its youngest record, is past
// delete.retention.ms.
func (st *compaction) isLast(t topic, youngest int64, clock time.Time) bool {
	return !st.final && clock.Sub(time.UnixMilli(youngest)) >= t.millis("delete.retention.ms", defaultDeleteRetention)
}

// compact compacts all compacted topics when one of them needs it. A long compaction makes the next one wait longer,
// so that the broker is kept from its work a twentieth of the time at most.
func (c *cleaner) compact(ctx context.Context, topics []topic) error {
	var dirty, last bool
	var compacting []topic
	for _, t := range topics {
		if !t.compacts() {
			continue
		}
		compacting = append(compacting, t)
		d, l := c.followed(t)
		dirty, last = dirty || d, last || l
	}
	if !dirty && !last || time.Since(c.compacted) < 20*c.took {
		return nil
	}
	if last {
		if err := c.coverTombstones(ctx, compacting); err != nil {
			return err
		}
	}
	if err := c.swap(ctx, topics); err != nil {
		return err
	}
	done, err := c.stopAndCompact(ctx)
	if err := errors.Join(err, c.undoSwap(ctx)); err != nil || !done {
		return err
	}
	return c.settleCompacted(compacting)
}

// stopAndCompact asks the broker to stand still and compact. Where a transaction is open, kfake's compaction would let
// undecided records replace decided ones: then it is tried again, for a second, and otherwise in the next round.
func (c *cleaner) stopAndCompact(ctx context.Context) (bool, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		req := kmsg.NewPtrDescribeClientQuotasRequest()
		component := kmsg.NewDescribeClientQuotasRequestComponent()
		component.EntityType = c.token
		req.Components = append(req.Components, component)
		if _, err := req.RequestWith(ctx, c.s.client); err != nil {
			return false, fmt.Errorf("kafkad: compact: %w", err)
		}
		if !c.busy {
			return true, c.failed
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-tick.C:
		}
	}
	return false, nil
}

// alone compacts while the broker handles nothing else. The files are kept aside meanwhile, because kfake removes the old
// ones before it writes the new.
func (c *cleaner) alone() {
	began := time.Now()
	c.busy, c.failed = false, nil
	var dirs []string
	for key := range c.compactions {
		info := c.s.cluster.PartitionInfo(key.topic, key.id)
		if info == nil {
			delete(c.compactions, key)
			continue
		}
		if info.LastStableOffset != info.HighWatermark {
			c.busy = true
			return
		}
		dirs = append(dirs, partitionDir("", key.topic, key.id))
	}
	if c.s.config.Dir == "" {
		c.s.cluster.Compact()
	} else if c.failed = makeBackup(c.s.config.Dir, dirs); c.failed == nil {
		c.s.cluster.Compact()
		c.failed = dropBackup(c.s.config.Dir)
	}
	c.compacted, c.took = time.Now(), time.Since(began)
}

// settleCompacted notes that the logs are compacted, and where they begin now.
func (c *cleaner) settleCompacted(compacting []topic) error {
	clock := c.s.config.Clock.Now()
	for _, t := range compacting {
		for _, p := range c.s.cluster.PartitionInfos(t.name) {
			st := c.compactions[partition{t.name, p.Partition}]
			if st == nil {
				continue
			}
			if p.HighWatermark == st.end {
				st.dirtySince = time.Time{}
				st.final = st.final || st.isLast(t, p.MaxTimestamp, clock)
			}
			if p.LogStartOffset == st.marker { // nothing but our marker is left
				if err := c.deleteBefore(t, p.Partition, st.marker+1); err != nil {
					return err
				}
				p.LogStartOffset = st.marker + 1
			}
			c.setFloor(t.info.TopicID, p.Partition, p.LogStartOffset)
		}
	}
	return nil
}

func (c *cleaner) setFloor(id [16]byte, partition int32, first int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.floors[id] == nil {
		c.floors[id] = make(map[int32]int64)
	}
	c.floors[id][partition] = first
}

// compactedTo is the first offset that compaction left in a partition; 0 when nothing was compacted. Newer versions of
// Fetch name a topic by its id, older ones by name.
func (c *cleaner) compactedTo(name string, id [16]byte, partition int32) int64 {
	c.mu.Lock()
	none := len(c.floors) == 0
	c.mu.Unlock()
	if none {
		return 0
	}
	if id == ([16]byte{}) {
		info := c.s.cluster.TopicInfo(name)
		if info == nil {
			return 0
		}
		id = info.TopicID
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.floors[id][partition]
}

// undo is, by topic and name, the configurations as they were; nil is one that was not set.
type undo map[string]map[string]*string

func undoFile(dir string) string { return filepath.Join(dir, "configs-undo.json") }

// swap gives topics, for the moment of a compaction, configurations with which kfake does the right thing by the wrong
// clock: no retention at all (kfake applies it along with compaction, and also to compacted topics), and tombstones
// that may go exactly when they may by ours. What was there is written down first.
func (c *cleaner) swap(ctx context.Context, topics []topic) error {
	ahead := time.Until(c.s.config.Clock.Now())
	was, become := make(undo), make(undo)
	set := func(t topic, name, value string) {
		if was[t.name] == nil {
			was[t.name], become[t.name] = make(map[string]*string), make(map[string]*string)
		}
		was[t.name][name], become[t.name][name] = t.info.Configs[name], &value
	}
	for _, t := range topics {
		for _, name := range []string{"retention.ms", "retention.bytes"} {
			if t.info.Configs[name] != nil {
				set(t, name, "-1")
			}
		}
		if t.compacts() {
			keep := t.millis("delete.retention.ms", defaultDeleteRetention) - ahead
			set(t, "delete.retention.ms", strconv.FormatInt(keep.Milliseconds(), 10))
		}
	}
	c.swapped.Lock()
	if c.s.config.Dir != "" {
		if err := writeJSON(undoFile(c.s.config.Dir), was); err != nil {
			c.swapped.Unlock()
			return err
		}
	}
	c.was = was
	if err := c.alter(ctx, become); err != nil {
		return errors.Join(err, c.undoSwap(ctx))
	}
	return nil
}

// adoptSwap takes over the swap of a process that was killed meanwhile, for undoSwap.
func (c *cleaner) adoptSwap() error {
	if err := readJSON(undoFile(c.s.config.Dir), &c.was); err != nil {
		return err
	}
	if c.was != nil {
		c.swapped.Lock()
	}
	return nil
}

// undoSwap gives topics their own configurations back, if they have not. It does not end with ctx: a broker that is
// being closed must not keep the wrong ones.
func (c *cleaner) undoSwap(ctx context.Context) error {
	if c.was == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := c.alter(ctx, c.was); err != nil {
		return err
	}
	c.was = nil
	c.swapped.Unlock()
	if c.s.config.Dir == "" {
		return nil
	}
	return removeAll(undoFile(c.s.config.Dir))
}

// release lets go who waits for a swap that could not be undone; the note stays for the next start.
func (c *cleaner) release() {
	if c.was != nil {
		c.was = nil
		c.swapped.Unlock()
	}
}

// alter sets configurations; of topics that are gone it says nothing.
func (c *cleaner) alter(ctx context.Context, values undo) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for name, configs := range values {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
		for k, v := range configs {
			rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			rc.Name, rc.Value, rc.Op = k, v, kmsg.IncrementalAlterConfigOpSet
			if v == nil {
				rc.Op = kmsg.IncrementalAlterConfigOpDelete
			}
			r.Configs = append(r.Configs, rc)
		}
		req.Resources = append(req.Resources, r)
	}
	mark := kmsg.NewIncrementalAlterConfigsRequestResource()
	mark.ResourceType, mark.ResourceName = kmsg.ConfigResourceTypeGroupConfig, c.token
	req.Resources = append(req.Resources, mark)
	resp, err := req.RequestWith(ctx, c.s.client)
	if err != nil {
		return fmt.Errorf("kafkad: change configurations: %w", err)
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("kafkad: change configurations of %s: %w", r.ResourceName, err)
		}
	}
	return nil
}

// awaitSwapped returns when configurations are the topics' own.
func (c *cleaner) awaitSwapped() {
	c.swapped.RLock()
	defer c.swapped.RUnlock()
}

// isOwn says whether the request is alter's.
func (c *cleaner) isOwn(r *kmsg.IncrementalAlterConfigsRequest) bool {
	n := len(r.Resources)
	return n > 0 && r.Resources[n-1].ResourceName == c.token
}
