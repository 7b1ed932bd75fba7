package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// errStuck ends a client that does not bring what its brokers have.
var errStuck = errors.New("stream: records do not arrive")

// watchdog finds topics that are gone, and partitions that have records which do not arrive: a client that has lost its way
// after a leader has moved says nothing of it. It belongs to the thread; only what mu guards is shared with the question under way.
type watchdog struct {
	asked time.Time
	since map[part]standing // of partitions that stand still while they have more

	mu    sync.Mutex
	ends  kadm.ListedOffsets // of the last question
	fresh bool               // not looked at yet
	under bool               // a question is under way
}

// begin forgets what another client had to do with.
func (d *watchdog) begin() {
	d.asked, d.since = time.Now(), nil
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fresh = false
}

// standing is a position that does not move.
type standing struct {
	at    int64
	since time.Time
}

// watchParts is into how many parts Config.FetchTimeout is divided: as often is looked whether anything stands still.
const watchParts = 4

// watch looks for partitions that stand still for longer than the limit.
func (t *thread) watch() error {
	limit := t.e.o.FetchTimeout
	if limit < 0 || t.e.paused.Load() {
		clear(t.dog.since)
		return nil
	}
	if err := t.judgeStanding(limit); err != nil {
		return err
	}
	if time.Since(t.dog.asked) < limit/watchParts {
		return nil
	}
	t.dog.asked = time.Now()
	topics := map[string]bool{}
	for at := range t.quiet() {
		topics[at.topic] = true
	}
	if len(topics) > 0 {
		t.askEnds(keys(topics))
	}
	return nil
}

// quiet are the partitions of which nothing waits here, with the offsets that are read next.
func (t *thread) quiet() map[part]int64 {
	out := map[part]int64{}
	for _, a := range t.tasks {
		for topic := range a.partitions {
			at := part{topic, a.id.Partition}
			if next := a.task.Next(topic); a.running && next >= 0 && a.task.Buffered(topic) == 0 && !t.paused[at] {
				out[at] = next
			}
		}
	}
	return out
}

// askEnds asks beside the thread, one question at a time. One that is not answered is asked again later.
func (t *thread) askEnds(topics []string) {
	d := &t.dog
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.under {
		return
	}
	d.under = true
	t.purges.Go(func() {
		ctx, cancel := context.WithTimeout(t.life, createTimeout)
		defer cancel()
		ends, err := t.e.admin.ListCommittedOffsets(ctx, topics...)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.under = false; err == nil {
			d.ends, d.fresh = ends, true
		}
	})
}

// judgeStanding compares the answer with where the partitions are now.
func (t *thread) judgeStanding(limit time.Duration) error {
	d := &t.dog
	d.mu.Lock()
	ends, fresh := d.ends, d.fresh
	d.fresh = false
	d.mu.Unlock()
	if !fresh {
		return nil
	}
	still := map[part]standing{}
	for at, next := range t.quiet() {
		end, ok := ends.Lookup(at.topic, at.partition)
		if !ok {
			end, ok = ends.Lookup(at.topic, -1) // what is said of the topic
		}
		gone := errors.Is(end.Err, kerr.UnknownTopicOrPartition)
		if !ok || !gone && (end.Err != nil || end.Offset <= next) {
			continue
		}
		was, known := d.since[at]
		if !known || was.at != next {
			was = standing{next, time.Now()}
		}
		still[at] = was
		stood := time.Since(was.since)
		if stood > limit && gone {
			return fmt.Errorf("%w: topic %q was deleted while it was read: %w", ErrTopics, at.topic, end.Err)
		}
		if stood > limit {
			t.e.o.Metrics.Add("millrun_stream_watchdog_total", 1, t.labels("topic", at.topic)...)
			clear(d.since)
			return fmt.Errorf("%w: %w: %s-%d has records from %d to %d, and none has come for %s", errFenced, errStuck, at.topic, at.partition, next, end.Offset, stood.Round(time.Second))
		}
	}
	d.since = still
	return nil
}
