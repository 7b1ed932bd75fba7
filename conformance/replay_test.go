package conformance_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrun/millrun/conformance/set"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/streamtest"
)

// replay runs a vector and says what differs first; "" if nothing does.
func (t *topology) replay(p *probe, v *set.Vector) string {
	c, err := t.configured(v.Config)
	if err != nil {
		return err.Error()
	}
	opts := append([]streamtest.Option{
		streamtest.WithConfig(c), streamtest.StartAt(time.UnixMilli(v.WallClockMs).UTC()),
	}, driven(v.Config)...)
	d := streamtest.New(p, t.define(), opts...)
	if err := d.Err(); err != nil {
		return fmt.Sprintf("it did not start: %v", err)
	}
	keys := map[string]bool{}
	for i, s := range v.Steps {
		if diff := t.step(d, &s, v.Details(), keys); diff != "" {
			return fmt.Sprintf("step %d, %s: %s", i+1, did(&s), diff)
		}
		if s.Error != "" {
			return ""
		}
	}
	return compareStores(d.Stores(), v, keys)
}

// did is what a step does, in a message.
func did(s *set.Step) string {
	if s.Op == "advance" {
		return fmt.Sprintf("advance %d ms", s.MS)
	}
	value := string(s.Value)
	if s.ValueHex != "" {
		value = s.ValueHex
	}
	return fmt.Sprintf("%s %s=%s @%d%s", s.Topic, s.Key, value, s.TS, headersText(s.Headers))
}

// step does one step and compares what came of it; it adds the keys of all that was sent to keys.
func (t *topology) step(d *streamtest.Driver, s *set.Step, details bool, keys map[string]bool) string {
	switch s.Op {
	case "pipe":
		if diff := t.pipe(d, s); diff != "" {
			return diff
		}
	case "advance":
		d.Advance(ms(s.MS))
	default:
		return "no such op: " + s.Op
	}
	err := d.Err()
	if s.Error != "" {
		if err == nil {
			return "nothing failed, want " + s.Error
		}
		return ""
	}
	if err != nil {
		return fmt.Sprintf("it stopped: %v", err)
	}
	var outer, inner []string
	for _, r := range d.Sent() {
		keysOf(r, keys)
		if r.Internal {
			inner = append(inner, innerText(r))
		} else {
			outer = append(outer, t.outerText(r))
		}
	}
	var want []string
	for _, o := range s.Out {
		want = append(want, recordText(o.Topic, said(o.Key), said(o.Value), o.TS, o.Headers))
	}
	if diff := differ("out", outer, want); diff != "" || !details {
		return diff
	}
	want = nil
	for _, r := range s.Internal {
		want = append(want, wantedInner(r))
	}
	return differ("internal", inner, want)
}

func (t *topology) pipe(d *streamtest.Driver, s *set.Step) string {
	to, ok := t.topic(s.Topic)
	if !ok {
		return "the topology has no topic " + s.Topic
	}
	key, err := to.key.write(s.Key)
	if err != nil {
		return fmt.Sprintf("key: %v", err)
	}
	value, err := to.value.write(s.Value)
	if s.ValueHex != "" {
		value, err = hex.DecodeString(s.ValueHex)
	}
	if err != nil {
		return fmt.Sprintf("value: %v", err)
	}
	var h serde.Headers
	for _, x := range s.Headers {
		var v []byte
		if x.Value != nil {
			v = append([]byte{}, *x.Value...)
		}
		h.Add(x.Name, v)
	}
	d.Input(stream.Topic[[]byte, []byte](s.Topic)).PipeRecord(stream.Record[[]byte, []byte]{
		Key: key, Value: value, Timestamp: time.UnixMilli(s.TS).UTC(), Headers: h,
	})
	return ""
}

// differ compares two lists; want is complete in the message, where it is of use.
func differ(what string, got, want []string) string {
	if slices.Equal(got, want) {
		return ""
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	at := func(list []string) string {
		if i < len(list) {
			return list[i]
		}
		return "nothing"
	}
	text := fmt.Sprintf("%s %d: got %s, want %s", what, i+1, at(got), at(want))
	if len(got) > 1 || len(want) > 1 {
		text += fmt.Sprintf("\n\t\tgot  %s\n\t\twant %s", strings.Join(got, "  "), strings.Join(want, "  "))
	}
	return text
}

// nameJava are headers of a dead letter that name classes and lines of Java.
var nameJava = []string{"__streams.errors.exception", "__streams.errors.message", "__streams.errors.stacktrace"}

func (t *topology) outerText(r streamtest.Sent) string {
	of, ok := t.topic(r.Topic)
	if !ok {
		return "a record to " + r.Topic + ", which the topology does not have"
	}
	var h []set.Header
	for _, x := range r.Headers {
		if !slices.Contains(nameJava, x.Key) {
			h = append(h, set.Header{Name: x.Key, Value: textOf(x.Value)})
		}
	}
	return recordText(r.Topic, of.key.read(r.Key), of.value.read(r.Value), r.Timestamp.UnixMilli(), h)
}

func textOf(b []byte) *string {
	if b == nil {
		return nil
	}
	return new(string(b))
}

func recordText(topic string, key, value any, ts int64, h []set.Header) string {
	return fmt.Sprintf("%s %s=%s @%d%s", topic, shown(key), shown(value), ts, headersText(h))
}

func headersText(h []set.Header) string {
	var b strings.Builder
	for _, x := range h {
		fmt.Fprintf(&b, " [%s=%s]", x.Name, orNull(x.Value))
	}
	return b.String()
}

func orNull(s *string) string {
	if s == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *s)
}

// innerText is a record to an internal topic, its bytes in hex. A time below zero leaves it to the producer's clock.
func innerText(r streamtest.Sent) string {
	h := make([]set.Header, len(r.Headers))
	for i, x := range r.Headers {
		h[i] = set.Header{Name: x.Key, Value: hexOf(x.Value)}
	}
	ts := "null"
	if n := r.Timestamp.UnixMilli(); n >= 0 {
		ts = fmt.Sprint(n)
	}
	return fmt.Sprintf("%s %s=%s @%s%s", r.Topic, orNull(hexOf(r.Key)), orNull(hexOf(r.Value)), ts, headersText(h))
}

func hexOf(b []byte) *string {
	if b == nil {
		return nil
	}
	return new(hex.EncodeToString(b))
}

func wantedInner(r set.Internal) string {
	ts := "null"
	if r.TS != nil {
		ts = fmt.Sprint(*r.TS)
	}
	return fmt.Sprintf("%s %s=%s @%s%s", r.Topic, orNull(r.Key), orNull(r.Value), ts, headersText(r.Headers))
}
