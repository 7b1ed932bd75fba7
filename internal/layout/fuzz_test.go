package layout_test

import (
	"bytes"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

// again checks that what was read is written as the same bytes.
func again(t *testing.T, what string, in, out []byte) {
	t.Helper()
	if !bytes.Equal(in, out) {
		t.Errorf("%s: %x was read and is written as %x", what, in, out)
	}
}

func FuzzKeys(f *testing.F) {
	for _, n := range []int{0, 8, 9, 12, 13, 16, 17, 30} {
		f.Add(make([]byte, n))
		f.Add(append([]byte{1}, make([]byte, n)...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if k, s, n, err := layout.ReadWindowKey(in); err == nil {
			again(t, "window", in, layout.AppendWindowKey(nil, k, s, n))
		}
		if k, s, n, err := layout.ReadTimeFirstWindowKey(in); err == nil {
			again(t, "time first", in, layout.AppendTimeFirstWindowKey(nil, k, s, n))
		}
		if k, s, n, err := layout.ReadKeyFirstWindowKey(in); err == nil {
			again(t, "key first", in, layout.AppendKeyFirstWindowKey(nil, k, s, n))
		}
		if k, s, e, err := layout.ReadSessionKey(in); err == nil {
			again(t, "session", in, layout.AppendSessionKey(nil, k, s, e))
		}
		if k, s, e, err := layout.ReadTimeFirstSessionKey(in); err == nil {
			again(t, "session, time first", in, layout.AppendTimeFirstSessionKey(nil, k, s, e))
		}
		if k, s, err := layout.ReadTimeWindow(in); err == nil {
			again(t, "time window", in, layout.AppendTimeWindow(nil, k, s))
		}
		if k, at, left, err := layout.ReadOuterKey(in); err == nil {
			again(t, "outer key", in, layout.AppendOuterKey(nil, k, at, left))
		}
		if fk, pk, err := layout.ReadForeignKey(in); err == nil {
			again(t, "foreign key", in, layout.AppendForeignKey(nil, fk, pk))
		}
	})
}

func FuzzValues(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x02no\x01\x05"))
	f.Add(layout.AppendList(nil, nil, []byte("x")))
	f.Add(layout.AppendSubscription(nil, layout.Subscription{Version: 1, Hash: make([]byte, 16), Primary: []byte("p")}))
	f.Add(layout.AppendHeadersValue(nil, []byte("v"), 7, headers{{"a", nil}, {"a", []byte{}}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		if now, old, _, err := layout.ReadChange(in); err == nil && in[len(in)-1] < 2 {
			out, _ := layout.AppendChange(nil, now, old)
			again(t, "change", in, out)
		}
		if list, err := layout.ReadList(nil, in); err == nil {
			again(t, "list", in, layout.AppendList(nil, list...))
		}
		if s, err := layout.ReadSubscription(in); err == nil {
			again(t, "subscription", in, layout.AppendSubscription(nil, s))
		}
		if hash, value, err := layout.ReadResponse(in); err == nil {
			again(t, "response", in, layout.AppendResponse(nil, hash, value))
		}
		if v, at, err := layout.ReadTimestamped(in); err == nil {
			again(t, "timestamped", in, layout.AppendTimestamped(nil, v, at))
		}
		if v, left, err := layout.ReadOuterValue(in); err == nil {
			again(t, "outer value", in, layout.AppendOuterValue(nil, v, left))
		}
		// A number may be written in more bytes than it needs, so only what is read twice can be compared.
		if v, at, hs, err := layout.ReadHeadersValue[header](in); err == nil {
			v2, at2, hs2, err := layout.ReadHeadersValue[header](layout.AppendHeadersValue(nil, v, at, hs))
			read(t, "headers", err, equal(v, v2) && at == at2 && len(hs) == len(hs2))
		}
		_, _, _ = layout.ReadHeadersAggregation[header](in)
	})
}

func FuzzBufferedRows(f *testing.F) {
	c := layout.Context[header]{Topic: "t", Headers: headers{{"h", nil}}}
	f.Add(byte(3), layout.AppendBufferValue(nil, &layout.BufferValue[header]{Prior: []byte("p"), Old: []byte("p"), Context: c}, 9))
	f.Add(byte(0), new(oldRow).int64(9).sized(nil).sized([]byte("n")).b)
	f.Fuzz(func(t *testing.T, version byte, in []byte) {
		v, at, err := layout.ReadBufferValue(version, in, c, []byte("prior"))
		if err != nil {
			return
		}
		v2, at2, err := layout.ReadBufferValue(layout.BufferV3, layout.AppendBufferValue(nil, &v, at), c, nil)
		read(t, "buffered row", err, equal(v.Prior, v2.Prior) && equal(v.Old, v2.Old) && equal(v.New, v2.New) && at == at2)
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add("AgAAAYvP5Wh7")
	f.Add("")
	f.Add(layout.Metadata(5, map[string]int64{"store": 7}))
	f.Fuzz(func(t *testing.T, text string) {
		at, markers := layout.ReadMetadata(text)
		if at2, markers2 := layout.ReadMetadata(layout.Metadata(at, markers)); at2 != at || len(markers2) != len(markers) {
			t.Errorf("%q: %d %v is kept as %d %v", text, at, markers, at2, markers2)
		}
	})
}
