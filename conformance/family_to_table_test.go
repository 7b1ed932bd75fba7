package conformance_test

import "github.com/millrun/millrun/stream"

var _ = family("stateless",
	t("to-table", strToStr, func(b *stream.Builder) {
		str(b, "in").ToTable(kv("", S)...).ToStream().To("out", SS...)
	}),
	t("to-table-named", strToStr, func(b *stream.Builder) {
		str(b, "in").ToTable(kv("table", S, stream.Named("as-table"))...).ToStream().To("out", SS...)
	}),
	t("to-table-repartition", strToStr, func(b *stream.Builder) {
		str(b, "in").SelectKey(func(k, v *string) *string {
			if v == nil {
				return k
			}
			return first(v)
		}).ToTable(kv("table", S)...).ToStream().To("out", SS...)
	}),
)
