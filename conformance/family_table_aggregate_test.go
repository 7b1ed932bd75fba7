package conformance_test

import (
	"strings"

	"github.com/millrun/millrun/stream"
)

// underFirst puts a text under its first character.
func underFirst(_, v *string) (*string, *string) { return first(v), v }

// half is one of two groups of keys.
func half(k *string) *string {
	if *k < "c" {
		return new("low")
	}
	return new("high")
}

// byCount puts a count under its text.
func byCount(_ *string, n int64) (*string, int64) { return new("n" + written(new(n))), n }

// totals adds to, or takes from, the number of orders and their sum.
func totals(sign int64) func(k *string, v, a *object) *object {
	return func(k *string, v, a *object) *object {
		return obj().put("customer", k).put("n", whole(a, "n")+sign).put("total", whole(a, "total")+sign*whole(v, "amount"))
	}
}

var _ = family("table-aggregate",
	t("table-group-count", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in").GroupBy(underFirst, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("table-group-count-plain", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in").GroupBy(underFirst, GS...).Count().ToStream().To("out", SN...)
	}),
	t("table-group-reduce", numToNum, func(b *stream.Builder) {
		numTableOf(b, "in").GroupBy(func(k *string, v *int64) (*string, *int64) { return half(k), v }, GL...).
			Reduce(sum, minus, kv("sums", L)...).ToStream().To("out", SL...)
	}),
	t("table-group-reduce-null", numToNum, func(b *stream.Builder) {
		numTableOf(b, "in").GroupBy(func(_ *string, v *int64) (*string, *int64) {
			if *v%2 == 0 {
				return new("even"), v
			}
			return new("odd"), v
		}, GL...).Reduce(sum, minus, kv("sums", L)...).ToStream().To("out", SL...)
	}),
	t("table-group-aggregate", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").GroupBy(underFirst, append([]stream.Grouped{stream.Named("by-first")}, GS...)...).
			Aggregate(empty, append1, remove1, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("table-group-aggregate-null", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").GroupBy(func(_, v *string) (*string, *string) { return new("all"), v }, GS...).
			Aggregate(empty, func(_, v, a *string) *string {
				if list := cat(a, v); strings.Count(*list, ",") < 4 {
					return list
				}
				return nil
			}, remove1, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("table-group-null-key", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in").GroupBy(func(_, v *string) (*string, *string) {
			if length(v) < 2 {
				return nil, v
			}
			return first(v), v
		}, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("table-group-filtered", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in").Filter(longer(2)).GroupBy(underFirst, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("table-group-mapped", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").MapValues(shout).GroupBy(func(k, v *string) (*string, *string) { return half(k), pair(k, v) }, GS...).
			Aggregate(empty, append1, remove1, kv("", S)...).ToStream().To("out", SS...)
	}),
	t("table-group-cached", numToNum, func(b *stream.Builder) {
		numTableOf(b, "in").GroupBy(func(_ *string, v *int64) (*string, *int64) {
			if *v%3 == 0 {
				return new("low"), v
			}
			return new("high"), v
		}, GL...).Aggregate(func() *int64 { return new(int64) },
			func(_ *string, v, a *int64) *int64 { return sum(a, v) },
			func(_ *string, v, a *int64) *int64 { return minus(a, v) },
			kv("sums", L)...).ToStream().To("out", SL...)
	}).cached(),
	t("table-group-json", io(in("in", JSON), out("out", JSON)), func(b *stream.Builder) {
		jsonTableOf(b, "in").GroupBy(func(_ *string, v *object) (*string, *object) { return text(v, "customer"), v }, GJ...).
			Aggregate(func() *object { return obj().put("n", int64(0)).put("total", int64(0)) }, totals(1), totals(-1), kv("totals", J)...).
			ToStream().To("out", SJ...)
	}),
	t("table-group-twice", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in").GroupBy(underFirst, GS...).Count(kv("counts", N)...).
			GroupBy(byCount, GN...).Count(kv("counts-of-counts", N)...).ToStream().To("out", SN...)
	}),
)
