package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

var _ = family("in-memory-default",
	t("mem-count", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}).memory(),
	t("mem-tumbling", strToWin(50, I64), countOver(tumbling(50, 40), 50)).memory(),
	t("mem-sliding", strToWin(40, I64), countOver(slid(40, 50), 40)).memory(),
	t("mem-session", strToSession(I64), sessionCounts(30, 50)).memory(),
	t("mem-tumbling-final", strToWin(50, I64), finalCounts(tumbling(50, 20), 50)).memory(),
	t("mem-session-final", strToSession(I64), func(b *stream.Builder) {
		inSessions(b, 30, 20).Emit(stream.OnClose).Count(kv("counts", N, state.Retention(ms(500)))...).ToStream().To("out", sess(N)...)
	}).memory(),
	leftOf("mem-ss-left", within(20, 30)).memory(),
	outerOf("mem-ss-outer", within(20, 30)).memory(),
	t("mem-foreign-key", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, meet, joined("joined", S)...).ToStream().To("out", SS...)
	}).memory(),
	t("mem-table-group", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").GroupBy(underFirst, GS...).Aggregate(empty, append1, remove1, kv("lists", S)...).ToStream().To("out", SS...)
	}).memory(),
)
