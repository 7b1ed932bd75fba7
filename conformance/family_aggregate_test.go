package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

var strToNum = io(in("in", STR), out("out", I64))

var strToStr = io(in("in", STR), out("out", STR))

var numToNum = io(in("in", I64), out("out", I64))

var _ = family("aggregate",
	t("count", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("count-plain", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupByKey().Count().ToStream().To("out", SN...)
	}),
	t("count-in-memory", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N, state.InMemory())...).ToStream().To("out", SN...)
	}),
	t("count-no-log", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N, state.NoLogging())...).ToStream().To("out", SN...)
	}),
	t("count-log-config", strToNum, func(b *stream.Builder) {
		log := state.Logging(map[string]string{"segment.ms": "60000", "min.insync.replicas": "2"})
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N, log)...).ToStream().To("out", SN...)
	}),
	t("count-cached", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}).cached(),
	t("count-named", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupBy(byFirst, append([]stream.Grouped{stream.Named("by-letter")}, GS...)...).
			Count(kv("counts", N, stream.Named("tally"))...).ToStream(stream.Named("as-stream")).To("out", SN...)
	}),
	t("group-by-count", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupBy(func(_, v *string) *string {
			if v == nil || *v == "" {
				return nil
			}
			return first(v)
		}, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("group-by-key-after-map", strToNum, func(b *stream.Builder) {
		str(b, "in").SelectKey(byFirst).GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("group-by-key-after-map-values", strToNum, func(b *stream.Builder) {
		str(b, "in").MapValues(func(_, v *string) *int64 {
			if v == nil {
				return nil
			}
			return new(length(v))
		}).GroupByKey(GL...).Reduce(sum, kv("sums", L)...).ToStream().To("out", SL...)
	}),
	t("reduce", strToStr, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Reduce(lists, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("reduce-null", numToNum, func(b *stream.Builder) {
		num(b, "in").GroupByKey(GL...).Reduce(func(x, y *int64) *int64 {
			if *x+*y > 40 {
				return nil
			}
			return new(*x + *y)
		}, kv("sums", L)...).ToStream().To("out", SL...)
	}),
	t("reduce-max", numToNum, func(b *stream.Builder) {
		num(b, "in").GroupByKey(GL...).Reduce(func(x, y *int64) *int64 { return new(max(*x, *y)) }).ToStream().To("out", SL...)
	}),
	t("aggregate", strToStr, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Aggregate(empty, func(k, v, a *string) *string {
			if *a == "" {
				return new(written(k) + ":" + written(v))
			}
			return cat(a, v)
		}, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("aggregate-null", strToStr, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Aggregate(func() *string { return new("0") }, func(_, v, a *string) *string {
			if len(*a) > 12 {
				return nil
			}
			return cat(a, v)
		}, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("aggregate-sum", numToNum, func(b *stream.Builder) {
		num(b, "in").GroupByKey(GL...).Aggregate(func() *int64 { return new(int64(100)) }, func(_ *string, v, a *int64) *int64 {
			return new(*a + *v)
		}, kv("", L)...).ToStream().To("out", SL...)
	}),
	t("aggregate-json", io(in("in", I64), out("out", JSON)), func(b *stream.Builder) {
		num(b, "in").GroupByKey(GL...).Aggregate(func() *object { return obj().put("n", 0).put("sum", 0) }, average, kv("averages", J)...).
			ToStream().To("out", SJ...)
	}),
	t("aggregate-filter-map", strToStr, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).Filter(even[*string]).
			MapValues(func(k *string, n int64) *string { return new(written(k) + "=" + written(n)) }).ToStream().To("out", SS...)
	}),
	t("aggregate-filter-materialized", strToNum, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).Filter(even[*string], kv("even", N)...).ToStream().To("out", SN...)
	}),
	t("aggregate-merged", io(in("in1", STR), in("in2", STR), out("out", I64)), func(b *stream.Builder) {
		one := str(b, "in1")
		one.Merge(str(b, "in2").Filter(func(k, _ *string) bool { return k != nil })).
			GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("aggregate-two-of-one", io(in("in", STR), out("counts", I64), out("lists", STR)), func(b *stream.Builder) {
		g := str(b, "in").SelectKey(byFirst).GroupByKey(GS...)
		g.Count().ToStream().To("counts", SN...)
		g.Reduce(lists).ToStream().To("lists", SS...)
	}),
	t("aggregate-two-of-one-named", io(in("in", STR), out("counts", I64), out("lists", STR)), func(b *stream.Builder) {
		g := str(b, "in").SelectKey(byFirst).GroupByKey(append([]stream.Grouped{stream.Named("letters")}, GS...)...)
		g.Count().ToStream().To("counts", SN...)
		g.Reduce(lists).ToStream().To("lists", SS...)
	}),
)

// average adds a number to {n, sum}.
func average(_ *string, v *int64, a *object) *object {
	return obj().put("n", whole(a, "n")+1).put("sum", whole(a, "sum")+*v)
}

// even is a predicate of counts.
func even[K any](_ K, n int64) bool { return n%2 == 0 }
