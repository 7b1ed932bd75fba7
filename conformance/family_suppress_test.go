package conformance_test

import (
	"github.com/millrun/millrun/stream"
)

// held is Suppressed.untilTimeLimit.
func held(n int64) stream.Suppressed { return stream.UntilTimeLimit(ms(n)) }

// finals is Suppressed.untilWindowCloses.
func finals() stream.Suppressed { return stream.UntilWindowCloses() }

// heldCounts counts records over windows of a size, in the store counts, and holds the results back.
func heldCounts(w stream.TimeWindows, size int64, s stream.Suppressed) func(*stream.Builder) {
	return func(b *stream.Builder) {
		strOver(b, w).Count(kv("counts", N)...).Suppress(s).ToStream().To("out", wins(size, N)...)
	}
}

var _ = family("suppress",
	t("suppress-tumbling-final", strToWin(50, I64), heldCounts(tumbling(50, 20), 50, finals())),
	t("suppress-tumbling-final-plain", strToWin(50, I64), func(b *stream.Builder) {
		strOver(b, stream.Tumbling(ms(50))).Count().Suppress(finals()).ToStream().To("out", wins(50, N)...)
	}),
	t("suppress-hopping-final", strToWin(60, STR), func(b *stream.Builder) {
		strOver(b, hopping(60, 20, 10)).Reduce(listed, kv("lists", S)...).Suppress(finals(), stream.Named("finals")).ToStream().To("out", wins(60, S)...)
	}),
	t("suppress-session-final", strToSession(I64), func(b *stream.Builder) {
		inSessions(b, 30, 20).Count(kv("counts", N)...).Suppress(finals()).ToStream().To("out", sess(N)...)
	}),
	t("suppress-sliding-final", strToWin(40, I64), heldCounts(slid(40, 20), 40, finals())),
	t("suppress-final-no-log", strToWin(50, I64), heldCounts(tumbling(50, 20), 50, finals().Logging(nil))),
	t("suppress-max-records-windowed", strToWin(30, I64), heldCounts(tumbling(30, 60), 30, held(50).MaxRecords(3).EmitEarlyWhenFull())),
	t("suppress-shut-down", strToWin(50, I64), heldCounts(tumbling(50, 20), 50, finals().MaxRecords(4))),
	t("suppress-filter", strToWin(50, I64), func(b *stream.Builder) {
		strOver(b, tumbling(50, 20)).Count(kv("counts", N)...).Suppress(finals()).
			Filter(func(_ winKey, n int64) bool { return n > 1 }).ToStream().To("out", wins(50, N)...)
	}),
	t("suppress-cached", strToWin(50, I64), heldCounts(tumbling(50, 20), 50, finals())).cached(),
	t("suppress-time-limit", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		strTableOf(b, "in").Suppress(held(40)).ToStream().To("out", SS...)
	}),
	t("suppress-time-limit-zero", io(in("in", STR), out("out", I64)), func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).Suppress(held(0)).ToStream().To("out", SN...)
	}),
	t("suppress-max-records", io(in("in", STR), out("out", I64)), func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).Suppress(held(60).MaxRecords(2).EmitEarlyWhenFull()).ToStream().To("out", SN...)
	}),
	t("suppress-max-bytes", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).Suppress(held(80).MaxBytes(200).EmitEarlyWhenFull(), stream.Named("small")).ToStream().To("out", SS...)
	}),
	t("suppress-then-group", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in").Suppress(held(30)).GroupBy(underFirst, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
)
