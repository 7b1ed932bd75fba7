package conformance_test

import (
	"strings"

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
		str(b, "in").SelectKey(func(_, v *string) *string {
			if v == nil {
				return nil
			}
			return first(v)
		}).To("out", SS...)
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
	t("values-only-json", io(in("in", JSON), out("out", JSON)), func(b *stream.Builder) {
		jsons(b, "in").MapValues(func(k *string, v *object) *object {
			if v == nil {
				return nil
			}
			return obj().put("n", length(text(v, "name"))).put("name", text(v, "name")).put("key", k)
		}).To("out", SJ...)
	}),
)

// words are the words of a text between blanks.
func words(v *string) []string {
	if v == nil {
		return nil
	}
	return strings.Fields(*v)
}
