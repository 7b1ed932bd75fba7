package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// finalCounts counts strings over windows, in the store counts, and emits when they close.
func finalCounts(w stream.TimeWindows, size int64, more ...stream.Materialized) func(*stream.Builder) {
	return func(b *stream.Builder) {
		strOver(b, w).Emit(stream.OnClose).Count(kv("counts", N, more...)...).ToStream().To("out", wins(size, N)...)
	}
}

var _ = family("window-final",
	t("tumbling-final", strToWin(50, I64), finalCounts(tumbling(50, 20), 50)),
	t("tumbling-final-no-grace", strToWin(50, STR), func(b *stream.Builder) {
		strOver(b, stream.Tumbling(ms(50))).Emit(stream.OnClose).Reduce(listed, kv("lists", S)...).ToStream().To("out", wins(50, S)...)
	}),
	t("tumbling-final-plain", strToWin(50, I64), func(b *stream.Builder) {
		tumbling(50, 20).Over(str(b, "in").GroupBy(func(_, v *string) *string { return first(v) }, GS...)).
			Emit(stream.OnClose).Count().ToStream().To("out", wins(50, N)...)
	}),
	t("tumbling-final-interval", strToWin(50, I64), finalCounts(tumbling(50, 20), 50, state.Retention(ms(5000)))).cfg(emitIntervals[1], "1000"),
	t("tumbling-final-jump", strToWin(50, I64), finalCounts(tumbling(50, 20), 50)),
	t("tumbling-final-retention", strToWin(50, I64), finalCounts(tumbling(50, 20), 50, state.Retention(ms(5000)))),
	t("hopping-final", strToWin(60, I64), finalCounts(hopping(60, 20, 10), 60)),
	t("hopping-final-aggregate-null", strToWin(60, STR), func(b *stream.Builder) {
		strOver(b, hopping(60, 30, 10)).Emit(stream.OnClose).Aggregate(func() *string { return new("") }, func(_, v, a *string) *string {
			if len(*a) > 8 {
				return nil
			}
			return cat(a, v)
		}, kv("lists", S)...).ToStream().To("out", wins(60, S)...)
	}),
	t("sliding-final", strToWin(40, I64), finalCounts(slid(40, 20), 40)),
	t("session-final", strToSession(I64), func(b *stream.Builder) {
		inSessions(b, 30, 20).Emit(stream.OnClose).Count(kv("counts", N)...).ToStream().To("out", sess(N)...)
	}),
	t("session-final-aggregate", strToSession(STR), func(b *stream.Builder) {
		inSessions(b, 30, 0).Emit(stream.OnClose).Aggregate(func() *string { return new("") }, appended, paired, kv("lists", S)...).
			ToStream().To("out", sess(S)...)
	}),
)
