package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// longer keeps texts of more than n characters.
func longer(n int64) func(k, v *string) bool {
	return func(_, v *string) bool { return length(v) > n }
}

var _ = family("table",
	t("table-source", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").ToStream().To("out", SS...)
	}),
	t("table-source-materialized", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).ToStream().To("out", SS...)
	}),
	t("table-source-in-memory", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table"), state.InMemory()).ToStream().To("out", SS...)
	}),
	t("table-source-cached", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).ToStream().To("out", SS...)
	}).cached(),
	t("table-source-optimized", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).ToStream().To("out", SS...)
	}).optimize("all"),
	t("table-filter", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").Filter(longer(2)).ToStream().To("out", SS...)
	}),
	t("table-filter-materialized", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").Filter(longer(2), kv("filtered", S)...).ToStream().To("out", SS...)
	}),
	t("table-filter-source-materialized", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).Filter(longer(2)).ToStream().To("out", SS...)
	}),
	t("table-filter-not", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").FilterNot(longer(2), stream.Named("short")).ToStream().To("out", SS...)
	}),
	t("table-map-values", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").MapValues(shout).ToStream().To("out", SS...)
	}),
	t("table-map-values-materialized", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in").MapValues(func(_, v *string) *int64 { return new(length(v)) }, kv("lengths", L)...).ToStream().To("out", SL...)
	}),
	t("table-chain", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").MapValues(shout).Filter(func(_, v *string) bool { return length(v) != 2 }).
			MapValues(pairOf, kv("end", S)...).ToStream().To("out", SS...)
	}),
	t("table-chain-two-readers", io(in("in", STR), out("upper", STR), out("long", STR)), func(b *stream.Builder) {
		table := strTableOf(b, "in", stream.As("table"))
		table.MapValues(shout).ToStream().To("upper", SS...)
		table.Filter(longer(3)).ToStream().To("long", SS...)
	}),
	t("table-to-stream-key", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").ToStream().SelectKey(func(k, v *string) *string { return new(written(k) + "/" + written(first(v))) }).To("out", SS...)
	}),
	t("table-equal-values", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).MapValues(shout, kv("mapped", S)...).ToStream().To("out", SS...)
	}),
)
