package conformance_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// The records and contexts of processors of texts.
type (
	strRecord         = stream.Record[*string, *string]
	processing[V any] = stream.ProcessorContext[*string, V]
)

// processor is made of a body and of what is done at Init.
type processor[V any] struct {
	init func(c *processing[V]) error
	body func(c *processing[V], r strRecord) error
}

func (p *processor[V]) Init(c *processing[V]) error                 { return p.init(c) }
func (p *processor[V]) Process(c *processing[V], r strRecord) error { return p.body(c, r) }

// proc supplies a processor without state of its own; a nil init does nothing.
func proc[V any](init func(c *processing[V]) error, body func(c *processing[V], r strRecord) error) func() *processor[V] {
	if init == nil {
		init = func(*processing[V]) error { return nil }
	}
	return func() *processor[V] { return &processor[V]{init, body} }
}

// rec is a record of a key, a value and a time.
func rec[V any](k *string, v V, at time.Time) stream.Record[*string, V] {
	return stream.Record[*string, V]{Key: k, Value: v, Timestamp: at}
}

// streamTime is Java's currentStreamTimeMs: -1 before the first record.
func streamTime[V any](c *processing[V]) int64 {
	if at := c.StreamTime(); !at.IsZero() {
		return at.UnixMilli()
	}
	return -1
}

// tick is the key of what a punctuation sends.
func tick(format string, a ...any) *string { return new(fmt.Sprintf(format, a...)) }

// counts is the store of counter.
func counts(opts ...state.Option) state.Handle[state.KeyValueStore[*string, *int64], state.ReadOnlyKeyValueStore[*string, *int64]] {
	return state.KeyValue[*string, *int64]("counts", append([]state.Option{state.KeySerde(S), state.ValueSerde(L)}, opts...)...)
}

// counter counts the records of each key and forwards nothing; a punctuation forwards every (key, count) in key order, with
// the punctuation's time.
func counter(
	h state.Handle[state.KeyValueStore[*string, *int64], state.ReadOnlyKeyValueStore[*string, *int64]], every int64, by stream.PunctuationType,
) func() *processor[*int64] {
	return func() *processor[*int64] {
		var store state.KeyValueStore[*string, *int64]
		return &processor[*int64]{
			init: func(c *processing[*int64]) error {
				store = c.Store(h)
				c.Schedule(ms(every), by, func(at time.Time) error {
					rows := store.All()
					for k, n := range rows.All() {
						if err := c.Forward(rec(k, n, at)); err != nil {
							return err
						}
					}
					return rows.Err()
				})
				return nil
			},
			body: func(_ *processing[*int64], r strRecord) error {
				if r.Key == nil {
					return nil
				}
				n, _, err := store.Get(r.Key)
				return errors.Join(err, store.Put(r.Key, new(nz(n)+1)))
			},
		}
	}
}

var _ = family("processor",
	t("process-forward", strToStr, func(b *stream.Builder) {
		str(b, "in").Process(proc(nil, func(c *processing[*string], r strRecord) error {
			if r.Value == nil {
				return nil
			}
			if err := c.Forward(r.WithValue(upper(r.Value))); err != nil || length(r.Value) <= 3 {
				return err
			}
			next := r.WithKey(first(r.Value))
			next.Timestamp = r.Timestamp.Add(ms(5))
			return c.Forward(next)
		})).To("out", SS...)
	}),
	t("process-headers", io(in("in", STR), out("out", STR), out("raw", STR)), func(b *stream.Builder) {
		s := str(b, "in")
		s.Process(proc(nil, func(c *processing[*string], r strRecord) error {
			r.Headers.Del("h1")
			r.Headers.Add("p", []byte("1"))
			return c.Forward(r)
		})).MapValues(shout).To("out", SS...)
		s.To("raw", SS...)
	}),
	t("process-headers-dropped", strToStr, func(b *stream.Builder) {
		str(b, "in").Process(proc(nil, func(c *processing[*string], r strRecord) error {
			return c.Forward(rec(r.Key, r.Value, r.Timestamp))
		})).To("out", SS...)
	}),
	t("process-stream-time", strToStr, func(b *stream.Builder) {
		str(b, "in").Process(proc(func(c *processing[*string]) error {
			c.Schedule(ms(50), stream.StreamTime, func(at time.Time) error {
				return c.Forward(rec(tick("tick"), tick("at %d", at.UnixMilli()), at))
			})
			return nil
		}, func(c *processing[*string], r strRecord) error {
			return c.Forward(r.WithValue(tick("%s@%d", written(r.Value), streamTime(c))))
		})).To("out", SS...)
	}),
	t("process-wall-clock", strToStr, func(b *stream.Builder) {
		str(b, "in").Process(proc(func(c *processing[*string]) error {
			c.Schedule(ms(100), stream.WallClockTime, func(at time.Time) error {
				return c.Forward(rec(tick("tick"), tick("at %d now %d", at.UnixMilli(), c.Now().UnixMilli()), at))
			})
			return nil
		}, func(c *processing[*string], r strRecord) error { return c.Forward(r) })).To("out", SS...)
	}),
	t("process-two-punctuators", strToStr, func(b *stream.Builder) {
		str(b, "in").Process(proc(func(c *processing[*string]) error {
			c.Schedule(ms(30), stream.StreamTime, func(at time.Time) error {
				return c.Forward(rec(tick("s"), tick("%d", at.UnixMilli()), at))
			})
			c.Schedule(ms(70), stream.WallClockTime, func(at time.Time) error {
				return c.Forward(rec(tick("w"), tick("%d", at.UnixMilli()), time.UnixMilli(max(0, streamTime(c)))))
			})
			return nil
		}, func(*processing[*string], strRecord) error { return nil })).To("out", SS...)
	}),
	t("process-cancel", strToStr, func(b *stream.Builder) {
		str(b, "in").Process(func() *processor[*string] {
			calls := 0
			return &processor[*string]{init: func(c *processing[*string]) error {
				var stop func()
				stop = c.Schedule(ms(20), stream.StreamTime, func(at time.Time) error {
					calls++
					err := c.Forward(rec[*string](tick("tick%d", calls), nil, at))
					if calls == 3 {
						stop()
					}
					return err
				})
				return nil
			}, body: func(c *processing[*string], r strRecord) error { return c.Forward(r) }}
		}).To("out", SS...)
	}),
	t("process-store-stream-time", strToNum, func(b *stream.Builder) {
		h := counts()
		str(b, "in").Process(counter(h, 60, stream.StreamTime), stream.Named("counter"), stream.Uses(h)).To("out", SL...)
	}),
	t("process-store-wall-clock", strToNum, func(b *stream.Builder) {
		h := counts(state.InMemory())
		str(b, "in").Process(counter(h, 60, stream.WallClockTime), stream.Uses(h)).To("out", SL...)
	}),
	t("process-store-range", strToStr, func(b *stream.Builder) {
		h := state.KeyValue[*string, *string]("kv", state.KeySerde(S), state.ValueSerde(S))
		str(b, "in").Process(func() *processor[*string] {
			var s state.KeyValueStore[*string, *string]
			return &processor[*string]{
				init: func(c *processing[*string]) error {
					s = c.Store(h)
					return nil
				},
				body: func(c *processing[*string], r strRecord) error { return rangesOf(c, s, r) },
			}
		}, stream.Uses(h)).To("out", SS...)
	}),
)

// rangesOf puts the value if absent (deletes on a null value) and forwards three lists of key=value.
func rangesOf(c *processing[*string], s state.KeyValueStore[*string, *string], r strRecord) error {
	if r.Key == nil {
		return nil
	}
	var before *string
	var err error
	if r.Value == nil {
		before, _, err = s.Delete(r.Key)
	} else {
		before, _, err = s.PutIfAbsent(r.Key, r.Value)
	}
	if err != nil {
		return err
	}
	text := written(before)
	for _, rows := range []*state.Rows[*string, *string]{
		s.Range(new("ab"), new("bb")), s.ReverseRange(new("a"), new("ba")), s.Prefix([]byte("b")), // "a" is the first key there is
	} {
		var list strings.Builder
		for k, v := range rows.All() {
			fmt.Fprintf(&list, ",%s=%s", *k, *v)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		text += ";" + list.String()
	}
	return c.Forward(r.WithValue(&text))
}
