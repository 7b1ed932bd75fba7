package changes

import (
	"slices"
	"strconv"
	"strings"
)

// Kind tells a value that is not what it claims to be from one that is well formed but says something unknown.
type Kind int

// The kinds of fault, and the status an HTTP door answers with.
const (
	Malformed Kind = iota + 1 // not JSON or Avro, a field is missing or of another type, a uuid, time or decimal is none: 400
	Unknown                   // a field or a value that this topic does not know: 422
)

// Fault is one thing wrong with one field. It never repeats the field's content, which may be personal; a value outside an
// enumeration is repeated in part.
type Fault struct {
	Field  string // path, such as lines[1].quantity; empty for the value as a whole
	Reason string
	Kind   Kind
}

// Error is everything wrong with a value.
type Error struct {
	Topic  string
	Faults []Fault // sorted by field; at least one
}

// Kind is Malformed when any fault is.
func (e *Error) Kind() Kind {
	if slices.ContainsFunc(e.Faults, func(f Fault) bool { return f.Kind == Malformed }) {
		return Malformed
	}
	return Unknown
}

// Error names the topic and every faulty field.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("changes: " + e.Topic + ": ")
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteString("; ")
		}
		if f.Field != "" {
			b.WriteString(f.Field + ": ")
		}
		b.WriteString(f.Reason)
	}
	return b.String()
}

// maxFaults bounds how much a hostile value can make us say.
const maxFaults = 20

// add notes a fault.
func (e *Error) add(kind Kind, field, reason string) {
	if len(e.Faults) < maxFaults {
		e.Faults = append(e.Faults, Fault{Field: clip(field), Reason: reason, Kind: kind})
	}
}

// clip shortens and quotes away what a producer wrote where we repeat it.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "…"
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
