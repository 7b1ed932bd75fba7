package conformance_test

import (
	"fmt"
	"math"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// Versioned stores of texts, as the topologies name them.
type versionedHandle = state.Handle[state.VersionedStore[*string, *string], state.ReadOnlyVersionedStore[*string, *string]]

// remembering is a versioned store with a history of some milliseconds.
func remembering(name string, history int64) versionedHandle {
	return state.Versioned[*string, *string](name, ms(history), state.KeySerde(S), state.ValueSerde(S))
}

// versioned is one with a history of 100.
func versioned(name string) stream.StoreOption { return stream.Into(remembering(name, 100)) }

// versionedTable is a table kept in it.
func versionedTable(b *stream.Builder, topic, store string) strTable {
	return strTableOf(b, topic, versioned(store))
}

// underInitial groups a table by the first character of its values.
func underInitial(_, v *string) (*string, *string) { return first(v), v }

// shownVersion is a version as the processor of versioned-processor writes it.
func shownVersion(v state.Version[*string], ok bool) string {
	if !ok {
		return "null"
	}
	return fmt.Sprintf("%s@%d", *v.Value, v.From.UnixMilli())
}

// versionedProcessor puts each value, and tells where it ends, what was there 20 ms before and what is there now.
func versionedProcessor(b *stream.Builder) {
	v := remembering("v", 100)
	body := func(c *processing[*string], r strRecord) error {
		store := c.Store(v)
		to, stored, err := store.PutUntil(r.Key, r.Value, r.Timestamp)
		if err != nil {
			return err
		}
		validTo := int64(-1)
		switch {
		case !stored:
			validTo = math.MinInt64
		case !to.IsZero():
			validTo = to.UnixMilli()
		}
		before, wasThere, err := store.GetAsOf(r.Key, r.Timestamp.Add(-ms(20)))
		if err != nil {
			return err
		}
		now, isThere, err := store.Get(r.Key)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%d/%s/%s", validTo, shownVersion(before, wasThere), shownVersion(now, isThere))
		return c.Forward(r.WithValue(&text))
	}
	str(b, "in").Process(proc(nil, body), stream.Uses(v)).To("out", SS...)
}

var _ = family("versioned",
	t("versioned-source", strToStr, func(b *stream.Builder) {
		versionedTable(b, "in", "v").ToStream().To("out", SS...)
	}),
	t("versioned-filter", strToStr, func(b *stream.Builder) {
		versionedTable(b, "in", "v").Filter(longer(2)).ToStream().To("out", SS...)
	}),
	t("versioned-filter-materialized", strToStr, func(b *stream.Builder) {
		versionedTable(b, "in", "v").Filter(longer(2), versioned("f")).ToStream().To("out", SS...)
	}),
	t("versioned-map-values", strToStr, func(b *stream.Builder) {
		versionedTable(b, "in", "v").MapValues(shout, kv("m", S)...).ToStream().To("out", SS...)
	}),
	t("versioned-reduce", strToStr, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Reduce(lists, versioned("lists")).ToStream().To("out", SS...)
	}),
	t("versioned-aggregate", strToStr, func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Aggregate(empty, append1, versioned("lists")).ToStream().To("out", SS...)
	}),
	t("versioned-group-count", strToNum, func(b *stream.Builder) {
		versionedTable(b, "in", "v").GroupBy(underInitial, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("unversioned-group-count", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("v")).GroupBy(underInitial, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("versioned-table-aggregate", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").GroupBy(underInitial, GS...).Aggregate(empty, append1, remove1, versioned("lists")).ToStream().To("out", SS...)
	}),
	t("versioned-segment-interval", strToStr, func(b *stream.Builder) { // segments are Kafka Streams' own affair: no answer depends on them
		unlist := func(list, v *string) *string { return drop(new(","+written(list)), v) }
		versionedTable(b, "in", "v").GroupBy(underInitial, GS...).Reduce(lists, unlist, kv("lists", S)...).ToStream().To("out", SS...)
	}),
	t("versioned-join", twoTables, func(b *stream.Builder) {
		left := versionedTable(b, "left", "l")
		left.Join(versionedTable(b, "right", "r"), both).ToStream().To("out", SS...)
	}),
	t("versioned-left-join-one", twoTables, func(b *stream.Builder) {
		left := versionedTable(b, "left", "l")
		left.LeftJoin(strTableOf(b, "right"), orLeft).ToStream().To("out", SS...)
	}),
	t("versioned-outer-join-materialized", twoTables, func(b *stream.Builder) {
		left := versionedTable(b, "left", "l")
		left.OuterJoin(versionedTable(b, "right", "r"), either, versioned("j")).ToStream().To("out", SS...)
	}),
	t("versioned-foreign-key", twoTables, func(b *stream.Builder) {
		left := versionedTable(b, "left", "l")
		left.JoinForeign(versionedTable(b, "right", "r"), initial, both, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("versioned-to-table", strToStr, func(b *stream.Builder) {
		str(b, "in").ToTable(versioned("v")).ToStream().To("out", SS...)
	}),
	t("versioned-processor", strToStr, versionedProcessor),
	t("versioned-long", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.Into(remembering("v", 600_000))).ToStream().To("out", SS...)
	}),
)
