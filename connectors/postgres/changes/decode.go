package changes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Registry gives the text of a schema by its number in a schema registry.
type Registry interface {
	Schema(ctx context.Context, id int) (string, error)
}

// Decoder reads values as producers write them: JSON when the value begins with '{', Avro in single-object encoding, or
// in Confluent's wire format when Registry is set. The zero value is ready.
type Decoder struct {
	// Registry finds the writer's schema of values in Confluent's wire format. Default: none; such values are malformed.
	Registry Registry
}

// Decode reads a value of a topic. The error is an *Error when the value is at fault, [ErrUnknownTopic] wrapped, or what
// the Registry returned.
func (d Decoder) Decode(ctx context.Context, topicName string, value []byte) (Event, error) {
	t, ok := topics[topicName]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownTopic, clip(topicName))
	}
	fault := &Error{Topic: topicName}
	fields, err := d.fields(ctx, fault, topicName, value)
	if err != nil {
		return nil, err
	}
	if len(fault.Faults) > 0 {
		return nil, fault
	}
	r := &reader{e: fault, fields: fields, known: map[string]bool{}}
	event := t.decode(r)
	r.finish()
	if len(fault.Faults) > 0 {
		slices.SortStableFunc(fault.Faults, func(a, b Fault) int { return strings.Compare(a.Field, b.Field) })
		return nil, fault
	}
	return event, nil
}

// Validate says whether a value is one of the topic; the error is that of [Decoder.Decode].
func Validate(topic string, value []byte) error {
	_, err := Decoder{}.Decode(context.Background(), topic, value)
	return err
}

// Key is the record key of a value: transaction_id, item_id or membership_id.
func Key(topic string, value []byte) (string, error) {
	e, err := Decoder{}.Decode(context.Background(), topic, value)
	if err != nil {
		return "", err
	}
	return e.Key(), nil
}

func decodeOrderPlaced(r *reader) Event {
	e := &OrderPlaced{Head: r.head(), TransactionID: r.uuid("transaction_id"), MembershipID: r.text("membership_id"),
		Status: r.enum("status", "pending", "paid")}
	for i, line := range r.list("lines", maxLines) {
		e.Lines = append(e.Lines, decodeLine(r.within(fmt.Sprintf("lines[%d]", i), line)))
	}
	return e
}

// maxLines is what the line number's type in the database holds.
const maxLines = 32767

func decodeLine(r *reader) Line {
	l := Line{ItemID: r.uuid("item_id"), Quantity: r.positive("quantity")}
	r.finish()
	return l
}

// statuses are all of the shop's: which of them a team may say is for the database to answer.
var statuses = []string{"pending", "paid", "shipped", "completed", "cancelled", "refunded"}

func decodeOrderCompleted(r *reader) Event {
	e := &OrderCompleted{Head: r.head(), TransactionID: r.uuid("transaction_id"), Status: r.enum("status", statuses...)}
	if r.has("completed_at") {
		at := r.time("completed_at")
		e.CompletedAt = &at
		if e.Status != "completed" && e.Status != "" {
			r.e.add(Unknown, "completed_at", "belongs to status completed")
		}
	}
	return e
}

func decodeItemChange(r *reader) Event {
	e := &ItemChange{Head: r.head(), Op: r.enum("op", OpAdd, OpRemove), ItemID: r.uuid("item_id")}
	if e.Op == OpAdd {
		e.ItemName, e.Manufacturer = r.text("item_name"), r.text("manufacturer")
		e.Cost, e.WeightKg = r.decimal("cost", 10, 2), r.decimal("weight_kg", 7, 3)
	}
	return e
}

func decodeMemberChange(r *reader) Event {
	e := &MemberChange{Head: r.head(), Op: r.enum("op", OpJoin, OpStatus), MembershipID: r.text("membership_id")}
	switch e.Op {
	case OpJoin:
		e.FirstName, e.LastName, e.Email = r.text("first_name"), r.text("last_name"), r.text("email")
		e.MobileNo, e.DateOfBirth = r.text("mobile_no"), r.date("date_of_birth")
	case OpStatus:
		e.Status = r.enum("status", "active", "suspended", "closed")
	}
	return e
}

// reader takes typed fields out of a decoded record and notes what is wrong with them. A field whose value is null is
// absent.
type reader struct {
	e      *Error
	path   string
	fields map[string]any
	known  map[string]bool
	// blind is set when nothing more can be judged: not an object, or the operation that decides on the fields is unknown.
	blind bool
}

// within is a reader of a nested record.
func (r *reader) within(path string, v any) *reader {
	fields, ok := v.(map[string]any)
	if !ok {
		r.e.add(Malformed, r.path+path, "an object is needed")
	}
	return &reader{e: r.e, path: r.path + path + ".", fields: fields, known: map[string]bool{}, blind: !ok}
}

func (r *reader) malformed(name, reason string) { r.e.add(Malformed, r.path+name, reason) }

// has says whether the field is there, and marks it as one of the topic's.
func (r *reader) has(name string) bool {
	r.known[name] = true
	return r.fields[name] != nil
}

// take is the field's value; ok is false when it is missing, which is noted.
func (r *reader) take(name string) (v any, ok bool) {
	if !r.has(name) {
		if !r.blind {
			r.malformed(name, "missing")
		}
		return nil, false
	}
	return r.fields[name], true
}

// text is a string that is not empty.
func (r *reader) text(name string) string {
	v, ok := r.take(name)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	switch {
	case !ok:
		r.malformed(name, "a string is needed")
	case s == "":
		r.malformed(name, "empty")
	case strings.ContainsRune(s, 0):
		r.malformed(name, "holds a zero byte")
	}
	return s
}

func (r *reader) head() Head {
	return Head{EventID: r.uuid("event_id"), Occurred: r.time("occurred_at")}
}

// uuid is the canonical form of RFC 9562 only, in either case.
func (r *reader) uuid(name string) uuid.UUID {
	before := len(r.e.Faults)
	s := r.text(name)
	u, err := uuid.Parse(s)
	if (err != nil || len(s) != 36) && len(r.e.Faults) == before {
		r.malformed(name, "not a uuid such as 3f2504e0-4f89-41d3-9a0c-0305e82c3301")
	}
	return u
}

func (r *reader) time(name string) time.Time {
	before := len(r.e.Faults)
	t, err := time.Parse(time.RFC3339Nano, r.text(name))
	if (err != nil || t.Year() < 1) && len(r.e.Faults) == before {
		r.malformed(name, "not an RFC 3339 time such as 2026-11-23T10:00:00Z")
	}
	return t
}

func (r *reader) date(name string) string {
	before := len(r.e.Faults)
	s := r.text(name)
	if t, err := time.Parse(time.DateOnly, s); (err != nil || t.Year() < 1) && len(r.e.Faults) == before {
		r.malformed(name, "not a date such as 1990-05-17")
	}
	return s
}

// decimal is an unsigned decimal that fits the column without rounding.
func (r *reader) decimal(name string, whole, fraction int) string {
	before := len(r.e.Faults)
	s := r.text(name)
	w, f, point := strings.Cut(s, ".")
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	ok := w != "" && len(w) <= whole && digits(w) && (!point || f != "") && len(f) <= fraction && digits(f)
	if !ok && len(r.e.Faults) == before {
		r.malformed(name, fmt.Sprintf("not a decimal string with at most %d digits before and %d after the point", whole, fraction))
	}
	return s
}

// positive is an integer from 1 to the largest int32.
func (r *reader) positive(name string) int32 {
	v, ok := r.take(name)
	if !ok {
		return 0
	}
	n, ok := integer(v)
	switch {
	case !ok:
		r.malformed(name, "not an integer of 32 bits")
	case n <= 0:
		r.e.add(Unknown, r.path+name, "must be positive")
	}
	return n
}

func (r *reader) enum(name string, values ...string) string {
	before := len(r.e.Faults)
	s := r.text(name)
	if len(r.e.Faults) == before && !slices.Contains(values, s) {
		r.e.add(Unknown, r.path+name, fmt.Sprintf("unknown value %q: one of %s is needed", clip(s), strings.Join(values, ", ")))
	}
	if !slices.Contains(values, s) {
		r.blind = r.blind || name == "op"
		return ""
	}
	return s
}

// list is an array of 1 to most members.
func (r *reader) list(name string, most int) []any {
	v, ok := r.take(name)
	if !ok {
		return nil
	}
	l, ok := v.([]any)
	switch {
	case !ok:
		r.malformed(name, "an array is needed")
	case len(l) == 0:
		r.e.add(Unknown, r.path+name, "at least one is needed")
	case len(l) > most:
		r.e.add(Unknown, r.path+name, fmt.Sprintf("at most %d are possible", most))
		return nil
	}
	return l
}

// finish notes every field that nobody asked for.
func (r *reader) finish() {
	if r.blind {
		return
	}
	for name := range r.fields {
		if !r.known[name] {
			r.e.add(Unknown, r.path+name, "unknown field")
		}
	}
}
