package conformance_test

import (
	"strings"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
)

// joined are the options of a foreign-key join: its serdes, and its store if it has a name. Java's kv.
func joined[V any](name string, v serde.Serde[V], more ...stream.TableJoined) []stream.TableJoined {
	out := append([]stream.TableJoined{stream.KeySerde(S), stream.ValueSerde(v)}, more...)
	if name != "" {
		out = append(out, stream.As(name))
	}
	return out
}

// The extractors.

func initial(_, v *string) (*string, bool) { return first(v), true }

func initialUnlessEmpty(_, v *string) (*string, bool) { return first(v), *v != "" }

// The joiners.

func both(_, x, y *string) *string { return pair(x, y) }

func bothOrOne(_, x, y *string, _ bool) *string { return pair(x, y) }

var twoTables = io(in("left", STR), in("right", STR), out("out", STR))

var _ = family("join-foreign-key",
	t("fk-inner", twoTables, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, both, joined("", S)...).ToStream().To("out", SS...)
	}),
	t("fk-left", twoTables, func(b *stream.Builder) {
		strTableOf(b, "left").LeftJoinForeign(strTableOf(b, "right"), initial, bothOrOne, joined("", S)...).ToStream().To("out", SS...)
	}),
	t("fk-inner-null", twoTables, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initialUnlessEmpty, both, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-left-null", twoTables, func(b *stream.Builder) {
		strTableOf(b, "left").LeftJoinForeign(strTableOf(b, "right"), initialUnlessEmpty, bothOrOne, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-inner-key", twoTables, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), func(k, v *string) (*string, bool) {
			if *k < "l3" {
				return new("a"), true
			}
			return first(v), true
		}, both, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-inner-named", twoTables, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, both, joined("joined", S, stream.Named("meet"))...).ToStream().To("out", SS...)
	}),
	t("fk-left-stores", twoTables, func(b *stream.Builder) {
		strTableOf(b, "left", stream.As("lefts")).LeftJoinForeign(strTableOf(b, "right", stream.As("rights")), initial, bothOrOne, joined("joined", S)...).
			ToStream().To("out", SS...)
	}),
	t("fk-inner-cached", twoTables, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, both, joined("joined", S)...).ToStream().To("out", SS...)
	}).cached(),
	t("fk-inner-late", twoTables, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, both, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-inner-mapped", twoTables, func(b *stream.Builder) {
		right := func() strTable {
			return strTableOf(b, "right").MapValues(func(_, v *string) *string { return upper(v) })
		}
		strTableOf(b, "left").Filter(func(_, v *string) bool { return !strings.HasSuffix(*v, "2") }).
			JoinForeign(right(), initial, both, joined("", S)...).ToStream().To("out", SS...)
	}),
	t("fk-chain", io(in("left", STR), in("right", STR), in("third", STR), out("out", STR)), func(b *stream.Builder) {
		one := strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, func(_, x, y *string) *string { return new(*y + *x) }, joined("one", S)...)
		one.LeftJoinForeign(strTableOf(b, "third"), initial, bothOrOne, joined("two", S)...).ToStream().To("out", SS...)
	}),
	t("fk-self", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		in := strTableOf(b, "in")
		in.LeftJoinForeign(in, func(_, v *string) (*string, bool) { return v, true }, bothOrOne, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-json", io(in("orders", JSON), in("customers", JSON), out("out", JSON)), func(b *stream.Builder) {
		jsonTableOf(b, "orders").LeftJoinForeign(jsonTableOf(b, "customers"),
			func(_ *string, v *object) (*string, bool) { return text(v, "customer"), true },
			func(_ *string, o, c *object, _ bool) *object {
				return obj().put("amount", whole(o, "amount")).put("city", text(c, "city"))
			}, joined("joined", J)...).ToStream().To("out", SJ...)
	}),
)
