package task

import "errors"

// chunkSize is how many bytes of keys and values share one allocation. What is sent is kept until the broker has it, so a
// chunk is never written twice.
const (
	chunkSize = 32 << 10
	chunkLow  = 256
)

// Send appends a record to send, to be filled by the caller at once.
func (t *Task) Send() *Output {
	t.out = append(t.out, Output{})
	return &t.out[len(t.out)-1]
}

// Space is where a serde appends: behind what was kept before.
func (t *Task) Space() []byte {
	if cap(t.space)-len(t.space) < chunkLow {
		t.space = make([]byte, 0, chunkSize)
	}
	return t.space
}

// Keep takes what was appended to Space and returns that part alone.
func (t *Task) Keep(b []byte) []byte {
	start := len(t.space)
	t.space = b
	return b[start:len(b):len(b)]
}

// Partitions is how many partitions a topic has that the task writes to.
func (t *Task) Partitions(topic string) int32 { return t.env.Partitions(topic) }

// Error is what stopped a task.
type Error struct {
	Task   ID
	Node   string
	Op     string
	Source *Input // nil if no record was at work
	Err    error
	Hint   string
	Stack  string
}

// Error names the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// stopped wraps what ends the task.
func (t *Task) stopped(err error, op string) error {
	e := &Error{Task: t.id, Op: op, Source: t.rec.Source, Err: err, Node: t.nodeName(t.rec.At)}
	if f, ok := errors.AsType[*Fault](err); ok {
		e.Node, e.Err, e.Hint, e.Stack, e.Op = f.Node, f.Err, f.Hint, f.Stack, string(f.Stage)
	}
	return e
}
