package conformance_test

import (
	"strconv"
	"strings"

	"github.com/millrun/millrun/stream"
)

// wordsOf makes a record of each word.
func wordsOf(b *stream.Builder) strStream {
	return str(b, "lines").FlatMapValues(func(_, v *string, emit func(*string)) {
		for _, w := range words(v) {
			emit(&w)
		}
	})
}

// plainKey is the key without its window.
func plainKey[V any](w winKey, _ V) *string { return w.Key }

// ordered is what was ordered so far.
func ordered(a *object) *object {
	return obj().put("n", whole(a, "n")).put("total", whole(a, "total"))
}

var _ = family("mixed",
	t("word-count", io(in("lines", STR), out("counts", I64)), func(b *stream.Builder) {
		wordsOf(b).GroupBy(func(_, w *string) *string { return w }, GS...).Count(kv("words", N)...).ToStream().To("counts", SN...)
	}),
	t("orders", io(in("orders", JSON), in("customers", JSON), out("totals", JSON), out("large", JSON), out("returns", JSON)), func(b *stream.Builder) {
		customers := jsonTableOf(b, "customers", stream.As("customers-store"))
		kinds := jsons(b, "orders").Filter(func(_ *string, v *object) bool { return v != nil }).Split(stream.Named("kind-"))
		returns := kinds.Branch(func(_ *string, v *object) bool { return written(text(v, "kind")) == "return" }, stream.Named("return"))
		sales := kinds.Default(stream.Named("sale"))
		returns.To("returns", SJ...)
		totals := sales.GroupBy(func(_ *string, v *object) *string { return text(v, "customer") }, append([]stream.Grouped{stream.Named("by-customer")}, GJ...)...).
			Aggregate(func() *object { return obj().put("n", 0).put("total", 0) }, func(_ *string, v, a *object) *object {
				return obj().put("n", whole(a, "n")+1).put("total", whole(a, "total")+whole(v, "amount"))
			}, kv("totals-store", J)...).
			LeftJoin(customers, func(_ *string, t, c *object, _ bool) *object { return ordered(t).put("city", text(c, "city")) }).
			ToStream()
		totals.To("totals", SJ...)
		totals.Filter(func(_ *string, v *object) bool { return whole(v, "total") > 150 }).To("large", SJ...)
	}),
	t("repartition-aggregate-join", io(in("in1", STR), in("in2", STR), out("out", STR)), func(b *stream.Builder) {
		counts := str(b, "in1").SelectKey(byFirst).GroupByKey(GS...).Count(kv("counts", N)...)
		s := str(b, "in2").SelectKey(func(_, v *string) *string { return v })
		s.JoinTable(counts, func(_, v *string, n int64) *string { return new(written(v) + "=" + written(n)) }, with(S, N)...).To("out", SS...)
	}),
	t("word-count-windowed", io(in("lines", STR), out("counts", STR)), func(b *stream.Builder) {
		tumbling(50, 10).Over(wordsOf(b).GroupBy(func(_, w *string) *string { return w }, GS...)).Count(kv("words", N)...).
			Suppress(stream.UntilWindowCloses()).ToStream().
			Map(func(w winKey, n int64) (*string, *string) { return first(w.Key), new(written(n) + ":" + *flat(w, n)) }).
			GroupByKey(GS...).Reduce(func(x, y *string) *string {
			if *x >= *y {
				return x
			}
			return y
		}, kv("top", S)...).ToStream().To("counts", SS...)
	}),
	t("window-suppress-join", io(in("in", STR), in("names", STR), out("out", STR)), func(b *stream.Builder) {
		finals := strOver(b, tumbling(40, 10)).Count(kv("counts", N)...).Suppress(stream.UntilWindowCloses()).
			ToStream().SelectKey(plainKey[int64])
		finals.LeftJoinTable(strTableOf(b, "names"), func(_ *string, n int64, name *string, _ bool) *string {
			return new(written(n) + " of " + written(name))
		}, with(N, S)...).To("out", SS...)
	}),
	t("window-to-table", strToNum, func(b *stream.Builder) {
		strOver(b, tumbling(30, 30)).Count(kv("counts", N)...).ToStream().
			Map(func(w winKey, n int64) (*string, *string) { return flat(w, n), w.Key }).
			ToTable(kv("windows", S)...).
			GroupBy(func(k, v *string) (*string, *string) { return v, k }, GS...).Count(kv("per-key", N)...).ToStream().To("out", SN...)
	}),
	t("windowed-group-by-key", strToNum, func(b *stream.Builder) {
		strOver(b, tumbling(30, 30)).Count(kv("counts", N)...).
			GroupBy(func(w winKey, n int64) (*string, int64) { return new("w" + written(w.Window.StartMs)), n }, GN...).
			Reduce(func(x, y int64) int64 { return x + y }, func(x, y int64) int64 { return x - y }, kv("sums", N)...).ToStream().To("out", SN...)
	}),
	t("sessions-of-joined", io(in("in", STR), in("groups", STR), outKeyed("out", session(), I64)), func(b *stream.Builder) {
		s := str(b, "in")
		groups := s.JoinTable(strTableOf(b, "groups"), func(_, _, g *string) *string { return g }, with(S, S)...)
		sessionsOf(20, 40).Over(groups.GroupBy(func(_, g *string) *string { return g }, GS...)).Count(kv("counts", N)...).
			ToStream().To("out", sess(N)...)
	}),
	t("stream-join-then-count", io(in("left", STR), in("right", STR), out("out", I64)), func(b *stream.Builder) {
		str(b, "left").Join(str(b, "right"), within(20, 20), joinInner, streamJoin()...).
			GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("clicks", io(in("clicks", I64), in("regions", STR), out("out", I64)), func(b *stream.Builder) {
		clicks := num(b, "clicks")
		clicks.LeftJoinTable(strTableOf(b, "regions"), func(_ *string, n *int64, region *string, _ bool) *string {
			if region == nil {
				region = new("unknown")
			}
			return new(*region + ":" + written(n))
		}, with(L, S)...).Map(func(_, v *string) (*string, *int64) {
			region, n, _ := strings.Cut(*v, ":")
			clicks, _ := strconv.ParseInt(n, 10, 64) // null is 0
			return &region, &clicks
		}).GroupByKey(GL...).Reduce(sum, kv("by-region", L)...).ToStream().To("out", SL...)
	}),
)
