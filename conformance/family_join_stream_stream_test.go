package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// within is JoinWindows.ofTimeDifferenceAndGrace.
func within(diff, grace int64) stream.JoinWindows { return stream.Within(ms(diff)).Grace(ms(grace)) }

// streamJoin are the serdes of two streams of strings, and what else is said of their join.
func streamJoin(more ...stream.StreamJoined) []stream.StreamJoined {
	return append([]stream.StreamJoined{stream.KeySerde(S), stream.ValueSerde(S), stream.OtherSerde(S)}, more...)
}

// numJoin are the serdes of a stream of strings and one of numbers.
var numJoin = []stream.StreamJoined{stream.KeySerde(S), stream.ValueSerde(S), stream.OtherSerde(L)}

// joinInner, joinLeft and joinOuter are the joiner pair: null is written for what is not there.
func joinInner(_ *string, x, y *string) *string                         { return pair(x, y) }
func joinLeft(_ *string, x, y *string, _ bool) *string                  { return pair(x, y) }
func joinOuter(_ *string, x *string, _ bool, y *string, _ bool) *string { return pair(x, y) }

// keyed puts the key before a pair.
func keyed(k *string, p *string) *string { return new(*k + ":" + *p) }

var twoStreams = io(in("left", STR), in("right", STR), out("out", STR))

// inner is an inner join of left and right.
func inner(name string, w stream.JoinWindows, more ...stream.StreamJoined) *topology {
	return t(name, twoStreams, func(b *stream.Builder) {
		str(b, "left").Join(str(b, "right"), w, joinInner, streamJoin(more...)...).To("out", SS...)
	})
}

// leftOf is a left join of them.
func leftOf(name string, w stream.JoinWindows, more ...stream.StreamJoined) *topology {
	return t(name, twoStreams, func(b *stream.Builder) {
		str(b, "left").LeftJoin(str(b, "right"), w, joinLeft, streamJoin(more...)...).To("out", SS...)
	})
}

// outerOf is an outer join of them.
func outerOf(name string, w stream.JoinWindows, more ...stream.StreamJoined) *topology {
	return t(name, twoStreams, func(b *stream.Builder) {
		str(b, "left").OuterJoin(str(b, "right"), w, joinOuter, streamJoin(more...)...).To("out", SS...)
	})
}

// one appends "1" to a key.
func one(k, _ *string) *string {
	if k == nil {
		return nil
	}
	return new(*k + "1")
}

// given are stores in memory for both sides.
func given(retention int64) []stream.StreamJoined {
	this := state.Window[*string, *string]("this-store", ms(40), ms(retention), state.InMemory())
	other := state.Window[*string, *string]("other-store", ms(40), ms(retention), state.InMemory())
	return []stream.StreamJoined{stream.Into(this), stream.Into(other)}
}

var _ = family("join-stream-stream",
	inner("ss-inner", within(20, 0)),
	inner("ss-inner-grace", within(20, 50)),
	t("ss-inner-key", twoStreams, func(b *stream.Builder) {
		str(b, "left").Join(str(b, "right"), within(20, 50), func(k, x, y *string) *string { return keyed(k, pair(x, y)) }, streamJoin()...).To("out", SS...)
	}),
	inner("ss-inner-before-after", within(5, 40).Before(ms(30)).After(ms(5))),
	inner("ss-inner-only-after", within(30, 40).Before(ms(-10))),
	inner("ss-inner-zero", within(0, 30)),
	inner("ss-inner-named", within(20, 50), stream.Named("meet"), stream.As("meet-store")),
	inner("ss-inner-name-only", within(20, 50), stream.Named("meet")),
	inner("ss-inner-in-memory", within(20, 50), given(90)...),
	t("ss-inner-repartition", twoStreams, func(b *stream.Builder) {
		str(b, "left").SelectKey(one).Join(str(b, "right").SelectKey(one), within(20, 50), joinInner, streamJoin()...).To("out", SS...)
	}),
	t("ss-inner-types", io(in("left", STR), in("right", I64), out("out", JSON)), func(b *stream.Builder) {
		str(b, "left").Join(num(b, "right"), within(20, 50), func(k, x *string, y *int64) *object {
			return obj().put("key", k).put("left", x).put("right", y)
		}, numJoin...).To("out", SJ...)
	}),
	t("ss-inner-self", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		s.Join(s, within(15, 20), joinInner, streamJoin()...).To("out", SS...)
	}),
	t("ss-inner-self-optimized", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		s.Join(s, within(15, 20), joinInner, streamJoin()...).To("out", SS...)
	}).optimize("single.store.self.join"),
	t("ss-inner-self-filtered", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		long := s.Filter(func(_, v *string) bool { return length(v) > 2 })
		s.Join(long, within(15, 20), joinInner, streamJoin()...).To("out", SS...)
	}).optimize("all"),
	t("ss-outer-self", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		s.OuterJoin(s, within(10, 10), joinOuter, streamJoin()...).To("out", SS...)
	}).optimize("all"),
	t("ss-inner-three", io(in("a", STR), in("b", STR), in("c", STR), out("out", STR)), func(b *stream.Builder) {
		two := str(b, "a").Join(str(b, "b"), within(20, 40), joinInner, streamJoin()...)
		two.Join(str(b, "c"), within(20, 40), joinInner, streamJoin()...).To("out", SS...)
	}),
	leftOf("ss-left", within(20, 0)),
	leftOf("ss-left-grace", within(20, 30)),
	t("ss-left-before-after", twoStreams, func(b *stream.Builder) {
		str(b, "left").LeftJoin(str(b, "right"), within(5, 20).Before(ms(5)).After(ms(30)), func(k, x, y *string, _ bool) *string {
			return new(written(k) + ":" + *pair(x, y))
		}, streamJoin()...).To("out", SS...)
	}),
	leftOf("ss-left-named", within(20, 30), stream.Named("meet"), stream.As("meet-store")),
	leftOf("ss-left-in-memory", within(20, 30), given(70)...),
	t("ss-left-repartition", twoStreams, func(b *stream.Builder) {
		left := str(b, "left").SelectKey(func(k, v *string) *string {
			if v == nil {
				return nil
			}
			return k
		})
		right := str(b, "right").SelectKey(func(k, _ *string) *string { return k })
		left.LeftJoin(right, within(20, 30), joinLeft, streamJoin()...).To("out", SS...)
	}),
	leftOf("ss-left-interval", within(20, 10)).cfg(emitIntervals[0], "1000"),
	outerOf("ss-outer", within(20, 0)),
	outerOf("ss-outer-grace", within(20, 30)),
	t("ss-outer-before-after", twoStreams, func(b *stream.Builder) {
		str(b, "left").OuterJoin(str(b, "right"), within(0, 20).Before(ms(25)), func(k, x *string, _ bool, y *string, _ bool) *string {
			return new(written(k) + ":" + *pair(x, y))
		}, streamJoin()...).To("out", SS...)
	}),
	outerOf("ss-outer-same-time", within(3, 3)),
	t("ss-outer-types", io(in("left", STR), in("right", I64), out("out", JSON)), func(b *stream.Builder) {
		str(b, "left").OuterJoin(num(b, "right"), within(10, 10), func(k, x *string, _ bool, y *int64, _ bool) *object {
			return obj().put("key", k).put("left", x).put("right", y)
		}, numJoin...).To("out", SJ...)
	}),
	t("ss-outer-repartition-named", twoStreams, func(b *stream.Builder) {
		left := str(b, "left")
		right := str(b, "right").Map(func(k, v *string) (*string, *string) { return k, upper(v) })
		left.OuterJoin(right, within(20, 30), joinOuter, streamJoin(stream.Named("meet"))...).To("out", SS...)
	}),
)
