package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// letters makes a record of each character.
func letters(s strStream) strStream {
	return s.FlatMapValues(func(_, v *string, emit func(*string)) {
		if v != nil {
			for i := range *v {
				emit(new((*v)[i : i+1]))
			}
		}
	})
}

// lettersOf counts the characters of each key.
func lettersOf(b *stream.Builder, topic, name string, more ...stream.Materialized) stream.KTable[*string, int64] {
	return letters(str(b, topic)).GroupByKey(GS...).Count(kv(name, N, more...)...)
}

var _ = family("cache",
	t("cache-count-flat", strToNum, func(b *stream.Builder) {
		lettersOf(b, "in", "counts").ToStream().To("out", SN...)
	}).cached(),
	t("cache-count-flat-filter", strToNum, func(b *stream.Builder) {
		lettersOf(b, "in", "counts").Filter(even[*string], kv("even", N)...).ToStream().To("out", SN...)
	}).cached(),
	t("cache-reduce-flat-null", strToStr, func(b *stream.Builder) {
		letters(str(b, "in")).GroupByKey(GS...).Reduce(func(x, y *string) *string {
			if len(*x) > 4 {
				return nil
			}
			return cat(x, y)
		}, kv("lists", S)...).ToStream().To("out", SS...)
	}).cached(),
	t("cache-hopping-flat", strToWin(60, I64), func(b *stream.Builder) {
		hopping(60, 20, 30).Over(letters(str(b, "in")).GroupByKey(GS...)).Count(kv("counts", N)...).ToStream().To("out", wins(60, N)...)
	}).cached(),
	t("cache-session-flat", strToSession(I64), func(b *stream.Builder) {
		sessionsOf(30, 50).Over(letters(str(b, "in")).GroupByKey(GS...)).Count(kv("counts", N)...).ToStream().To("out", sess(N)...)
	}).cached(),
	t("cache-tumbling-final", strToWin(50, I64), finalCounts(tumbling(50, 20), 50)).cached(),
	t("cache-two-level", strToNum, func(b *stream.Builder) {
		lettersOf(b, "in", "counts").GroupBy(byCount, GN...).Count(kv("counts-of-counts", N)...).ToStream().To("out", SN...)
	}).cached(),
	t("cache-join-flat", io(in("in1", STR), in("in2", STR), out("out", STR)), func(b *stream.Builder) {
		one := lettersOf(b, "in1", "c1")
		one.OuterJoin(lettersOf(b, "in2", "c2"), func(_ *string, x int64, xok bool, y int64, yok bool) *string {
			return pair(there(x, xok), there(y, yok))
		}, kv("joined", S)...).ToStream().To("out", SS...)
	}).cached(),
	t("cache-disabled-store", strToNum, func(b *stream.Builder) {
		lettersOf(b, "in", "counts", state.Caching(false)).ToStream().To("out", SN...)
	}).cached(),
	t("cache-stream-join", strToStr, func(b *stream.Builder) {
		s := str(b, "in")
		s.JoinTable(s.GroupByKey(GS...).Count(kv("counts", N)...), numbered, with(S, N)...).To("out", SS...)
	}).cached(),
)

// sessionsOf are session windows with a grace period. Java's sessions.
func sessionsOf(gap, grace int64) stream.SessionWindows {
	return stream.Session(ms(gap)).Grace(ms(grace))
}

// there is nil for a number that is not.
func there(n int64, ok bool) *int64 {
	if !ok {
		return nil
	}
	return &n
}
