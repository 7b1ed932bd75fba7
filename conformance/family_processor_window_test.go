package conformance_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

// Processors with window and session stores.

type (
	strWindows  = state.WindowStore[*string, *string]
	strSessions = state.SessionStore[*string, *string]
	strSlots    = *state.Rows[state.Slot[*string], *string]
)

// windowHandle declares a window store of texts with windows of 20 ms.
func windowHandle(retention int64, more ...state.Option) state.Handle[strWindows, state.ReadOnlyWindowStore[*string, *string]] {
	return state.Window[*string, *string]("w", ms(20), ms(retention), append(more, state.KeySerde(S), state.ValueSerde(S))...)
}

// procWith supplies a processor with a store of any kind.
func procWith[T, R any](h state.Handle[T, R], body func(c *processing[*string], s T, r strRecord) error) func() *processor[*string] {
	return func() *processor[*string] {
		var s T
		return &processor[*string]{
			init: func(c *processing[*string]) error {
				s = c.Store(h)
				return nil
			},
			body: func(c *processing[*string], r strRecord) error { return body(c, s, r) },
		}
	}
}

// slots writes rows by f.
func slots(rows strSlots, f func(state.Slot[*string], *string) string) (string, error) {
	var b strings.Builder
	for at, v := range rows.All() {
		b.WriteString(f(at, v))
	}
	return b.String(), rows.Err()
}

// windowRanges puts the value into the window of its time and forwards six lists of key@start=value: keys a to b in
// [ts-40, ts], the same backwards, all keys in [ts-40, ts], the same backwards, everything, everything backwards.
func windowRanges(c *processing[*string], w strWindows, r strRecord) error {
	if r.Key == nil {
		return nil
	}
	if err := w.Put(r.Key, r.Value, r.Timestamp, r.Timestamp); err != nil {
		return err
	}
	from, to, end := time.UnixMilli(max(0, r.Timestamp.UnixMilli()-40)), r.Timestamp, time.UnixMilli(1<<50)
	a, z := new("a"), new("b")
	var text strings.Builder
	for _, rows := range []strSlots{
		w.FetchRange(a, z, from, to), w.ReverseFetchRange(a, z, from, to), w.FetchAll(from, to), w.ReverseFetchAll(from, to),
		w.FetchAll(time.UnixMilli(0), end), w.ReverseFetchAll(time.UnixMilli(0), end),
	} {
		list, err := slots(rows, func(at state.Slot[*string], v *string) string {
			return fmt.Sprintf(",%s@%d=%s", *at.Key, at.Start.UnixMilli(), written(v))
		})
		if err != nil {
			return err
		}
		text.WriteString(list + ";")
	}
	return c.Forward(r.WithValue(new(text.String())))
}

// sessionRanges puts the session [ts, ts] (a null value removes it) and forwards the sessions of the key found in
// [ts-30, ts+30], each as start-end=value; then all of the key.
func sessionRanges(c *processing[*string], s strSessions, r strRecord) error {
	if r.Key == nil {
		return nil
	}
	if err := s.Put(state.Slot[*string]{Key: r.Key, Start: r.Timestamp, End: r.Timestamp}, r.Value); err != nil {
		return err
	}
	one := func(at state.Slot[*string], v *string) string {
		return fmt.Sprintf(",%d-%d=%s", at.Start.UnixMilli(), at.End.UnixMilli(), written(v))
	}
	near, err := slots(s.Find(r.Key, r.Timestamp.Add(-ms(30)), r.Timestamp.Add(ms(30))), one)
	if err != nil {
		return err
	}
	all, err := slots(s.Fetch(r.Key), one)
	if err != nil {
		return err
	}
	return c.Forward(r.WithValue(new(near + ";" + all)))
}

var _ = family("processor",
	t("process-window-store", strToStr, func(b *stream.Builder) {
		h := windowHandle(100)
		str(b, "in").Process(procWith(h, func(c *processing[*string], w strWindows, r strRecord) error {
			if r.Key == nil {
				return nil
			}
			if err := w.Put(r.Key, r.Value, r.Timestamp, r.Timestamp); err != nil {
				return err
			}
			list, err := slots(w.Fetch(r.Key, r.Timestamp.Add(-ms(20)), r.Timestamp), func(at state.Slot[*string], v *string) string {
				return fmt.Sprintf(",%d=%s", at.Start.UnixMilli(), written(v))
			})
			if err != nil {
				return err
			}
			return c.Forward(r.WithValue(&list))
		}), stream.Uses(h)).To("out", SS...)
	}),
	t("process-window-ranges", strToStr, func(b *stream.Builder) {
		h := windowHandle(60)
		str(b, "in").Process(procWith(h, windowRanges), stream.Uses(h)).To("out", SS...)
	}),
	t("process-window-ranges-in-memory", strToStr, func(b *stream.Builder) {
		h := windowHandle(60, state.InMemory())
		str(b, "in").Process(procWith(h, windowRanges), stream.Uses(h)).To("out", SS...)
	}),
	t("process-session-store", strToStr, func(b *stream.Builder) {
		h := state.Session[*string, *string]("s", ms(200), state.KeySerde(S), state.ValueSerde(S))
		str(b, "in").Process(procWith(h, sessionRanges), stream.Uses(h)).To("out", SS...)
	}),
)
