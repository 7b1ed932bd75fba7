package conformance_test

import (
	"github.com/millrun/millrun/stream"
)

// plainStr reads a topic with the default serdes.
func plainStr(b *stream.Builder, topic string, opts ...stream.Consumed) strStream {
	return b.Stream(stream.Topic[*string, *string](topic), opts...)
}

func sameKey(k, _ *string) *string { return k }

func pass(c *processing[*string], r strRecord) error { return c.Forward(r) }

var _ = family("names",
	t("names-stateless", io(in("in", STR), in("in2", STR), out("out", STR), out("hot", STR)), func(b *stream.Builder) {
		one := plainStr(b, "in", stream.Named("source-one")).
			Filter(func(_, v *string) bool { return v != nil }, stream.Named("a-filter")).
			FilterNot(func(_, v *string) bool { return *v == "" }, stream.Named("a-filter-not")).
			Map(func(_, v *string) (*string, *string) { return first(v), v }, stream.Named("a-map")).
			MapValues(func(k, v *string) *string { return new(written(k) + written(v)) }, stream.Named("a-map-values")).
			FlatMap(func(k, v *string, emit func(k, v *string)) { emit(k, v) }, stream.Named("a-flat-map")).
			FlatMapValues(func(_, v *string, emit func(*string)) { emit(v) }, stream.Named("a-flat-map-values")).
			SelectKey(sameKey, stream.Named("a-select-key")).
			Peek(func(_, _ *string) {}, stream.Named("a-peek"))
		split := one.Merge(plainStr(b, "in2", stream.Named("source-two")), stream.Named("a-merge")).
			Repartition(stream.Named("a-repartition")).
			Split(stream.Named("a-split-"))
		long := split.Branch(longer(5), stream.Named("long"))
		split.Branch(func(_, v *string) bool { return length(v) < 0 })
		short := split.Default(stream.Named("short"))
		short.To("out", stream.Named("a-sink"))
		long.ForEach(func(_, _ *string) {}, stream.Named("a-foreach"))
		long.To("hot", stream.Named("hot-sink"))
	}),
	t("names-aggregate", io(in("in", STR), out("o1", I64), out("o2", I64), out("o3", I64), out("o4", I64), out("o5", I64)), func(b *stream.Builder) {
		s := plainStr(b, "in", stream.Named("the-source"))
		k := s.SelectKey(byFirst, stream.Named("the-key"))
		k.GroupByKey().Count(stream.Named("only-named")).ToStream(stream.Named("s1")).To("o1", SN...)
		k.GroupByKey(stream.Named("only-grouped")).Count().ToStream().To("o2", SN...)
		k.GroupByKey().Count(stream.As("only-store")).ToStream().To("o3", SN...)
		k.GroupByKey(stream.Named("g4")).Count(stream.Named("n4"), stream.As("m4")).ToStream().To("o4", SN...)
		s.GroupBy(func(_, v *string) *string { return v }, stream.Named("g5")).Count(stream.Named("n5")).ToStream().To("o5", SN...)
	}),
	t("names-table", io(in("in", STR), out("o1", STR), out("o2", STR), out("o3", I64), out("o4", STR)), func(b *stream.Builder) {
		table := b.Table(stream.Topic[*string, *string]("in"), stream.Named("table-source"), stream.As("table-store"))
		table.Filter(longer(1), stream.Named("t-filter")).MapValues(shout, stream.Named("t-map"), stream.As("mapped-store")).
			ToStream(stream.Named("t-stream")).To("o1")
		table.FilterNot(longer(1), stream.Named("t-filter-not"), stream.As("filtered-store")).
			ToStream(stream.Named("t-stream-key")).SelectKey(func(k, _ *string) *string { return new(*k + *k) }).To("o2")
		table.GroupBy(underFirst, stream.Named("t-grouped")).Count(stream.Named("t-count")).ToStream().To("o3", SN...)
		table.GroupBy(underFirst).Reduce(lists, func(x, _ *string) *string { return x }, stream.Named("t-reduce"), stream.As("reduced-store")).
			ToStream().To("o4")
	}),
	t("names-windowed", io(in("in", STR), out("o1", I64), out("o2", I64), out("o3", I64), out("o4", I64)), func(b *stream.Builder) {
		g := plainStr(b, "in").GroupByKey(GS...)
		stream.Tumbling(ms(50)).Over(g).Count(stream.Named("tumble")).Suppress(stream.UntilWindowCloses(), stream.Named("hold")).
			ToStream(stream.Named("flat")).SelectKey(flat[int64]).To("o1", SN...)
		stream.Tumbling(ms(50)).Over(g).Count(kv("tumbled", N)...).Suppress(stream.UntilWindowCloses()).
			ToStream().SelectKey(flat[int64]).To("o2", SN...)
		sessionsOf(30, 0).Over(g).Aggregate(none, counted, added, stream.Named("session-count")).
			ToStream().SelectKey(flat[*int64]).To("o3", SL...)
		slid(30, 0).Over(g).Count(kv("slid", N, stream.Named("sliding-count"))...).ToStream().SelectKey(flat[int64]).To("o4", SN...)
	}),
	t("names-cogroup", io(in("in1", STR), in("in2", STR), out("o1", STR), out("o2", STR)), func(b *stream.Builder) {
		a, c := str(b, "in1").SelectKey(byFirst), str(b, "in2")
		a.GroupByKey(GS...).Cogroup(appended).Cogroup(c.GroupByKey(GS...), appended).
			Aggregate(nothing, kv("", S, stream.Named("co"))...).ToStream().To("o1", SS...)
		stream.Tumbling(ms(50)).OverCogrouped(a.GroupByKey(append([]stream.Grouped{stream.Named("g")}, GS...)...).Cogroup(appended)).
			Aggregate(nothing, kv("co-store", S, stream.Named("co-windowed"))...).ToStream().SelectKey(flat[*string]).To("o2", SS...)
	}),
	t("names-stream-joins", io(in("left", STR), in("right", STR), out("o1", STR), out("o2", STR), out("o3", STR), out("o4", STR)), func(b *stream.Builder) {
		l, r, w := str(b, "left"), str(b, "right"), within(10, 10)
		l.LeftJoin(r, w, joinLeft, streamJoin()...).To("o1", SS...)
		l.LeftJoin(r, w, joinLeft, streamJoin(stream.Named("named"))...).To("o2", SS...)
		l.OuterJoin(r, w, joinOuter, streamJoin(stream.As("stored"))...).To("o3", SS...)
		l.SelectKey(sameKey).OuterJoin(r, w, joinOuter, streamJoin(stream.Named("both"), stream.As("both-store"))...).To("o4", SS...)
	}),
	t("names-joins", io(in("s", STR), in("t", STR), in("u", STR), in("g", STR), out("o1", STR), out("o2", STR), out("o3", STR), out("o4", STR)), func(b *stream.Builder) {
		s := plainStr(b, "s", stream.Named("s-source"))
		t := b.Table(stream.Topic[*string, *string]("t"), stream.Named("t-source"))
		u := b.Table(stream.Topic[*string, *string]("u"), stream.Named("u-source"), stream.As("u-store"))
		g := b.GlobalTable(stream.Topic[*string, *string]("g"), stream.Named("g-source"), stream.As("g-store"))
		s.SelectKey(byFirst).JoinTable(t, meet, stream.Named("s-t")).To("o1")
		s.LeftJoinGlobal(g, func(k, _ *string) (*string, bool) { return k, k != nil }, meetOrNot, stream.Named("s-g")).To("o2")
		t.Join(u, meet, stream.Named("t-u")).ToStream().To("o3")
		t.LeftJoinForeign(u, initial, meetOrNot, stream.Named("t-fk-u"), stream.As("fk-store")).ToStream().To("o4")
	}),
	t("names-processors", io(in("in", STR), in("in2", STR), out("o1", STR), out("o2", I64)), func(b *stream.Builder) {
		h := counts()
		str(b, "in").Process(proc(nil, pass), stream.Named("first-step")).
			Process(counter(h, 40, stream.StreamTime), stream.Named("second-step"), stream.Uses(h)).
			To("o2", append([]stream.Produced{stream.Named("counts-sink")}, SL...)...)
		str(b, "in2").Process(proc(nil, pass)).Repartition(stream.Named("again"), stream.Partitions(3)).To("o1", SS...)
	}),
)

var _ = family("optimized",
	t("opt-merge-repartition", io(in("in", STR), out("counts", I64), out("lists", STR), outKeyed("windows", windowed(50), I64)), func(b *stream.Builder) {
		s := str(b, "in").SelectKey(byFirst)
		s.GroupByKey(GS...).Count().ToStream().To("counts", SN...)
		s.GroupByKey(GS...).Reduce(lists).ToStream().To("lists", SS...)
		tumbling(50, 50).Over(s.Filter(longer(1)).GroupByKey(GS...)).Count().ToStream().To("windows", wins(50, N)...)
	}).optimize("all"),
	t("opt-merge-repartition-join", io(in("in", STR), in("other", STR), out("joined", STR), out("counts", I64)), func(b *stream.Builder) {
		s := str(b, "in").Map(func(k, v *string) (*string, *string) { return first(v), new(written(k) + written(v)) })
		s.GroupByKey(GS...).Count(kv("counts", N)...).ToStream().To("counts", SN...)
		s.Join(str(b, "other"), within(20, 20), joinInner, streamJoin()...).To("joined", SS...)
	}).optimize("all"),
	t("opt-kitchen-sink", io(in("in", STR), in("table", STR), out("o1", STR), out("o2", I64), out("o3", STR), out("o4", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		s.JoinTable(strTableOf(b, "table"), meet, with(S, S)...).To("o1", SS...)
		k := s.SelectKey(byFirst)
		k.GroupByKey(GS...).Count().ToStream().To("o2", SN...)
		k.MapValues(shout).GroupByKey(GS...).Reduce(lists).ToStream().To("o3", SS...)
		s.Join(s, within(10, 0), joinInner, streamJoin()...).To("o4", SS...)
	}).optimize("all"),
	t("opt-reuse-source", io(in("left", STR), in("right", STR), out("out", STR)), func(b *stream.Builder) {
		strTableOf(b, "left", stream.As("l")).LeftJoin(strTableOf(b, "right"), meetOrNot).ToStream().To("out", SS...)
	}).optimize("reuse.ktable.source.topics"),
)
