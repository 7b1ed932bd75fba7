package conformance_test

import "github.com/millrun/millrun/stream"

var _ = family("in-memory-default",
	t("mem-count", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
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
