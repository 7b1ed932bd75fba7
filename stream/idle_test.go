package stream_test

import (
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// noon is when the driver's clock begins in these tests; records have times of their own, far from it.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestAnOuterJoinAnswersWhenItsInputsAreQuiet(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[string, string]("left").LeftJoin(b.Stream[string, string]("right"),
		stream.Within(10*time.Second).Grace(5*time.Second).Idle(3*time.Second),
		func(_ string, l, r string, ok bool) string {
			if !ok {
				return l + " alone"
			}
			return l + r
		}).To("out")
	d := streamtest.New(t, b, streamtest.StartAt(noon))
	left, right, out := d.Input[string, string]("left"), d.Input[string, string]("right"), d.Output[string, string]("out")
	left.PipeAt(time.Unix(100, 0), "a", "x")
	d.Advance(2 * time.Second)
	right.PipeAt(time.Unix(100, 0), "b", "y") // the input is not quiet
	d.Advance(15 * time.Second)
	out.Want() // 100 s + 10 s + 5 s are not passed yet
	d.Advance(2 * time.Second)
	want := out.R("a", "x alone")
	want.Timestamp = time.Unix(100, 0).UTC()
	out.Want(want)
	right.PipeAt(time.Unix(101, 0), "a", "late") // too late for an answer that was given
	out.Want(out.R("a", "xlate"))
}

func TestATimeLimitPassesWhenTheInputIsQuiet(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Table[string, string]("in").Suppress(stream.UntilTimeLimit(10 * time.Second).Idle(time.Second)).ToStream().To("out")
	d := streamtest.New(t, b, streamtest.StartAt(noon))
	in, out := d.Input[string, string]("in"), d.Output[string, string]("out")
	in.PipeAt(time.Unix(100, 0), "a", "1")
	in.PipeAt(time.Unix(102, 0), "a", "2")
	d.Advance(7 * time.Second)
	out.Want()
	d.Advance(time.Second)
	want := out.R("a", "2")
	want.Timestamp = time.Unix(102, 0).UTC()
	out.Want(want)
}
