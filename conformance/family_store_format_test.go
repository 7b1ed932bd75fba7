package conformance_test

import (
	"github.com/millrun/millrun/stream"
)

// The setting of the format of the DSL's stores, and its other value.
const (
	storeFormat = "dsl.store.format"
	withHeaders = "HEADERS"
)

// headersFormat keeps headers in stores.
func (t *topology) headersFormat() *topology { return t.cfg(storeFormat, withHeaders) }

var _ = family("store-format-headers",
	t("hs-table", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).ToStream().To("out", SS...)
	}).headersFormat(),
	t("hs-count", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}).headersFormat(),
	t("hs-table-group", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").GroupBy(underFirst, GS...).Aggregate(empty, append1, remove1, kv("lists", S)...).ToStream().To("out", SS...)
	}).headersFormat(),
	t("hs-table-join", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.LeftJoin(strTableOf(b, "right"), orLeft, kv("joined", S)...).ToStream().To("out", SS...)
	}).headersFormat(),
	t("hs-foreign-key", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.LeftJoinForeign(strTableOf(b, "right"), initial, orLeft, joined("joined", S)...).ToStream().To("out", SS...)
	}).headersFormat(),
	leftOf("hs-stream-join", within(20, 30)).headersFormat(),
	t("hs-tumbling", strToWin(50, I64), countOver(tumbling(50, 40), 50)).headersFormat(),
	t("hs-session", strToSession(I64), sessionCounts(30, 50)).headersFormat(),
	t("hs-suppress", strToWin(50, I64), heldCounts(tumbling(50, 20), 50, finals())).headersFormat(),
)
