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
// after a leader has moved, or because its partitions changed at the wrong moment, says nothing of it. A thread has one for what its
// tasks read and one for what is restored. They belong to the thread; only what mu guards is shared with the question under way.
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

// stuck is a partition that has stood still for too long although there is more, or that is gone.
type stuck struct {
	at        part
	next, end int64
	stood     time.Duration
	gone      error
}

// String tells it.
func (s *stuck) String() string {
	return fmt.Sprintf("%s-%d has records from %d to %d, and none has come for %s", s.at.topic, s.at.partition, s.next, s.end, s.stood.Round(time.Second))
}

// watchParts is into how many parts Config.FetchTimeout is divided: as often is looked whether anything stands still.
const watchParts = 4

// watch looks for partitions that stand still for longer than the limit. One of a task costs the thread its client; one that is
// restored from costs the restorer its own, which goes on where it was.
func (t *thread) watch() error {
	limit, restoring := t.e.o.FetchTimeout, &t.restore.dog
	if limit < 0 || t.e.paused.Load() {
		clear(t.dog.since)
		clear(restoring.since)
		return nil
	}
	if s := t.dog.look(t.quiet, limit); s != nil {
		if s.gone != nil {
			return s.deleted()
		}
		t.replacing(s)
		return fmt.Errorf("%w: %w: %s", errFenced, errStuck, s)
	}
	if s := restoring.look(t.restore.quiet, limit); s != nil {
		if s.gone != nil {
			return s.deleted()
		}
		t.replacing(s)
		t.log.Warn("restoring goes on with a new client", "error", errStuck, "partition", s.String())
		return t.restore.renew()
	}
	t.dog.ask(t, t.quiet, limit)
	restoring.ask(t, t.restore.quiet, limit)
	return nil
}

// deleted is the error of a topic that is gone.
func (s *stuck) deleted() error {
	return fmt.Errorf("%w: topic %q was deleted while it was read: %w", ErrTopics, s.at.topic, s.gone)
}

// replacing counts a client that is given up.
func (t *thread) replacing(s *stuck) {
	t.e.o.Metrics.Add("millrun_stream_watchdog_total", 1, t.labels("topic", s.at.topic)...)
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

// quiet are the partitions that are restored from. Those of copies are not read while tasks wait.
func (r *restorer) quiet() map[part]int64 {
	out := map[part]int64{}
	for at, j := range r.jobs {
		if !j.a.copy || !r.idle {
			out[at] = j.next
		}
	}
	return out
}

// ask asks now and then for the ends of what is quiet, beside the thread, one question at a time. One that is not answered is
// asked again later.
func (d *watchdog) ask(t *thread, quiet func() map[part]int64, limit time.Duration) {
	if time.Since(d.asked) < limit/watchParts {
		return
	}
	d.asked = time.Now()
	topics := map[string]bool{}
	for at := range quiet() {
		topics[at.topic] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.under || len(topics) == 0 {
		return
	}
	d.under = true
	t.purges.Go(func() {
		ctx, cancel := context.WithTimeout(t.life, createTimeout)
		defer cancel()
		ends, err := t.e.admin.ListCommittedOffsets(ctx, keys(topics)...)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.under = false; err == nil {
			d.ends, d.fresh = ends, true
		}
	})
}

// look compares the answer with where what is quiet is now; nil if nothing has stood still for longer than the limit.
func (d *watchdog) look(quiet func() map[part]int64, limit time.Duration) *stuck {
	d.mu.Lock()
	ends, fresh := d.ends, d.fresh
	d.fresh = false
	d.mu.Unlock()
	if !fresh {
		return nil
	}
	still := map[part]standing{}
	for at, next := range quiet() {
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
		if stood := time.Since(was.since); stood > limit {
			clear(d.since)
			s := &stuck{at: at, next: next, end: end.Offset, stood: stood}
			if gone {
				s.gone = end.Err
			}
			return s
		}
	}
	d.since = still
	return nil
}
