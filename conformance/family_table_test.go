package conformance_test

import (
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// longer keeps texts of more than n characters.
func longer(n int64) func(k, v *string) bool {
	return func(_, v *string) bool { return length(v) > n }
}

var _ = family("table",
	t("table-source", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").ToStream().To("out", SS...)
	}),
	t("table-source-materialized", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).ToStream().To("out", SS...)
	}),
	t("table-source-in-memory", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table"), state.InMemory()).ToStream().To("out", SS...)
	}),
	t("table-source-cached", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).ToStream().To("out", SS...)
	}).cached(),
	t("table-source-optimized", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).ToStream().To("out", SS...)
	}).optimize("all"),
	t("table-filter", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").Filter(longer(2)).ToStream().To("out", SS...)
	}),
	t("table-filter-materialized", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").Filter(longer(2), kv("filtered", S)...).ToStream().To("out", SS...)
	}),
	t("table-filter-source-materialized", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).Filter(longer(2)).ToStream().To("out", SS...)
	}),
	t("table-filter-not", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").FilterNot(longer(2), stream.Named("short")).ToStream().To("out", SS...)
	}),
	t("table-map-values", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").MapValues(shout).ToStream().To("out", SS...)
	}),
	t("table-map-values-materialized", strToNum, func(b *stream.Builder) {
		strTableOf(b, "in").MapValues(func(_, v *string) *int64 { return new(length(v)) }, kv("lengths", L)...).ToStream().To("out", SL...)
	}),
	t("table-chain", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").MapValues(shout).Filter(func(_, v *string) bool { return length(v) != 2 }).
			MapValues(pairOf, kv("end", S)...).ToStream().To("out", SS...)
	}),
	t("table-chain-two-readers", io(in("in", STR), out("upper", STR), out("long", STR)), func(b *stream.Builder) {
		table := strTableOf(b, "in", stream.As("table"))
		table.MapValues(shout).ToStream().To("upper", SS...)
		table.Filter(longer(3)).ToStream().To("long", SS...)
	}),
	t("table-transform-values", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").TransformValues(stream.FixedKeyProcessorFunc(pairUp)).ToStream().To("out", SS...)
	}),
	t("table-transform-values-store", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").TransformValues(newNumbering, kv("numbered", S, stream.Uses(numbers))...).ToStream().To("out", SS...)
	}),
	t("table-to-stream-key", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in").ToStream().SelectKey(func(k, v *string) *string { return new(written(k) + "/" + written(first(v))) }).To("out", SS...)
	}),
	t("table-equal-values", strToStr, func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).MapValues(shout, kv("mapped", S)...).ToStream().To("out", SS...)
	}),
)

type valueContext = stream.FixedKeyProcessorContext[*string, *string]

// pairUp makes a pair of key and value, also where there is none.
func pairUp(ctx *valueContext, r stream.FixedKeyRecord[*string, *string]) error {
	k, _ := r.Key()
	return ctx.Forward(r.WithValue(pair(k, r.Value)))
}

var numbers = state.KeyValue[*string, int64]("n", state.KeySerde(S), state.ValueSerde(N))

// numbering numbers the changes of each key.
type numbering struct {
	n state.KeyValueStore[*string, int64]
}

func newNumbering() *numbering { return &numbering{} }

func (p *numbering) Init(ctx *valueContext) error {
	p.n = ctx.Store(numbers)
	return nil
}

func (p *numbering) Process(ctx *valueContext, r stream.FixedKeyRecord[*string, *string]) error {
	k, _ := r.Key()
	x, _, err := p.n.Get(k)
	if err != nil {
		return err
	}
	if err := p.n.Put(k, x+1); err != nil {
		return err
	}
	if r.Value == nil {
		return ctx.Forward(r)
	}
	return ctx.Forward(r.WithValue(numbered(k, r.Value, x+1)))
}
