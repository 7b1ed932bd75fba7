package conformance_test

import "github.com/millrun/millrun/stream"

// waiting are the options of a join named lookup that waits.
func waiting(grace int64) []stream.Joined {
	return with(S, S, stream.Named("lookup"), stream.GracePeriod(ms(grace)))
}

var _ = family("join-stream-table",
	t("st-grace", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream")
		s.JoinTable(versionedTable(b, "table", "t"), both, waiting(30)...).To("out", SS...)
	}),
	t("st-left-grace", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream")
		s.LeftJoinTable(versionedTable(b, "table", "t"), orLeft, waiting(30)...).To("out", SS...)
	}),
	t("st-grace-zero", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream")
		s.LeftJoinTable(versionedTable(b, "table", "t"), orLeft, waiting(0)...).To("out", SS...)
	}),
	t("st-versioned", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream")
		s.JoinTable(versionedTable(b, "table", "t"), both, with(S, S)...).To("out", SS...)
	}),
	t("st-versioned-mapped", streamAndTable, func(b *stream.Builder) {
		s := str(b, "stream")
		s.LeftJoinTable(versionedTable(b, "table", "t").MapValues(shout), orLeft, with(S, S)...).To("out", SS...)
	}),
)
