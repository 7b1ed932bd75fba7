package conformance_test

import (
	"regexp"
	"strings"
	"time"

	"github.com/millrun/millrun/stream"
)

var _ = family("stateless",
	t("filter", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").Filter(func(_, v *string) bool { return v != nil && len(*v)%2 == 1 }).To("out", SS...)
	}),
	t("filter-not", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").FilterNot(func(_, v *string) bool { return v != nil && len(*v)%2 == 1 }).To("out", SS...)
	}),
	t("map", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").Map(func(k, v *string) (*string, *string) { return v, upper(k) }).To("out", SS...)
	}),
	t("map-to-int64", io(in("in", STR), out("out", I64)), func(b *stream.Builder) {
		str(b, "in").Map(func(_, v *string) (*string, *int64) {
			if v == nil {
				return first(v), nil
			}
			return first(v), new(length(v))
		}).To("out", SL...)
	}),
	t("map-values", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").MapValues(func(_, v *string) *string { return upper(v) }).To("out", SS...)
	}),
	t("map-values-with-key", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").MapValues(func(k, v *string) *string { return pair(k, v) }).To("out", SS...)
	}),
	t("flat-map", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").FlatMap(func(k, v *string, emit func(*string, *string)) {
			for _, w := range words(v) {
				emit(&w, k)
			}
		}).To("out", SS...)
	}),
	t("flat-map-values", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").FlatMapValues(func(_, v *string, emit func(*string)) {
			for _, w := range words(v) {
				emit(&w)
			}
		}).To("out", SS...)
	}),
	t("flat-map-values-with-key", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").FlatMapValues(func(k, v *string, emit func(*string)) {
			if v != nil {
				emit(v)
			}
			emit(pair(k, v))
		}).To("out", SS...)
	}),
	t("select-key", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").SelectKey(letterOrNull).To("out", SS...)
	}),
	t("peek", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").Peek(func(_, _ *string) {}).To("out", SS...)
	}),
	t("fan-out", io(in("in", STR), out("out1", STR), out("out2", STR), out("out3", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		s.MapValues(func(_, v *string) *string { return upper(v) }).To("out1", SS...)
		s.To("out2", SS...)
		s.Filter(func(k, _ *string) bool { return k != nil }).
			MapValues(func(k, v *string) *string { return pair(k, v) }).To("out3", SS...)
	}),
	t("merge", io(in("in1", STR), in("in2", STR), out("out", STR)), func(b *stream.Builder) {
		one := str(b, "in1")
		one.Merge(str(b, "in2").MapValues(func(_, v *string) *string { return upper(v) })).To("out", SS...)
	}),
	t("merge-three-named", io(in("in1", STR), in("in2", STR), in("in3", STR), out("out", STR)), func(b *stream.Builder) {
		one := str(b, "in1")
		two := one.Merge(str(b, "in2"), stream.Named("first-merge"))
		two.Merge(str(b, "in3").MapValues(func(_, v *string) *string { return upper(v) }), stream.Named("second-merge")).To("out", SS...)
	}),
	t("branch-default", io(in("in", STR), out("even", STR), out("long", STR), out("rest", STR)), func(b *stream.Builder) {
		s := str(b, "in").Split()
		even := s.Branch(func(_, v *string) bool { return length(v)%2 == 0 })
		long := s.Branch(func(_, v *string) bool { return length(v) > 4 })
		rest := s.Default()
		even.To("even", SS...)
		long.To("long", SS...)
		rest.To("rest", SS...)
	}),
	t("branch-no-default", io(in("in", STR), out("even", STR), out("long", STR)), func(b *stream.Builder) {
		s := str(b, "in").Split(stream.Named("by-"))
		even := s.Branch(func(_, v *string) bool { return length(v)%2 == 0 }, stream.Named("even"))
		long := s.Branch(func(_, v *string) bool { return length(v) > 4 }, stream.Named("long"))
		even.To("even", SS...)
		long.To("long", SS...)
	}),
	t("branch-functions", io(in("in", STR), out("upper", STR), out("numbers", I64), out("rest", STR)), func(b *stream.Builder) {
		s := str(b, "in").Split(stream.Named("split-"))
		nokey := s.Branch(func(k, _ *string) bool { return k == nil }, stream.Named("nokey")).
			MapValues(func(_, v *string) *string { return upper(v) })
		s.Branch(func(_, v *string) bool { return length(v) >= 4 }).
			MapValues(func(_, v *string) *int64 { return new(length(v)) }).To("numbers", SL...)
		rest := s.Default(stream.Named("rest"))
		nokey.To("upper", SS...)
		rest.To("rest", SS...)
	}),
	t("through-topic", io(in("in", STR), out("middle", STR), out("out", STR)), func(b *stream.Builder) {
		str(b, "in").MapValues(func(_, v *string) *string { return upper(v) }).To("middle", SS...)
		str(b, "middle").MapValues(func(k, v *string) *string { return pair(k, v) }).To("out", SS...)
	}),
	t("repartition", strToStr, func(b *stream.Builder) {
		str(b, "in").SelectKey(letterOrNull).Repartition(stream.KeySerde(S), stream.ValueSerde(S)).MapValues(pairOf).To("out", SS...)
	}),
	t("repartition-named", strToStr, func(b *stream.Builder) {
		str(b, "in").Repartition(stream.KeySerde(S), stream.ValueSerde(S), stream.Named("by-hand"), stream.Partitions(7)).To("out", SS...)
	}),
	t("repartition-twice", strToStr, func(b *stream.Builder) {
		str(b, "in").Repartition(stream.Named("one"), stream.KeySerde(S), stream.ValueSerde(S)).SelectKey(byFirst).
			Repartition(stream.Named("two"), stream.KeySerde(S), stream.ValueSerde(S)).To("out", SS...)
	}),
	t("sources-list", io(in("in1", STR), in("in2", STR), out("out", STR)), func(b *stream.Builder) {
		b.Streams([]stream.Topic[*string, *string]{"in1", "in2"}, stream.KeySerde(S), stream.ValueSerde(S)).MapValues(shout).To("out", SS...)
	}),
	t("sources-named", strToStr, func(b *stream.Builder) {
		b.Stream(stream.Topic[*string, *string]("in"), stream.KeySerde(S), stream.ValueSerde(S), stream.Named("my-source")).
			Filter(hasKey, stream.Named("has-key")).
			MapValues(shout, stream.Named("shout")).
			SelectKey(func(k, _ *string) *string { return new(written(k) + written(k)) }, stream.Named("double-key")).
			FlatMapValues(func(_, v *string, emit func(*string)) {
				if v != nil {
					emit(v)
					emit(new(*v + "!"))
				}
			}, stream.Named("echo")).
			Peek(func(_, _ *string) {}, stream.Named("look")).
			To("out", append([]stream.Produced{stream.Named("my-sink")}, SS...)...)
	}),
	t("timestamp-extractor", numToNum, func(b *stream.Builder) {
		timed(b, func(r numRecord, _ time.Time) time.Time {
			if r.Value == nil {
				return r.Timestamp
			}
			return time.UnixMilli(*r.Value)
		}).To("out", SL...)
	}),
	t("timestamp-extractor-partition-time", numToNum, func(b *stream.Builder) {
		timed(b, func(r numRecord, prev time.Time) time.Time {
			if *r.Value%2 == 1 && !prev.IsZero() {
				return prev
			}
			return time.UnixMilli(*r.Value)
		}).To("out", SL...)
	}),
	t("timestamp-negative", numToNum, func(b *stream.Builder) {
		timed(b, func(r numRecord, _ time.Time) time.Time {
			if *r.Value < 5 {
				return time.UnixMilli(-1)
			}
			return r.Timestamp
		}).To("out", SL...)
	}),
	t("topic-extractor", io(in("in", STR), out("out-*", STR)), func(b *stream.Builder) {
		str(b, "in").ToDynamic(toTopic{}.byFirst, SS...)
	}),
	t("pattern-source", io(in("in-one", STR), out("out", STR)), func(b *stream.Builder) {
		b.StreamPattern[*string, *string](regexp.MustCompile("in-.*"), stream.KeySerde(S), stream.ValueSerde(S)).MapValues(shout).To("out", SS...)
	}),
	t("headers-through", io(in("in", STR), out("out", STR), out("out2", STR)), func(b *stream.Builder) {
		s := str(b, "in").Filter(hasKey).Map(func(k, v *string) (*string, *string) { return first(v), pair(k, v) })
		s.To("out", SS...)
		s.FlatMapValues(func(_, v *string, emit func(*string)) {
			emit(v)
			emit(v)
		}).Repartition(stream.KeySerde(S), stream.ValueSerde(S)).To("out2", SS...)
	}),
	t("values-only-json", io(in("in", JSON), out("out", JSON)), func(b *stream.Builder) {
		jsons(b, "in").MapValues(func(k *string, v *object) *object {
			if v == nil {
				return nil
			}
			return obj().put("n", length(text(v, "name"))).put("name", text(v, "name")).put("key", k)
		}).To("out", SJ...)
	}),
)

type numRecord = stream.Record[*string, *int64]

// timed reads numbers with times of their own.
func timed(b *stream.Builder, f func(numRecord, time.Time) time.Time) numStream {
	return b.Stream(stream.Topic[*string, *int64]("in"), stream.KeySerde(S), stream.ValueSerde(L), stream.Timestamps(f))
}

// toTopic chooses topics; a description shows the name of the method.
type toTopic struct{}

func (toTopic) byFirst(_, v *string, _ stream.RecordMetadata) string {
	return "out-" + written(first(v))
}

func hasKey(k, _ *string) bool { return k != nil }

// letterOrNull is the first character, null for null.
func letterOrNull(_, v *string) *string {
	if v == nil {
		return nil
	}
	return first(v)
}

// words are the words of a text between blanks.
func words(v *string) []string {
	if v == nil {
		return nil
	}
	return strings.Fields(*v)
}
