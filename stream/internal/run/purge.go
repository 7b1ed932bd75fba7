package run

import (
	"context"
	"errors"
	"time"

	"github.com/millrun/millrun/stream/internal/task"
)

// spent notes what of repartition topics is committed: nobody reads it again.
func (t *thread) spent(offsets []task.Offset) {
	for _, o := range offsets {
		if t.e.repartition(o.Topic) {
			if t.e.fail.Planted("purged-ahead") {
				o.Offset += 5
			}
			t.unpurged.AddOffset(o.Topic, o.Partition, o.Offset, -1)
		}
	}
}

// purge deletes from repartition topics what is spent, every PurgeInterval. It is done beside the thread, one at a time; what
// it misses goes with what comes after it.
func (t *thread) purge() {
	if len(t.unpurged) == 0 || time.Since(t.lastPurge) < t.e.o.PurgeInterval || !t.purging.TryLock() {
		return
	}
	done := t.unpurged
	t.unpurged = nil
	t.lastPurge = time.Now()
	t.purges.Go(func() {
		defer t.purging.Unlock()
		ctx, cancel := context.WithTimeout(t.life, createTimeout)
		defer cancel()
		t.e.fail.At("purge-before")
		deleted, err := t.e.admin.DeleteRecords(ctx, done)
		t.e.fail.At("purge-after")
		if err = errors.Join(err, deleted.Error()); err != nil {
			t.log.Warn("repartition topics were not purged; the next purge deletes it", "error", advised(t.e.app, err))
		}
	})
}

// repartition says whether a topic is a repartition topic of the application.
func (e *Engine) repartition(topic string) bool {
	for _, n := range e.o.Program.Plan.Nodes {
		if n.Internal && e.o.Program.Plan.Topic(n.Topics[0], true) == topic {
			return true
		}
	}
	return false
}
