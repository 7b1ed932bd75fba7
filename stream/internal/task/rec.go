package task

import "github.com/millrun/millrun/stream/serde"

// Rec carries what travels with a key and a value through the nodes of a task: time, headers, and what of the two is not
// there. It belongs to the task and is reused for every record: nothing may keep it. A node that changes it for its
// children sets it back afterwards.
type Rec struct {
	Time      int64 // milliseconds
	Headers   serde.Headers
	Keyless   bool   // there is no key
	Tombstone bool   // there is no value; only where V has no nil, which says so itself
	At        int    // the node at work, for messages
	Source    *Input // nil in a punctuation

	stage Stage
	task  *Task
}

// Mark is what a node restores after its children have seen another record.
type Mark struct {
	time      int64
	headers   serde.Headers
	at        int
	keyless   bool
	tombstone bool
}

// Mark remembers the record as it is.
func (r *Rec) Mark() Mark { return Mark{r.Time, r.Headers, r.At, r.Keyless, r.Tombstone} }

// Restore sets it back.
func (r *Rec) Restore(m Mark) {
	r.Time, r.Headers, r.At, r.Keyless, r.Tombstone = m.time, m.headers, m.at, m.keyless, m.tombstone
}

// Task is the task at work.
func (r *Rec) Task() *Task { return r.task }

// Drop counts a record that is given up here, for a reason.
func (r *Rec) Drop(reason string) { r.task.drop(reason) }
