package conformance_test

import (
	"strconv"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
)

// winKey is the key of a windowed table.
type winKey = stream.Windowed[*string]

// wins are the options of a sink whose keys are in time windows of this size. Java's windowed.
func wins[V any](size int64, v serde.Serde[V]) []stream.Produced {
	return []stream.Produced{stream.KeySerde(stream.TimeWindowedSerde(S, ms(size))), stream.ValueSerde(v)}
}

// sess are the options of a sink whose keys are in sessions. Java's session.
func sess[V any](v serde.Serde[V]) []stream.Produced {
	return []stream.Produced{stream.KeySerde(stream.SessionWindowedSerde(S)), stream.ValueSerde(v)}
}

// flat is the key of a windowed record as text: key@start-end.
func flat[V any](w winKey, _ V) *string {
	return new(written(w.Key) + "@" + strconv.FormatInt(w.Window.StartMs, 10) + "-" + strconv.FormatInt(w.Window.EndMs, 10))
}

// tumbling are tumbling windows with a grace period.
func tumbling(size, grace int64) stream.TimeWindows {
	return stream.Tumbling(ms(size)).Grace(ms(grace))
}

// hopping are hopping windows with a grace period.
func hopping(size, advance, grace int64) stream.TimeWindows {
	return stream.Hopping(ms(size), ms(advance)).Grace(ms(grace))
}

// strToWin are topics of strings in and of windowed keys out.
func strToWin(size int64, v format) topics {
	return io(in("in", STR), outKeyed("out", windowed(size), v))
}

// numToWin are topics of numbers in and of windowed keys out.
func numToWin(size int64, v format) topics {
	return io(in("in", I64), outKeyed("out", windowed(size), v))
}

// listed is cat as a reducer of strings.
func listed(x, y *string) *string { return cat(x, y) }

// appended is cat as an aggregator.
func appended(_, v, a *string) *string { return cat(a, v) }

// summed adds a number, 0 for null.
func summed(x, y *int64) *int64 { return new(*x + nz(y)) }

// strOver groups the strings of a topic over windows.
func strOver(b *stream.Builder, w stream.TimeWindows) stream.TimeWindowedKStream[*string, *string] {
	return w.Over(str(b, "in").GroupByKey(GS...))
}

// numOver groups the numbers of a topic over windows.
func numOver(b *stream.Builder, w stream.TimeWindows) stream.TimeWindowedKStream[*string, *int64] {
	return w.Over(num(b, "in").GroupByKey(GL...))
}

// countOver counts strings over windows, in the store counts.
func countOver(w stream.TimeWindows, size int64, more ...stream.Materialized) func(*stream.Builder) {
	return func(b *stream.Builder) {
		strOver(b, w).Count(kv("counts", N, more...)...).ToStream().To("out", wins(size, N)...)
	}
}

var _ = family("window-time",
	t("tumbling-count", strToWin(50, I64), countOver(stream.Tumbling(ms(50)), 50)),
	t("tumbling-count-grace", strToWin(50, I64), countOver(tumbling(50, 40), 50)),
	t("tumbling-count-plain", strToNum, func(b *stream.Builder) {
		strOver(b, stream.Tumbling(ms(50))).Count().ToStream().SelectKey(flat[int64]).To("out", SN...)
	}),
	t("tumbling-count-in-memory", strToWin(50, I64), func(b *stream.Builder) {
		counts := state.Window[*string, int64]("counts", ms(50), ms(90), state.InMemory(), state.KeySerde(S), state.ValueSerde(N))
		strOver(b, tumbling(50, 40)).Count(stream.Into(counts)).ToStream().To("out", wins(50, N)...)
	}),
	t("tumbling-count-retention", strToWin(50, I64), countOver(tumbling(50, 40), 50, state.Retention(ms(500)))),
	t("tumbling-count-cached", strToWin(50, I64), countOver(tumbling(50, 40), 50)).cached(),
	t("tumbling-reduce", strToWin(50, STR), func(b *stream.Builder) {
		strOver(b, tumbling(50, 40)).Reduce(listed, kv("lists", S)...).ToStream().To("out", wins(50, S)...)
	}),
	t("tumbling-reduce-null", numToWin(50, I64), func(b *stream.Builder) {
		numOver(b, tumbling(50, 40)).Reduce(func(x, y *int64) *int64 {
			if *x+nz(y) > 25 {
				return nil
			}
			return summed(x, y)
		}, kv("sums", L)...).ToStream().To("out", wins(50, L)...)
	}),
	t("tumbling-aggregate", strToWin(50, STR), func(b *stream.Builder) {
		strOver(b, tumbling(50, 40)).Aggregate(func() *string { return new("^") }, appended, kv("lists", S)...).ToStream().To("out", wins(50, S)...)
	}),
	t("tumbling-group-by", strToWin(50, I64), func(b *stream.Builder) {
		tumbling(50, 40).Over(str(b, "in").GroupBy(func(_, v *string) *string { return first(v) }, GS...)).
			Count(kv("counts", N)...).ToStream().To("out", wins(50, N)...)
	}),
	t("tumbling-long", strToWin(3_600_000, I64), countOver(tumbling(3_600_000, 600_000), 3_600_000)),
	t("tumbling-two-sizes", io(in("in", STR), outKeyed("small", windowed(20), I64), outKeyed("large", windowed(100), I64)), func(b *stream.Builder) {
		g := str(b, "in").GroupByKey(GS...)
		tumbling(20, 30).Over(g).Count(kv("small-counts", N)...).ToStream().To("small", wins(20, N)...)
		stream.Tumbling(ms(100)).Over(g).Count(kv("large-counts", N)...).ToStream().To("large", wins(100, N)...)
	}),
	t("hopping-count", strToWin(60, I64), countOver(hopping(60, 20, 30), 60)),
	t("hopping-count-uneven", strToWin(50, I64), countOver(hopping(50, 30, 10), 50)),
	t("hopping-reduce", numToWin(60, I64), func(b *stream.Builder) {
		numOver(b, hopping(60, 20, 30)).Reduce(summed, kv("sums", L)...).ToStream().To("out", wins(60, L)...)
	}),
	t("hopping-aggregate", numToWin(60, JSON), func(b *stream.Builder) {
		numOver(b, hopping(60, 30, 0)).Aggregate(func() *object { return obj().put("n", 0).put("sum", 0) }, func(_ *string, v *int64, a *object) *object {
			return obj().put("n", whole(a, "n")+1).put("sum", whole(a, "sum")+nz(v))
		}, kv("averages", J)...).ToStream().To("out", wins(60, J)...)
	}),
	t("hopping-count-cached", strToWin(60, I64), countOver(hopping(60, 20, 30), 60)).cached(),
	t("unlimited-count", strToNum, func(b *stream.Builder) {
		strOver(b, stream.Unlimited(time.UnixMilli(100))).Count(kv("counts", N)...).ToStream().
			SelectKey(func(w winKey, _ int64) *string {
				return new(written(w.Key) + "@" + strconv.FormatInt(w.Window.StartMs, 10))
			}).To("out", SN...)
	}),
)
