package conformance_test

import (
	"errors"

	"github.com/millrun/millrun/stream"
)

const (
	readHandler    = "deserialization.exception.handler"
	processHandler = "processing.exception.handler"
	deadTopic      = "errors.dead.letter.queue.topic.name"
)

var errOdd = errors.New("odd")

// evenOnly fails for an odd number, as Java does, by an exception.
func evenOnly(_ *string, n *int64) *int64 {
	if nz(n)%2 == 1 {
		panic(errOdd)
	}
	return new(nz(n))
}

func plusOne(_ *string, n *int64) *int64 { return new(nz(n) + 1) }

var numToDead = io(in("in", I64), out("out", I64), outKeyed("dead", RAW, RAW))

var _ = family("error",
	t("error-read-fail", numToNum, func(b *stream.Builder) {
		num(b, "in").MapValues(plusOne).To("out", SL...)
	}),
	t("error-read-continue", numToNum, func(b *stream.Builder) {
		num(b, "in").GroupByKey(GL...).Reduce(sum, kv("sums", L)...).ToStream().To("out", SL...)
	}).cfg(readHandler, goOnReading),
	t("error-read-dead-letter", numToDead, func(b *stream.Builder) {
		num(b, "in").MapValues(plusOne).To("out", SL...)
	}).cfg(readHandler, goOnReading).cfg(deadTopic, "dead"),
	t("error-read-fail-dead-letter", numToDead, func(b *stream.Builder) {
		num(b, "in").MapValues(plusOne).To("out", SL...)
	}).cfg(deadTopic, "dead"),
	t("error-process-fail", numToNum, func(b *stream.Builder) {
		num(b, "in").MapValues(evenOnly).To("out", SL...)
	}),
	t("error-process-continue", io(in("in", I64), out("raw", I64), out("out", I64)), func(b *stream.Builder) {
		s := num(b, "in")
		s.To("raw", SL...)
		s.MapValues(evenOnly).To("out", SL...)
	}).cfg(processHandler, goOnProcessing),
	t("error-process-dead-letter", numToDead, func(b *stream.Builder) {
		num(b, "in").SelectKey(func(k *string, _ *int64) *string {
			if k == nil {
				return new("none")
			}
			return new(*k + *k)
		}).Repartition(stream.KeySerde(S), stream.ValueSerde(L)).MapValues(evenOnly).To("out", SL...)
	}).cfg(processHandler, goOnProcessing).cfg(deadTopic, "dead"),
	t("error-aggregate-continue", numToNum, func(b *stream.Builder) {
		num(b, "in").GroupByKey(GL...).Aggregate(func() *int64 { return new(int64(0)) }, func(k *string, v, a *int64) *int64 {
			return sum(a, evenOnly(k, v))
		}, kv("sums", L)...).ToStream().To("out", SL...)
	}).cfg(processHandler, goOnProcessing),
	t("error-flat-map-continue", numToNum, func(b *stream.Builder) {
		num(b, "in").FlatMapValues(func(_ *string, v *int64, emit func(*int64)) {
			emit(new(int64(0)))
			emit(new(nz(v)))
		}).MapValues(evenOnly).To("out", SL...)
	}).cfg(processHandler, goOnProcessing),
)
