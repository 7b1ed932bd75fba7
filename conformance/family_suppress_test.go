package conformance_test

import (
	"github.com/millrun/millrun/stream"
)

// held is Suppressed.untilTimeLimit.
func held(n int64) stream.Suppressed { return stream.UntilTimeLimit(ms(n)) }

var _ = family("suppress",
	t("suppress-time-limit", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		strTableOf(b, "in").Suppress(held(40)).ToStream().To("out", SS...)
	}),
	t("suppress-time-limit-zero", io(in("in", STR), out("out", I64)), func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).Suppress(held(0)).ToStream().To("out", SN...)
	}),
	t("suppress-max-records", io(in("in", STR), out("out", I64)), func(b *stream.Builder) {
		str(b, "in").GroupByKey(GS...).Count(kv("counts", N)...).Suppress(held(60).MaxRecords(2).EmitEarlyWhenFull()).ToStream().To("out", SN...)
	}),
	t("suppress-max-bytes", io(in("in", STR), out("out", STR)), func(b *stream.Builder) {
		strTableOf(b, "in", stream.As("table")).Suppress(held(80).MaxBytes(200).EmitEarlyWhenFull(), stream.Named("small")).ToStream().To("out", SS...)
	}),
)
