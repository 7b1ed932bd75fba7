package stream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// The sides of the joins in these tests.
const (
	leftTexts  stream.Topic[string, string] = "left"
	rightTexts stream.Topic[string, string] = "right"
)

// alone writes "-" for what is not there.
func alone(v string, ok bool) string {
	if !ok {
		return "-"
	}
	return v
}

func joinBoth(_, v, o string) string          { return v + o }
func joinLeft(_, v, o string, ok bool) string { return v + alone(o, ok) }
func joinAny(_, v string, vok bool, o string, ook bool) string {
	return alone(v, vok) + alone(o, ook)
}

// joined runs a join of two streams of texts.
func joined(t *testing.T, w stream.JoinWindows, kind string, opts ...stream.StreamJoined) (*streamtest.Driver, func(side, k, v string, at int64)) {
	t.Helper()
	b := stream.NewBuilder()
	l, r := b.Stream(leftTexts), b.Stream(rightTexts)
	switch kind {
	case "inner":
		l.Join(r, w, joinBoth, opts...).To(outs)
	case "left":
		l.LeftJoin(r, w, joinLeft, opts...).To(outs)
	case "outer":
		l.OuterJoin(r, w, joinAny, opts...).To(outs)
	}
	d := streamtest.New(t, b)
	in := map[string]*streamtest.TestInput[string, string]{"l": d.Input(leftTexts), "r": d.Input(rightTexts)}
	return d, func(side, k, v string, at int64) {
		in[side].PipeRecord(stream.Record[string, string]{Key: k, Value: v, Timestamp: tick(at), Keyless: k == "", Tombstone: v == ""})
	}
}

func TestStreamsMeetWithinTheirWindows(t *testing.T) {
	t.Parallel()
	d, pipe := joined(t, stream.Within(millis(5)).After(millis(10)), "inner")
	pipe("l", "a", "1", 100)
	pipe("r", "a", "x", 94)  // too early
	pipe("r", "a", "y", 95)  // just not
	pipe("r", "b", "z", 100) // another key
	pipe("r", "a", "u", 110)
	pipe("r", "a", "w", 111) // too late
	wantSent(t, d, "a=1y@100 a=1u@110")
	pipe("l", "a", "2", 101) // in the order of the other side's times, late or not
	wantSent(t, d, "a=2u@110 a=2w@111")
	pipe("r", "a", "u", 105)
	wantSent(t, d, "a=1u@105 a=2u@105")
}

// TestTheEndOfAWindowBelongsToIt is about windows to one side, where the store's retention is as long as the window.
func TestTheEndOfAWindowBelongsToIt(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]stream.JoinWindows{"before": stream.Within(millis(10)).After(0), "after": stream.Within(millis(10)).Before(0)} {
		d, pipe := joined(t, w, "inner")
		first, second := "l", "r"
		if name == "before" {
			first, second = second, first
		}
		pipe(first, "a", "1", 90)
		pipe(first, "a", "2", 100)
		pipe(second, "a", "x", 100)
		if got, want := len(strings.Fields(sent(d))), 2; got != want {
			t.Errorf("%s: %d pairs, want %d", name, got, want)
		}
	}
	d, pipe := joined(t, stream.Within(0), "inner")
	pipe("l", "a", "1", 1)
	pipe("r", "a", "x", 1)
	wantSent(t, d, "a=1x@1")
}

// carryOn is a handler that notes the failed nodes.
func carryOn(failed *[]string) stream.ErrorHandler {
	return func(_ context.Context, f stream.Failure) stream.Response {
		*failed = append(*failed, f.Node)
		return stream.Continue()
	}
}

func TestRecordsWithoutKeyOrValueAreNotJoined(t *testing.T) {
	t.Parallel()
	d, pipe := joined(t, stream.Within(millis(5)), "inner")
	pipe("l", "", "1", 1)
	pipe("l", "a", "", 1)
	pipe("r", "", "x", 1)
	pipe("r", "a", "x", 1)
	wantSent(t, d, "")

	d, pipe = joined(t, stream.Within(millis(5)), "left")
	pipe("l", "", "1", 1) // without key it meets nobody, so it goes alone
	pipe("r", "", "x", 2)
	pipe("l", "a", "", 3)
	wantSent(t, d, "=1-@1")

	d, pipe = joined(t, stream.Within(millis(5)), "outer")
	pipe("l", "", "1", 1)
	pipe("r", "", "x", 2)
	pipe("l", "", "", 3)
	wantSent(t, d, "=1-@1 =-x@2")
}

func TestWhatFindsNoPartnerLeavesWhenItsWindowIsOver(t *testing.T) {
	t.Parallel()
	d, pipe := joined(t, stream.Within(millis(5)).Grace(millis(2)), "left")
	pipe("l", "a", "1", 10)
	pipe("r", "b", "x", 12)
	pipe("l", "c", "3", 17) // 10 + 5 + 2 is not yet over
	wantSent(t, d, "")
	pipe("r", "c", "y", 16) // late: time does not move, but it finds a partner
	wantSent(t, d, "c=3y@17")
	pipe("r", "z", "z", 18)
	wantSent(t, d, "a=1-@10")
	pipe("l", "a", "4", 12) // its partners would have come by now
	wantSent(t, d, "a=4-@12")

	d, pipe = joined(t, stream.Within(millis(5)), "outer")
	pipe("l", "a", "1", 10)
	pipe("r", "b", "x", 10)
	pipe("r", "b", "y", 10)
	pipe("r", "z", "z", 20)
	wantSent(t, d, "b=-x@10 b=-y@10 a=1-@10")
}

// TestTheClockLimitsHowOftenResultsAreLookedFor uses the interval of an application.
func TestTheClockLimitsHowOftenResultsAreLookedFor(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(leftTexts).LeftJoin(b.Stream(rightTexts), stream.Within(millis(5)), joinLeft).To(outs)
	d := streamtest.New(t, b, streamtest.EmitInterval(time.Second))
	in := d.Input(leftTexts)
	in.PipeAt(tick(0), "a", "1") // looks: nobody knows yet how old the oldest is
	in.PipeAt(tick(10), "b", "2")
	wantSent(t, d, "")
	d.Advance(time.Second)
	wantSent(t, d, "")
	in.PipeAt(tick(20), "c", "3")
	wantSent(t, d, "a=1-@0 b=2-@10")
}

func TestAJoinOutlivesItsTask(t *testing.T) {
	t.Parallel()
	d, pipe := joined(t, stream.Within(millis(5)), "outer")
	pipe("l", "a", "1", 10)
	pipe("l", "b", "2", 10)
	pipe("l", "a", "", 11)
	d.Crash()
	pipe("r", "a", "x", 12)
	wantSent(t, d, "a=1x@12")
	pipe("l", "a", "3", 12) // does not overwrite what was restored
	wantSent(t, d, "a=3x@12")
	d.Crash()
	pipe("r", "a", "y", 13)
	wantSent(t, d, "a=1y@13 a=3y@13")
	d.Crash()
	pipe("r", "z", "z", 100)
	wantSent(t, d, "b=2-@10")
}

func TestAJoinWithoutChangelog(t *testing.T) {
	t.Parallel()
	d, pipe := joined(t, stream.Within(millis(5)), "outer", state.NoLogging(), state.InMemory())
	pipe("l", "a", "1", 10)
	d.Crash()
	pipe("r", "a", "x", 12)
	wantSent(t, d, "")
	if strings.Contains(d.Transcript(), "changelog") {
		t.Error("there is a changelog")
	}
}

func TestAJoinerThatPanicsLosesItsRecordOnly(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream(leftTexts).Join(b.Stream(rightTexts), stream.Within(millis(5)), func(_, v, o string) string {
		if o == "boom" {
			panic("cannot join this")
		}
		return v + o
	}).To(outs)
	var failed []string
	d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{ProcessingErrors: carryOn(&failed)}))
	l, r := d.Input(leftTexts), d.Input(rightTexts)
	l.PipeAt(tick(1), "a", "1")
	r.PipeAt(tick(1), "a", "boom")
	r.PipeAt(tick(1), "a", "x")
	wantSent(t, d, "a=1x@1")
	l.PipeAt(tick(2), "a", "2") // what failed was kept all the same, as in Kafka Streams
	if len(failed) != 2 || failed[0] != "KSTREAM-JOINOTHER-0000000005" {
		t.Errorf("failed: %v", failed)
	}
}

func TestStoresOfAJoinMayBeDeclared(t *testing.T) {
	t.Parallel()
	this := state.Window[string, string]("this", millis(10), millis(12))
	other := state.Window[string, string]("other", millis(10), millis(12), state.InMemory())
	w := stream.Within(millis(5)).Grace(millis(2))
	d, pipe := joined(t, w, "left", stream.Into(this), stream.Into(other))
	pipe("l", "a", "1", 10)
	pipe("r", "a", "x", 12)
	wantSent(t, d, "a=1x@12")
	for _, topic := range []string{"test-this-changelog", "test-other-changelog", "test-this-left-shared-join-store-changelog"} {
		if !strings.Contains(d.Transcript(), topic) {
			t.Errorf("there is no %s", topic)
		}
	}
	found, ok := d.Stores()["other"].(state.ReadOnlyWindowStore[string, string])
	if !ok {
		t.Fatalf("it is a %T", d.Stores()["other"])
	}
	v, ok, err := found.Get("a", tick(12))
	if v.Value != "x" || !v.Time.Equal(tick(12)) || !ok || err != nil {
		t.Errorf("got %v %v %v", v, ok, err)
	}
	if _, ok, err := found.Get("a", tick(11)); ok || err != nil {
		t.Errorf("got %v %v", ok, err)
	}
}

func TestWrongJoinsAreFaults(t *testing.T) {
	t.Parallel()
	within := stream.Within(millis(5))
	fits := state.Window[string, string]("fits", millis(10), millis(10))
	for want, c := range map[string]struct {
		w    stream.JoinWindows
		opts []stream.StreamJoined
	}{
		"nothing is within these windows":      {within.Before(-millis(6)), nil},
		"Grace(-1ms) is negative":              {within.Grace(-millis(1)), nil},
		"must be whole milliseconds":           {stream.Within(time.Microsecond), nil},
		"Retention(5ms) is less":               {within, []stream.StreamJoined{state.Retention(millis(5))}},
		"Into is given 1 times":                {within, []stream.StreamJoined{stream.Into(fits)}},
		"of size 10ms with a retention":        {within, []stream.StreamJoined{stream.Into(fits), stream.Into(state.Window[string, string]("short", millis(10), millis(9)))}},
		"Into needs a state.Window":            {within, []stream.StreamJoined{stream.Into(fits), stream.Into(state.KeyValue[string, string]("kv"))}},
		"OtherSerde is":                        {within, []stream.StreamJoined{stream.OtherSerde(serde.Int64())}},
		"the store \"fits\" is declared twice": {within, []stream.StreamJoined{stream.Into(fits), stream.Into(fits)}},
	} {
		b := stream.NewBuilder()
		b.Stream(leftTexts).Join(b.Stream(rightTexts), c.w, joinBoth, c.opts...).To(outs)
		_, err := b.Build(stream.Config{ApplicationID: "a"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "streamjoin_test.go:") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	b, foreign := stream.NewBuilder(), stream.NewBuilder()
	b.Stream(leftTexts).Join(foreign.Stream(rightTexts), within, joinBoth).To(outs)
	if _, err := b.Build(stream.Config{ApplicationID: "a"}); err == nil || !strings.Contains(err.Error(), "another Builder") {
		t.Errorf("got %v", err)
	}
}

// TestAJoinReadsBothSidesByKey joins streams whose keys were changed, in several partitions.
func TestAJoinReadsBothSidesByKey(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	byValue := func(_, v string) string { return v[:1] }
	l, r := b.Stream(leftTexts).SelectKey(byValue), b.Stream(rightTexts).SelectKey(byValue)
	l.Join(r, stream.Within(millis(5)), joinBoth, stream.Named("meet")).To(outs)
	d := streamtest.New(t, b, streamtest.WithPartitions(4))
	left, right := d.Input(leftTexts), d.Input(rightTexts)
	for i := range 20 {
		k := string(rune('a' + i))
		left.PipeAt(tick(1), fmt.Sprint(i), k+"1")
		right.PipeAt(tick(1), fmt.Sprint(-i), k+"2")
		wantSent(t, d, fmt.Sprintf("%s=%s1%s2@1", k, k, k))
	}
	for _, topic := range []string{"test-meet-left-repartition", "test-meet-right-repartition"} {
		if !strings.Contains(d.Transcript(), topic) {
			t.Errorf("there is no %s", topic)
		}
	}
}

// TestKeysThatCannotBeWrittenStopAJoin has a serde that fails where the side is kept.
func TestKeysThatCannotBeWrittenStopAJoin(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"l", "r"} {
		d, pipe := joined(t, stream.Within(millis(5)), "outer", stream.ValueSerde[string](brittle{serde.String()}), stream.OtherSerde[string](brittle{serde.String()}))
		pipe(side, "a", "boom", 1)
		if err := d.Err(); !errors.Is(err, errBrittle) {
			t.Errorf("side %s: %v", side, err)
		}
	}
}
