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

func meet(_, x, y *string) *string { return pair(x, y) }

func meetOrNot(_, x, y *string, _ bool) *string { return pair(x, y) }

var twoMeet = io(in("left", STR), in("right", STR), out("out", STR))

var _ = family("join-foreign-key",
	t("fk-inner", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, meet, joined("", S)...).ToStream().To("out", SS...)
	}),
	t("fk-left", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left").LeftJoinForeign(strTableOf(b, "right"), initial, meetOrNot, joined("", S)...).ToStream().To("out", SS...)
	}),
	t("fk-inner-null", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initialUnlessEmpty, meet, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-left-null", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left").LeftJoinForeign(strTableOf(b, "right"), initialUnlessEmpty, meetOrNot, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-inner-key", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), func(k, v *string) (*string, bool) {
			if *k < "l3" {
				return new("a"), true
			}
			return first(v), true
		}, meet, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-inner-named", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, meet, joined("joined", S, stream.Named("meet"))...).ToStream().To("out", SS...)
	}),
	t("fk-left-stores", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left", stream.As("lefts")).LeftJoinForeign(strTableOf(b, "right", stream.As("rights")), initial, meetOrNot, joined("joined", S)...).
			ToStream().To("out", SS...)
	}),
	t("fk-inner-cached", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, meet, joined("joined", S)...).ToStream().To("out", SS...)
	}).cached(),
	t("fk-inner-late", twoMeet, func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, meet, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-inner-mapped", twoMeet, func(b *stream.Builder) {
		right := func() strTable {
			return strTableOf(b, "right").MapValues(func(_, v *string) *string { return upper(v) })
		}
		strTableOf(b, "left").Filter(func(_, v *string) bool { return !strings.HasSuffix(*v, "2") }).
			JoinForeign(right(), initial, meet, joined("", S)...).ToStream().To("out", SS...)
	}),
	t("fk-chain", io(in("left", STR), in("right", STR), in("third", STR), out("out", STR)), func(b *stream.Builder) {
		one := strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, func(_, x, y *string) *string { return new(*y + *x) }, joined("one", S)...)
		one.LeftJoinForeign(strTableOf(b, "third"), initial, meetOrNot, joined("two", S)...).ToStream().To("out", SS...)
	}),
	t("fk-self", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		in := strTableOf(b, "in")
		in.LeftJoinForeign(in, func(_, v *string) (*string, bool) { return v, true }, meetOrNot, joined("joined", S)...).ToStream().To("out", SS...)
	}),
	t("fk-then-group", io(in("left", STR), in("right", STR), out("out", I64)), func(b *stream.Builder) {
		strTableOf(b, "left").JoinForeign(strTableOf(b, "right"), initial, func(_, _, y *string) *string { return y }, joined("joined", S)...).
			GroupBy(func(_, v *string) (*string, *string) { return first(v), v }, GS...).Count(kv("counts", N)...).ToStream().To("out", SN...)
	}),
	t("fk-json", io(in("orders", JSON), in("customers", JSON), out("out", JSON)), func(b *stream.Builder) {
		jsonTableOf(b, "orders").LeftJoinForeign(jsonTableOf(b, "customers"),
			func(_ *string, v *object) (*string, bool) { return text(v, "customer"), true },
			func(_ *string, o, c *object, _ bool) *object {
				return obj().put("amount", whole(o, "amount")).put("city", text(c, "city"))
			}, joined("joined", J)...).ToStream().To("out", SJ...)
	}),
)
