package conformance_test

import (
	"strings"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// Windows together with what else there is.

// Counts whose result can be null, as Java's are: where an operator behind is to see that.
func none() *int64                          { return new(int64(0)) }
func counted(_, _ *string, n *int64) *int64 { return new(*n + 1) }
func added(_ *string, a, b *int64) *int64   { return new(*a + *b) }

// lettersOver counts the characters of each key in windows.
func lettersIn(b *stream.Builder, w stream.TimeWindows) stream.KTable[winKey, int64] {
	return w.Over(letters(str(b, "in")).GroupByKey(GS...)).Count(kv("counts", N)...)
}

var _ = family("in-memory-default",
	t("mem-tumbling", strToWin(50, I64), countOver(tumbling(50, 40), 50)).memory(),
	t("mem-sliding", strToWin(40, I64), countOver(slid(40, 50), 40)).memory(),
	t("mem-session", strToSession(I64), sessionCounts(30, 50)).memory(),
	t("mem-tumbling-final", strToWin(50, I64), finalCounts(tumbling(50, 20), 50)).memory(),
	t("mem-session-final", strToSession(I64), func(b *stream.Builder) {
		inSessions(b, 30, 20).Emit(stream.OnClose).Count(kv("counts", N, state.Retention(ms(500)))...).ToStream().To("out", sess(N)...)
	}).memory(),
)

var _ = family("cache",
	t("cache-hopping-flat", strToWin(60, I64), func(b *stream.Builder) {
		lettersIn(b, hopping(60, 20, 30)).ToStream().To("out", wins(60, N)...)
	}).cached(),
	t("cache-session-flat", strToSession(I64), func(b *stream.Builder) {
		stream.Session(ms(30)).Grace(ms(50)).Over(letters(str(b, "in")).GroupByKey(GS...)).Count(kv("counts", N)...).ToStream().To("out", sess(N)...)
	}).cached(),
	t("cache-tumbling-final", strToWin(50, I64), finalCounts(tumbling(50, 20), 50)).cached(),
)

var _ = family("mixed",
	t("word-count-windowed", io(in("lines", STR), out("counts", STR)), func(b *stream.Builder) {
		tumbling(50, 10).Over(wordsOf(b).GroupBy(func(_, w *string) *string { return w }, GS...)).
			Count(kv("words", N)...).Suppress(finals()).ToStream().
			Map(func(w winKey, n int64) (*string, *string) {
				return first(w.Key), new(written(n) + ":" + written(flat(w, n)))
			}).
			GroupByKey(GS...).Reduce(func(x, y *string) *string {
			if strings.Compare(*x, *y) >= 0 {
				return x
			}
			return y
		}, kv("top", S)...).ToStream().To("counts", SS...)
	}),
	t("window-suppress-join", io(in("in", STR), in("names", STR), out("out", STR)), func(b *stream.Builder) {
		strOver(b, tumbling(40, 10)).Count(kv("counts", N)...).Suppress(finals()).ToStream().
			SelectKey(func(w winKey, _ int64) *string { return w.Key }).
			LeftJoinTable(strTableOf(b, "names"), func(_ *string, n int64, name *string, _ bool) *string {
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
		strOver(b, tumbling(30, 30)).Aggregate(none, counted, kv("counts", L)...).
			GroupBy(func(w winKey, n *int64) (*string, *int64) { return new("w" + written(&w.Window.StartMs)), n }, GL...).
			Reduce(sum, minus, kv("sums", L)...).ToStream().To("out", SL...)
	}),
	t("sessions-of-joined", io(in("in", STR), in("groups", STR), outKeyed("out", session(), I64)), func(b *stream.Builder) {
		groups := str(b, "in").JoinTable(strTableOf(b, "groups"), func(_, _, g *string) *string { return g }, with(S, S)...).
			GroupBy(func(_, g *string) *string { return g }, GS...)
		stream.Session(ms(20)).Grace(ms(40)).Over(groups).Count(kv("counts", N)...).ToStream().To("out", sess(N)...)
	}),
)

var _ = family("join-table-table",
	t("tt-windowed", twoIn(outKeyed("out", windowed(50), STR)), func(b *stream.Builder) {
		count := func(topic, store string) stream.KTable[winKey, int64] {
			return tumbling(50, 30).Over(str(b, topic).GroupByKey(GS...)).Count(kv(store, N)...)
		}
		count("in1", "c1").Join(count("in2", "c2"), func(_ winKey, x, y int64) *string { return pair(x, y) }).ToStream().To("out", wins(50, S)...)
	}),
)

var _ = family("names",
	t("names-windowed", io(in("in", STR), out("o1", I64), out("o2", I64), out("o3", I64), out("o4", I64)), func(b *stream.Builder) {
		g := str(b, "in").GroupByKey(GS...)
		fifty := stream.Tumbling(ms(50)).Over(g)
		fifty.Count(stream.Named("tumble")).Suppress(finals(), stream.Named("hold")).ToStream(stream.Named("flat")).SelectKey(flat[int64]).To("o1", SN...)
		fifty.Count(kv("tumbled", N)...).Suppress(finals()).ToStream().SelectKey(flat[int64]).To("o2", SN...)
		stream.Session(ms(30)).Over(g).Aggregate(none, counted, added, stream.Named("session-count")).ToStream().SelectKey(flat[*int64]).To("o3", SL...)
		stream.Sliding(ms(30)).Over(g).Count(kv("slid", N, stream.Named("sliding-count"))...).ToStream().SelectKey(flat[int64]).To("o4", SN...)
	}),
	t("names-cogroup", twoIn(out("o1", STR), out("o2", STR)), func(b *stream.Builder) {
		a, c := str(b, "in1").SelectKey(byFirst), str(b, "in2")
		a.GroupByKey(GS...).Cogroup(appended).Cogroup(c.GroupByKey(GS...), appended).
			Aggregate(nothing, kv("", S, stream.Named("co"))...).ToStream().To("o1", SS...)
		g := a.GroupByKey(append([]stream.Grouped{stream.Named("g")}, GS...)...).Cogroup(appended)
		stream.Tumbling(ms(50)).OverCogrouped(g).Aggregate(nothing, kv("co-store", S, stream.Named("co-windowed"))...).
			ToStream().SelectKey(flat[*string]).To("o2", SS...)
	}),
)
