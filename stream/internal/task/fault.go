package task

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/millrun/millrun/stream/serde"
)

// Stage is where a failure happened.
type Stage string

// The stages.
const (
	Deserialization Stage = "deserialization"
	Processing      Stage = "processing"
	Punctuation     Stage = "punctuation"
	Serialization   Stage = "serialization"
	Production      Stage = "production"
)

// Fault is an error of a node on its way to the next point that settles it: a place where several children hang, a
// processor's Forward, or the source.
type Fault struct {
	Stage Stage
	Node  string
	Err   error
	Stack string // of a panic
	Hint  string
	Final bool // a handler has decided: the task stops
}

// Error is the cause's text.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// panicked is a panic of user code made an error.
type panicked struct{ value any }

func (p panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// Unwrap returns the panic's value where that is an error.
func (p panicked) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// Failure is what a handler is told.
type Failure struct {
	Stage    Stage
	Task     ID
	Node     string
	Source   *Input // nil in a punctuation
	Time     int64
	Headers  serde.Headers
	Attempts int
	Err      error
	Stack    string
}

// Recover turns a panic into an error. It is the one place where user code is recovered, and must be deferred directly.
func (r *Rec) Recover(err *error) {
	p := recover()
	if p == nil {
		return
	}
	*err = &Fault{Stage: r.stage, Node: r.task.nodeName(r.At), Err: panicked{p}, Stack: string(debug.Stack())}
}

// Settle asks the handler about an error. It returns nil if the record is given up and work goes on, retry if the same is
// to be tried again, and otherwise a final error.
func (r *Rec) Settle(err error, attempts int) (retry bool, final error) {
	var f *Fault
	if !errors.As(err, &f) {
		f = &Fault{Stage: r.stage, Node: r.task.nodeName(r.At), Err: err}
	}
	if f.Final {
		return false, err
	}
	t := r.task
	failure := Failure{
		Stage: f.Stage, Task: t.id, Node: f.Node, Source: r.Source, Time: r.Time, Headers: r.Headers,
		Attempts: attempts, Err: f.Err, Stack: f.Stack,
	}
	answer := Response{}
	if h := t.program.Handlers[f.Stage]; h != nil {
		answer = h(t.env.Context, failure)
	}
	switch answer.Action {
	case Continue:
		t.drop("failed")
		return false, nil
	case Retry:
		if t.program.Retryable != nil && t.program.Retryable(f.Err) {
			return true, nil
		}
	case DeadLetter:
		topic := answer.Topic
		if topic == "" {
			topic = t.program.DeadLetter
		}
		if topic != "" {
			t.out = append(t.out, failure.DeadLetter(topic))
			t.counts.DeadLetters++
			return false, nil
		}
		f.Hint = "name a topic in DeadLetter or set Config.DeadLetterTopic"
	case Fail:
	}
	f.Final = true
	return false, f
}

// The headers of a dead letter (KIP-1034).
const (
	HeaderException = "__streams.errors.exception"
	HeaderMessage   = "__streams.errors.message"
	HeaderStack     = "__streams.errors.stacktrace"
	HeaderTopic     = "__streams.errors.topic"
	HeaderPartition = "__streams.errors.partition"
	HeaderOffset    = "__streams.errors.offset"
)

// DeadLetter is the record that tells a failure: the source's bytes as they came, its headers and the cause. After a
// punctuation there are no bytes to tell.
func (f Failure) DeadLetter(topic string) Output {
	o := Output{Topic: topic, Partition: ByKey, Time: f.Time, Node: f.Node, Source: f.Source}
	h := slices.Clip(f.Headers)
	if f.Source != nil {
		o.Key, o.Value = f.Source.Key, f.Source.Value
		h = slices.Clip(f.Source.Headers)
	}
	o.Headers = f.Tell(h)
	return o
}

// Tell sets the headers of a dead letter.
func (f Failure) Tell(h serde.Headers) serde.Headers {
	h.Set(HeaderException, []byte(cause(f.Err)))
	h.Set(HeaderMessage, []byte(f.Err.Error()))
	stack := f.Stack
	if stack == "" {
		stack = chain(f.Node, f.Err)
	}
	h.Set(HeaderStack, []byte(stack))
	if f.Source != nil {
		h.Set(HeaderTopic, []byte(f.Source.Topic))
		h.Set(HeaderPartition, []byte(strconv.Itoa(int(f.Source.Partition))))
		h.Set(HeaderOffset, []byte(strconv.FormatInt(f.Source.Offset, 10)))
	}
	return h
}

// cause is the type of the first error in the chain that has a type of its own.
func cause(err error) string {
	for e := err; e != nil; e = errors.Unwrap(e) {
		t := reflect.TypeOf(e)
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if p := t.PkgPath(); p != "fmt" && p != "errors" && p != reflect.TypeFor[Fault]().PkgPath() {
			return t.String()
		}
	}
	return "error"
}

// chain stands for the stack where nothing panicked: the node and the errors from the outermost to the root.
func chain(node string, err error) string {
	var b strings.Builder
	b.WriteString("at node " + node)
	for e := err; e != nil; e = errors.Unwrap(e) {
		fmt.Fprintf(&b, "\n%T: %v", e, e)
	}
	return b.String()
}
