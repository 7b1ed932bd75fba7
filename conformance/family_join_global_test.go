package conformance_test

import (
	"github.com/millrun/millrun/stream"
)

// strGlobal is a global table of texts.
func strGlobal(b *stream.Builder, topic string, opts ...stream.TableSource) stream.GlobalKTable[*string, *string] {
	return b.GlobalTable(stream.Topic[*string, *string](topic), append([]stream.TableSource{stream.KeySerde(S), stream.ValueSerde(S)}, opts...)...)
}

// mapped is the first character of the value as a key; none for null or the empty string.
func mapped(_, v *string) (*string, bool) {
	if v == nil || *v == "" {
		return nil, false
	}
	return first(v), true
}

// withGlobal is pair of both values, or of the left one and nothing.
func withGlobal(_, v, o *string) *string { return pair(v, o) }

func withGlobalOrNot(_, v, o *string, _ bool) *string { return pair(v, o) }

var streamToGlobal = io(in("stream", STR), in("global", STR), out("out", STR))

var _ = family("join-stream-global",
	t("sg-inner", streamToGlobal, func(b *stream.Builder) {
		g := strGlobal(b, "global")
		str(b, "stream").JoinGlobal(g, mapped, withGlobal).To("out", SS...)
	}),
	t("sg-left", streamToGlobal, func(b *stream.Builder) {
		g := strGlobal(b, "global", stream.As("g"))
		str(b, "stream").LeftJoinGlobal(g, mapped, withGlobalOrNot).To("out", SS...)
	}),
	t("sg-inner-key", streamToGlobal, func(b *stream.Builder) {
		g := strGlobal(b, "global")
		str(b, "stream").JoinGlobal(g, func(k, _ *string) (*string, bool) { return k, k != nil },
			func(k, v, o *string) *string { return new(written(k) + ":" + *pair(v, o)) }, stream.Named("enrich")).To("out", SS...)
	}),
	t("sg-left-json", io(in("orders", JSON), in("customers", STR), out("out", JSON)), func(b *stream.Builder) {
		g := strGlobal(b, "customers")
		jsons(b, "orders").LeftJoinGlobal(g, func(_ *string, v *object) (*string, bool) {
			c := text(v, "customer")
			return c, c != nil
		}, func(_ *string, o *object, c *string, _ bool) *object {
			return obj().put("amount", whole(o, "amount")).put("city", c)
		}).To("out", SJ...)
	}),
)
