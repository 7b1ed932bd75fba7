package conformance_test

import "github.com/millrun/millrun/stream"

// Windows together with what else there is.

// Counts whose result can be null, as Java's are: where an operator behind is to see that.
func none() *int64                          { return new(int64(0)) }
func counted(_, _ *string, n *int64) *int64 { return new(*n + 1) }
func added(_ *string, a, b *int64) *int64   { return new(*a + *b) }

var _ = family("join-table-table",
	t("tt-windowed", twoIn(outKeyed("out", windowed(50), STR)), func(b *stream.Builder) {
		count := func(topic, store string) stream.KTable[winKey, int64] {
			return tumbling(50, 30).Over(str(b, topic).GroupByKey(GS...)).Count(kv(store, N)...)
		}
		count("in1", "c1").Join(count("in2", "c2"), func(_ winKey, x, y int64) *string { return pair(x, y) }).ToStream().To("out", wins(50, S)...)
	}),
)
