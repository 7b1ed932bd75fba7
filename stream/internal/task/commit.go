package task

import (
	"encoding/base64"
	"encoding/binary"
	"time"
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

// metadataVersion is the layout Kafka Streams writes since 3.0: the byte 2, the partition time, and markers of operators that
// have any.
const (
	metadataVersion = 2
	metadataOld     = 1
	metadataLen     = 9
)

// Metadata is the text beside a committed offset, in which Kafka Streams keeps the partition's time.
func Metadata(partitionTime int64) string {
	b := binary.BigEndian.AppendUint64([]byte{metadataVersion}, uint64(partitionTime))
	return base64.StdEncoding.EncodeToString(b)
}

// PartitionTime reads such a text. What is empty, foreign or damaged is "not known", -1, as in Java.
func PartitionTime(metadata string) int64 {
	b, err := base64.StdEncoding.DecodeString(metadata)
	if err != nil || len(b) < metadataLen || b[0] != metadataVersion && b[0] != metadataOld {
		return unknown
	}
	return int64(binary.BigEndian.Uint64(b[1:]))
}

// CommitNeeded says whether a commit would say anything new.
func (t *Task) CommitNeeded() bool {
	if t.touched {
		return true
	}
	for _, q := range t.queues {
		if at, _ := q.position(); at != q.committed && at != unknown {
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
	return nil
}

// Offsets is what a commit says now. Whoever commits must have sent everything that Take returned before, and have seen it
// acknowledged.
func (t *Task) Offsets() []Offset {
	var out []Offset
	for _, q := range t.queues {
		if at, epoch := q.position(); at != unknown {
			out = append(out, Offset{Topic: q.topic, Partition: q.partition, Offset: at, Epoch: epoch, Metadata: Metadata(q.time)})
		}
	}
	return out
}

// Committed notes that a commit of offsets succeeded.
func (t *Task) Committed(offsets []Offset) {
	t.touched = false
	for _, o := range offsets {
		if q, ok := t.byTopic[o.Topic]; ok {
			q.committed = o.Offset
		}
	}
}
