package task

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/serde"
)

// exact is what a task keeps so that its state counts nothing twice although records are processed again. Each changelog record
// is stamped with the record that it stems from; when the changelog is restored, what stems from a record behind the committed
// offset is left out, as that record will be processed again. What stems from no record (punctuations, and what is written when
// a commit begins) is stamped with the number of commits that went before, and is left out if the next one did not succeed.
type exact struct {
	cause *Input // the record at work; nil if none is
	late  bool   // results of its slow work go on
	index int64  // of its next result for a repartition topic

	origins map[string][]byte // what topics are called in marks

	steps int64 // how many commits have covered something done without a record
	loose bool  // there is something since

	times    map[string]*int64 // of operators
	amending bool              // what is logged holds in any case
	limits   map[string]int64  // what is committed of each topic
	fresh    map[string]bool   // topics of which nothing is
	begun    bool              // all inputs have been committed
	done     int64             // how many steps are
}

// stepsMarker is where a commit keeps the number of steps. No store has such a name.
const stepsMarker = "millrun/steps"

func newExact(p *Program) *exact {
	if !p.ExactState {
		return nil
	}
	return &exact{limits: map[string]int64{}, fresh: map[string]bool{}, origins: map[string][]byte{}, times: map[string]*int64{}}
}

// begin notes which record is at work.
func (x *exact) begin(in *Input, late bool, index int64) {
	if x != nil {
		x.cause, x.late, x.index = in, late, index
	}
}

// KeepTime lets the time of an operator, the highest of its records, go with the commits, so that records that are processed again
// find it as it was: what is late stays late, and what leaves with a record leaves with it again. Other guarantees forget it, as
// Kafka Streams does. The operator's node calls it when it is made.
func (t *Task) KeepTime(node string, time *int64) {
	if t.exact != nil {
		t.exact.times[timeMarker+node] = time
	}
}

// timeMarker is the beginning of the names of operators' times.
const timeMarker = "millrun/time/"

// resume goes on from what the last commit says.
func (x *exact) resume(markers map[string]int64, committed []Offset) {
	if x == nil {
		return
	}
	x.begun = !slices.ContainsFunc(committed, func(c Offset) bool { return c.New })
	x.steps = max(x.steps, markers[stepsMarker])
	for name, time := range x.times {
		if at, ok := markers[name]; ok {
			*time = max(*time, at)
		}
	}
}

// Recall tells a task what is committed of its inputs, before it restores what was written since. Those that are not named count
// as committed: nobody reads them any more.
func (t *Task) Recall(committed []Offset) {
	x := t.exact
	if x == nil {
		return
	}
	for _, c := range committed {
		x.limits[c.Topic] = max(c.Offset, 0)
		if x.fresh[c.Topic] = c.New; c.New {
			x.limits[c.Topic] = 0
		}
		_, markers := layout.ReadMetadata(c.Metadata)
		x.done = max(x.done, markers[stepsMarker])
		if !c.New && c.Offset >= 0 && c.Metadata == "" {
			x.done = math.MaxInt64 // another program has moved the offset
		}
	}
}

// RecallAll lets a task restore everything, as if all of it were committed.
func (t *Task) RecallAll() {
	for topic := range t.exact.limits {
		t.exact.limits[topic] = math.MaxInt64
	}
	t.exact.done = math.MaxInt64
}

// covers says whether what has a stamp is a part of what was committed.
func (x *exact) covers(s layout.Stamp) bool {
	switch s.Kind {
	case layout.Recorded:
		limit, ok := x.limits[string(s.Topic)]
		return !ok || s.Offset < limit
	case layout.Stepped:
		return s.Offset < x.done
	case layout.Amended:
	}
	return true
}

// orphaned says whether what has a stamp was left out although it may well have been committed: the task had been committed
// before, and now there is no offset of the topic any more.
func (x *exact) orphaned(s layout.Stamp) bool {
	return s.Begun && s.Kind == layout.Recorded && x.fresh[string(s.Topic)]
}

// orphan lets a task end when it begins, as nothing says any more what its state counts.
func (t *Task) orphan(store, source string) {
	if t.broken != nil {
		return
	}
	t.broken = &Fault{
		Stage: Processing, Node: store, Final: true,
		Err: fmt.Errorf("store %s: it holds what was made of records of topic %q, partition %d, of which the group has no committed offset any more", store, source, t.id.Partition),
		Hint: "offsets are deleted with their topic, with the group, and when the application does not run for longer than the brokers' offsets.retention.minutes. " +
			"Reset the application (kafka-streams-application-reset, and App.CleanUp), which then counts from the beginning; or let it run with Guarantee AtLeastOnce for as long as a CommitInterval, " +
			"which keeps the state and goes on by the source's StartFrom",
	}
}

// stamp marks a changelog record.
func (t *Task) stamp(o *Output) {
	x := t.exact
	s := layout.Stamp{Kind: layout.Stepped, Time: o.Time, Offset: x.steps, Begun: x.begun}
	switch {
	case x.amending:
		s.Kind = layout.Amended
	case x.cause != nil:
		s.Kind, s.Offset, s.Topic = layout.Recorded, x.cause.Offset, []byte(x.cause.Topic)
	default:
		x.loose = true
	}
	o.Headers = append(slices.Clip(o.Headers), serde.Header{Key: layout.StampHeader, Value: t.Keep(layout.AppendStamp(t.Space(), s))})
}

// remember notes what goes with a commit: one that covers something done without a record is counted.
func (t *Task) remember() {
	x := t.exact
	if x == nil {
		return
	}
	if t.markers == nil {
		t.markers = map[string]int64{}
	}
	if x.loose {
		x.loose = false
		x.steps++
		t.markers[stepsMarker] = x.steps
	}
	for name, time := range x.times {
		if *time != unknown {
			t.markers[name] = *time
		}
	}
}

// unstamp takes the stamp off a record of a changelog, if it has one. Whoever restores it has asked for it; under other
// guarantees a stamp still tells the time.
func unstamp(in *Input) (s layout.Stamp, ok bool) {
	n := len(in.Headers)
	if n == 0 || in.Headers[n-1].Key != layout.StampHeader {
		return s, false
	}
	s, err := layout.ReadStamp(in.Headers[n-1].Value)
	if err != nil {
		return s, false
	}
	if in.Headers = in.Headers[: n-1 : n-1]; n == 1 {
		in.Headers = nil
	}
	in.Time = s.Time
	return s, true
}
