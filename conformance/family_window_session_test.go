package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// strToSession are topics of strings in and of session keys out.
func strToSession(v format) topics { return io(in("in", STR), outKeyed("out", session(), v)) }

// inSessions groups the strings of a topic over sessions.
func inSessions(b *stream.Builder, gap, grace int64) stream.SessionWindowedKStream[*string, *string] {
	return stream.Session(ms(gap)).Grace(ms(grace)).Over(str(b, "in").GroupByKey(GS...))
}

// sessionCounts counts strings over sessions, in the store counts.
func sessionCounts(gap, grace int64) func(*stream.Builder) {
	return func(b *stream.Builder) {
		inSessions(b, gap, grace).Count(kv("counts", N)...).ToStream().To("out", sess(N)...)
	}
}

// paired is pair as a merger.
func paired(_, x, y *string) *string { return pair(x, y) }

var _ = family("window-session",
	t("session-count", strToSession(I64), sessionCounts(30, 50)),
	t("session-count-no-grace", strToSession(I64), sessionCounts(30, 0)),
	t("session-count-plain", strToNum, func(b *stream.Builder) {
		stream.Session(ms(30)).Grace(ms(50)).Over(str(b, "in").GroupBy(func(_, v *string) *string { return first(v) }, GS...)).
			Aggregate(none, counted, added).ToStream().SelectKey(flat[*int64]).To("out", SL...)
	}),
	t("session-reduce", strToSession(STR), func(b *stream.Builder) {
		inSessions(b, 30, 50).Reduce(listed, kv("lists", S)...).ToStream().To("out", sess(S)...)
	}),
	t("session-aggregate", strToSession(STR), func(b *stream.Builder) {
		inSessions(b, 30, 50).Aggregate(func() *string { return new("^") }, appended, paired, kv("lists", S)...).ToStream().To("out", sess(S)...)
	}),
	t("session-in-memory", strToSession(I64), func(b *stream.Builder) {
		counts := state.Session[*string, int64]("counts", ms(80), state.InMemory(), state.KeySerde(S), state.ValueSerde(N))
		inSessions(b, 30, 50).Count(stream.Into(counts)).ToStream().To("out", sess(N)...)
	}),
	t("session-cached", strToSession(I64), sessionCounts(30, 50)).cached(),
	t("session-one-key", strToSession(STR), func(b *stream.Builder) {
		inSessions(b, 12, 300).Reduce(listed, kv("lists", S)...).ToStream().To("out", sess(S)...)
	}),
)
