package task

import (
	"time"

	"github.com/millrun/millrun/internal/layout"
)

// Offset is what a commit says of one input partition.
type Offset struct {
	Topic     string
	Partition int32
	Offset    int64
	Epoch     int32
	Metadata  string
	New       bool // a beginning: nothing has been committed yet
}

// CommitNeeded says whether a commit would say anything new.
func (t *Task) CommitNeeded() bool {
	if t.touched {
		return true
	}
	for _, q := range t.queues {
		if at := t.at(q).offset; at != q.committed && at != unknown {
			return true
		}
	}
	return false
}

// CommitAsked says whether the user asked for a commit, and forgets it.
func (t *Task) CommitAsked() bool {
	asked := t.asked
	t.asked = false
	return asked
}

// Flush empties the caches, store by store in the order of their declaration, before a commit: what they held back goes on
// through the nodes below and to the changelogs. An error stops the task.
func (t *Task) Flush(now time.Time) error {
	t.now = now
	for _, s := range t.ordered {
		t.begin(nil, Processing)
		if err := t.guarded(func(*Rec) error { return s.flush() }); err != nil {
			return t.stopped(err, "flush")
		}
	}
	t.flushed()
	return nil
}

// Offsets is what a commit says now. Whoever commits must have sent everything that Take returned before, and have seen it
// acknowledged.
func (t *Task) Offsets() []Offset {
	var out []Offset
	t.remember()
	for _, q := range t.queues {
		if p := t.at(q); p.offset != unknown {
			out = append(out, Offset{Topic: q.topic, Partition: q.partition, Offset: p.offset, Epoch: p.epoch, Metadata: t.metadata(q, p)})
		}
	}
	return out
}

// metadata is the text beside an offset.
func (t *Task) metadata(q *queue, p position) string {
	if q.hops == nil {
		return layout.Metadata(p.time, t.markers)
	}
	return layout.MetadataBefore(p.time, t.markers, q.hops.before(p.offset))
}

// Committed notes that a commit of offsets succeeded.
func (t *Task) Committed(offsets []Offset) {
	t.touched = false
	if t.exact != nil {
		t.exact.begun = len(offsets) == len(t.queues)
	}
	for _, o := range offsets {
		if q, ok := t.byTopic[o.Topic]; ok {
			q.committed = o.Offset
		}
	}
}
