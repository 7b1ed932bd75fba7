package task

import (
	"bytes"
	"errors"
	"slices"

	"github.com/millrun/millrun/stream/serde"
)

// TraceParent is the header that carries a record's place in a trace (W3C Trace Context).
const TraceParent = "traceparent"

// Tracer calls work as a record's part of a trace, with what the records that come of it are to carry in place of the
// record's own TraceParent; work returns the error it has met. If the record is not traced, it says false and does nothing.
type Tracer func(in *Input, work func(child []byte) error) bool

// errGivenUp ends the part of a record that a handler has given up.
var errGivenUp = errors.New("the record was given up, by a handler of errors")

// read gives a record to its source.
func (t *Task) read(q *queue, in *Input) error {
	return t.settled(func(r *Rec) error { return q.source(r, in.Key, in.Value) })
}

// traced is read, with a record's part of a trace around it.
func (t *Task) traced(q *queue, in *Input) error {
	if t.env.Trace == nil || len(in.Headers) == 0 {
		return t.read(q, in)
	}
	return t.part(q, in)
}

// part is traced for what may be part of a trace. Only what is sent is changed: stores and changelogs keep the headers that
// came, so that they do not depend on whether anybody traces.
func (t *Task) part(q *queue, in *Input) (err error) {
	from, lost := len(t.out), t.givenUp()
	traced := t.env.Trace(in, func(child []byte) error {
		err = t.read(q, in)
		parent, _ := in.Headers.Get(TraceParent)
		for i := range t.out[from:] {
			if o := &t.out[from+i]; !o.Changelog {
				o.Headers = adopted(o.Headers, parent, child)
			}
		}
		if err == nil && t.givenUp() != lost {
			return errGivenUp
		}
		return err
	})
	if !traced {
		return t.read(q, in)
	}
	return err
}

// givenUp is how many records handlers have given up.
func (t *Task) givenUp() int64 { return t.counts.DeadLetters + t.counts.Dropped["failed"] }

// adopted are headers with the child in place of the parent; those of another trace stay.
func adopted(h serde.Headers, parent, child []byte) serde.Headers {
	for i := range h {
		if h[i].Key == TraceParent && bytes.Equal(h[i].Value, parent) {
			h = slices.Clone(h) // siblings share them
			h[i].Value = child
			return h
		}
	}
	return h
}
