package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
)

// with are the serdes of a stream-table join: key, stream, table.
func with[V, V2 any](v serde.Serde[V], o serde.Serde[V2], more ...stream.Joined) []stream.Joined {
	return append([]stream.Joined{stream.KeySerde(S), stream.ValueSerde(v), stream.OtherSerde(o)}, more...)
}

var streamAndTable = io(in("stream", STR), in("table", STR), out("out", STR))

// unlessNull is the first character of a value, null for null.
func unlessNull(_, v *string) *string {
	if v == nil {
		return nil
	}
	return first(v)
}

var _ = family("join-stream-table",
	t("st-inner", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream")
		s.JoinTable(strTableOf(b, "table"), both, with(S, S)...).To("out", SS...)
	}),
	t("st-left", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream")
		s.LeftJoinTable(strTableOf(b, "table"), orLeft, with(S, S)...).To("out", SS...)
	}),
	t("st-left-key", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream")
		s.LeftJoinTable(strTableOf(b, "table", stream.As("t")), func(k, x, y *string, _ bool) *string {
			return new(written(k) + ":" + written(pair(x, y)))
		}, with(S, S, stream.Named("lookup"))...).To("out", SS...)
	}),
	t("st-inner-repartition", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream").SelectKey(unlessNull)
		s.JoinTable(strTableOf(b, "table"), both, with(S, S)...).To("out", SS...)
	}),
	t("st-left-repartition-named", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream").SelectKey(unlessNull)
		s.LeftJoinTable(strTableOf(b, "table"), orLeft, with(S, S, stream.Named("lookup"))...).To("out", SS...)
	}),
	t("st-inner-filtered-table", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream")
		table := strTableOf(b, "table").Filter(longer(1)).
			MapValues(func(k, v *string) *string { return new(*k + *upper(v)) })
		s.JoinTable(table, both, with(S, S)...).To("out", SS...)
	}),
	t("st-inner-aggregate", strToStr, func(b *stream.Builder) {
		s := str(b, "in")
		s.JoinTable(s.GroupByKey(GS...).Count(kv("counts", N)...), numbered, with(S, N)...).To("out", SS...)
	}),
)

// numbered writes a number behind a text.
func numbered(_, v *string, n int64) *string { return new(written(v) + "#" + written(new(n))) }
