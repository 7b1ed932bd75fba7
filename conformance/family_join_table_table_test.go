package conformance_test

import "github.com/millrun/millrun/stream"

// Joiners of two texts, as the joins of tables take them.

func both(_, x, y *string) *string { return pair(x, y) }

func orLeft(_, x, y *string, _ bool) *string { return pair(x, y) }

func either(_, x *string, _ bool, y *string, _ bool) *string { return pair(x, y) }

// maybe is a number, or null where there is none.
func maybe(n int64, ok bool) *int64 {
	if !ok {
		return nil
	}
	return &n
}

var twoTables = io(in("left", STR), in("right", STR), out("out", STR))

var _ = family("join-table-table",
	t("tt-inner", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.Join(strTableOf(b, "right"), both).ToStream().To("out", SS...)
	}),
	t("tt-left", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.LeftJoin(strTableOf(b, "right"), orLeft).ToStream().To("out", SS...)
	}),
	t("tt-outer", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.OuterJoin(strTableOf(b, "right"), either).ToStream().To("out", SS...)
	}),
	t("tt-inner-materialized", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.Join(strTableOf(b, "right"), both, kv("joined", S)...).ToStream().To("out", SS...)
	}),
	t("tt-left-materialized", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.LeftJoin(strTableOf(b, "right"), orLeft, kv("joined", S, stream.Named("meet"))...).ToStream().To("out", SS...)
	}),
	t("tt-outer-materialized", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.OuterJoin(strTableOf(b, "right"), either, kv("joined", S)...).ToStream().To("out", SS...)
	}),
	t("tt-inner-cached", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.Join(strTableOf(b, "right"), both, kv("joined", S)...).ToStream().To("out", SS...)
	}).cached(),
	t("tt-inner-filtered", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left").Filter(longer(1))
		left.Join(strTableOf(b, "right").MapValues(shout), both).ToStream().To("out", SS...)
	}),
	t("tt-joiner-null", twoTables, func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.LeftJoin(strTableOf(b, "right"), func(_, x, y *string, _ bool) *string {
			if length(x) < 3 {
				return nil
			}
			return pair(x, y)
		}, kv("joined", S)...).ToStream().To("out", SS...)
	}),
	t("tt-self", strToStr, func(b *stream.Builder) {
		table := strTableOf(b, "in")
		table.Join(table, both).ToStream().To("out", SS...)
	}),
	t("tt-chain-inner", io(in("a", STR), in("b", STR), in("c", STR), out("out", STR)), func(b *stream.Builder) {
		ab := strTableOf(b, "a").Join(strTableOf(b, "b"), both)
		ab.Join(strTableOf(b, "c"), both).ToStream().To("out", SS...)
	}),
	t("tt-chain-mixed", io(in("a", STR), in("b", STR), in("c", STR), in("d", STR), out("out", STR)), func(b *stream.Builder) {
		ab := strTableOf(b, "a").LeftJoin(strTableOf(b, "b"), orLeft)
		abc := ab.OuterJoin(strTableOf(b, "c"), either)
		abc.Join(strTableOf(b, "d"), both, kv("all", S)...).ToStream().To("out", SS...)
	}),
	t("tt-join-then-group", io(in("left", STR), in("right", STR), out("out", I64)), func(b *stream.Builder) {
		left := strTableOf(b, "left")
		left.Join(strTableOf(b, "right"), both).
			GroupBy(func(_, v *string) (*string, *string) { return new("len" + written(new(length(v)))), v }, GS...).
			Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("tt-left-aggregates", io(in("in1", STR), in("in2", STR), out("out", STR)), func(b *stream.Builder) {
		one := str(b, "in1").GroupByKey(GS...).Count(kv("c1", N)...)
		two := str(b, "in2").GroupByKey(GS...).Count(kv("c2", N)...)
		one.LeftJoin(two, func(_ *string, x, y int64, ok bool) *string { return pair(new(x), maybe(y, ok)) }).ToStream().To("out", SS...)
	}),
)
