package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// slid are sliding windows with a grace period. Java's sliding.
func slid(difference, grace int64) stream.TimeWindows {
	return stream.Sliding(ms(difference)).Grace(ms(grace))
}

var _ = family("window-sliding",
	t("sliding-count", strToWin(40, I64), countOver(slid(40, 50), 40)),
	t("sliding-count-one-key", strToWin(10, I64), countOver(slid(10, 100), 10)),
	t("sliding-reduce", numToWin(40, I64), func(b *stream.Builder) {
		numOver(b, slid(40, 50)).Reduce(summed, kv("sums", L)...).ToStream().To("out", wins(40, L)...)
	}),
	t("sliding-aggregate", strToWin(40, STR), func(b *stream.Builder) {
		strOver(b, slid(40, 50)).Aggregate(func() *string { return new("") }, appended, kv("lists", S)...).ToStream().To("out", wins(40, S)...)
	}),
	t("sliding-no-grace", strToWin(40, I64), func(b *stream.Builder) {
		strOver(b, stream.Sliding(ms(40))).Count().ToStream().To("out", wins(40, N)...)
	}),
	t("sliding-in-memory", strToWin(40, STR), func(b *stream.Builder) {
		lists := state.Window[*string, *string]("lists", ms(40), ms(130), state.InMemory(), state.KeySerde(S), state.ValueSerde(S))
		strOver(b, slid(40, 50)).Aggregate(func() *string { return new("") }, appended, stream.Into(lists)).ToStream().To("out", wins(40, S)...)
	}),
	t("sliding-cached", strToWin(40, I64), countOver(slid(40, 50), 40)).cached(),
)
