package conformance_test

import "github.com/millrun/millrun/stream"

// twoIn are two topics of strings in.
func twoIn(more ...topic) topics { return append(io(in("in1", STR), in("in2", STR)), more...) }

// nothing is the empty text.
func nothing() *string { return new("") }

// marked appends a mark and a value.
func marked(mark string) func(_, v, a *string) *string {
	return func(_, v, a *string) *string { return new(written(a) + mark + written(v)) }
}

// oneAndTwo cogroups the topics in1 and in2.
func oneAndTwo(b *stream.Builder) stream.CogroupedKStream[*string, *string] {
	return str(b, "in1").GroupByKey(GS...).Cogroup(marked("1")).Cogroup(str(b, "in2").GroupByKey(GS...), marked("2"))
}

var _ = family("cogroup",
	t("cogroup", twoIn(out("out", STR)), func(b *stream.Builder) {
		oneAndTwo(b).Aggregate(nothing, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("cogroup-plain", strToStr, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Cogroup(appended).Aggregate(nothing, kv("", S)...).ToStream().To("out", SS...)
	}),
	t("cogroup-three-types", io(in("in1", STR), in("in2", I64), in("in3", STR), out("out", I64)), func(b *stream.Builder) {
		str(b, "in1").GroupByKey(GS...).Cogroup(func(_, v *string, a *int64) *int64 { return new(*a + length(v)) }).
			Cogroup(num(b, "in2").GroupByKey(GL...), func(_ *string, v, a *int64) *int64 { return new(*a + *v) }).
			Cogroup(str(b, "in3").GroupByKey(GS...), func(_, v *string, a *int64) *int64 {
				if *v == "reset" {
					return nil
				}
				return a
			}).
			Aggregate(func() *int64 { return new(int64(0)) }, kv("sums", L, stream.Named("co-sum"))...).ToStream().To("out", SL...)
	}),
	t("cogroup-repartition", twoIn(out("out", STR)), func(b *stream.Builder) {
		byFirst := func(_, v *string) *string { return first(v) }
		second := append([]stream.Grouped{stream.Named("second")}, GS...)
		str(b, "in1").GroupBy(byFirst, GS...).Cogroup(marked("1")).
			Cogroup(str(b, "in2").SelectKey(byFirst).GroupByKey(second...), marked("2")).
			Aggregate(nothing, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("cogroup-tumbling", twoIn(outKeyed("out", windowed(50), STR)), func(b *stream.Builder) {
		tumbling(50, 30).OverCogrouped(oneAndTwo(b)).Aggregate(nothing, kv("lists", S)...).ToStream().To("out", wins(50, S)...)
	}),
	t("cogroup-hopping-plain", io(in("in1", STR), in("in2", I64), outKeyed("out", windowed(60), I64)), func(b *stream.Builder) {
		hopping(60, 30, 30).OverCogrouped(str(b, "in1").GroupByKey(GS...).Cogroup(func(_, v *string, a *int64) *int64 { return new(*a + length(v)) }).
			Cogroup(num(b, "in2").GroupByKey(GL...), func(_ *string, v, a *int64) *int64 { return summed(a, v) })).
			Aggregate(func() *int64 { return new(int64(0)) }, kv("", L)...).ToStream().To("out", wins(60, L)...)
	}),
	t("cogroup-sliding", twoIn(outKeyed("out", windowed(40), STR)), func(b *stream.Builder) {
		slid(40, 50).OverCogrouped(oneAndTwo(b)).Aggregate(nothing, kv("lists", S)...).ToStream().To("out", wins(40, S)...)
	}),
	t("cogroup-session", twoIn(outKeyed("out", session(), STR)), func(b *stream.Builder) {
		stream.Session(ms(30)).Grace(ms(50)).OverCogrouped(oneAndTwo(b)).Aggregate(nothing, paired, kv("lists", S)...).ToStream().To("out", sess(S)...)
	}),
)
