package layout_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestBufferedRowsAreKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		Prior, Old, New octets
		Context         struct {
			TS, Offset int64
			Partition  int32
			Topic      string
			Headers    headers
		}
		Time  int64
		Bytes octets
	}](t, "suppress-buffer-v3") {
		c := layout.Context[header]{Time: f.Context.TS, Offset: f.Context.Offset, Topic: f.Context.Topic, Partition: f.Context.Partition, Headers: f.Context.Headers}
		want := layout.BufferValue[header]{Prior: f.Prior, Old: f.Old, New: f.New, Context: c}
		wrote(t, "buffered row", layout.AppendBufferValue(head, &want, f.Time), f.Bytes)
		got, at, err := layout.ReadBufferValue(layout.BufferV3, f.Bytes, layout.Context[header]{}, nil)
		read(t, "buffered row", err, reflect.DeepEqual(got, want) && at == f.Time)
		got, at, err = layout.ReadBufferValue(layout.BufferV2, f.Bytes, layout.Context[header]{}, nil)
		read(t, "version 3 under the number 2", err, reflect.DeepEqual(got, want) && at == f.Time)
		refused(t, "buffered row", f.Bytes, func(b []byte) error {
			_, _, err := layout.ReadBufferValue(layout.BufferV3, b, layout.Context[header]{}, nil)
			return err
		})
		alone := layout.AppendContext(nil, &c)
		gotC, n, err := layout.ReadContext[header](append(alone, "more"...))
		read(t, "context", err, reflect.DeepEqual(gotC, c) && n == len(alone))
		refused(t, "context", alone, func(b []byte) error { _, _, err := layout.ReadContext[header](b); return err })
	}
}

// old writes rows as releases before 2.6 did: these bytes are composed here, after their description, and not recorded.
type oldRow struct{ b []byte }

func (o *oldRow) int64(v int64) *oldRow {
	o.b = binary.BigEndian.AppendUint64(o.b, uint64(v))
	return o
}

func (o *oldRow) sized(v []byte) *oldRow {
	if v == nil {
		o.b = append(o.b, 0xff, 0xff, 0xff, 0xff)
		return o
	}
	o.b = append(binary.BigEndian.AppendUint32(o.b, uint32(len(v))), v...)
	return o
}

func (o *oldRow) context(c layout.Context[header]) *oldRow {
	o.b = layout.AppendContext(o.b, &c)
	return o
}

func TestBufferedRowsOfOlderReleasesAreRead(t *testing.T) {
	t.Parallel()
	own := layout.Context[header]{Time: 1, Offset: 2, Topic: "changelog"}
	kept := layout.Context[header]{Time: 3, Offset: 4, Topic: "in", Partition: 5, Headers: headers{{"h", []byte("v")}}}
	change := new(oldRow).sized([]byte("old")).sized([]byte("new")).b
	v0 := new(oldRow).int64(99)
	v0.b = append(v0.b, change...)
	rows := map[byte][]byte{
		layout.BufferV0: v0.b,
		layout.BufferV1: new(oldRow).int64(99).context(kept).sized(change).b,
		layout.BufferV2: new(oldRow).context(kept).sized(change).sized([]byte("prior")).int64(99).b,
	}
	for version, want := range map[byte]layout.BufferValue[header]{
		layout.BufferV0: {Prior: []byte("before"), Old: []byte("old"), New: []byte("new"), Context: own},
		layout.BufferV1: {Prior: []byte("before"), Old: []byte("old"), New: []byte("new"), Context: kept},
		layout.BufferV2: {Prior: []byte("prior"), Old: []byte("old"), New: []byte("new"), Context: kept},
	} {
		got, at, err := layout.ReadBufferValue(version, rows[version], own, []byte("before"))
		if err != nil || at != 99 || !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: %+v at %d (%v), want %+v", version, got, at, err, want)
		}
		refused(t, "old row", rows[version], func(b []byte) error {
			_, _, err := layout.ReadBufferValue(version, b, own, nil)
			return err
		})
	}
	first, _, err := layout.ReadBufferValue(layout.BufferV1, rows[layout.BufferV1], own, nil)
	read(t, "the first row of a key", err, string(first.Prior) == "old")
	if _, _, err := layout.ReadBufferValue(4, rows[layout.BufferV1], own, nil); !errors.Is(err, layout.ErrLayout) {
		t.Errorf("a version that does not exist was read (%v)", err)
	}
}

func TestContextWithoutHeadersMaySaySo(t *testing.T) {
	t.Parallel()
	b := layout.AppendContext(nil, &layout.Context[header]{Topic: "t"})
	for i := range 4 {
		b[len(b)-1-i] = 0xff
	}
	c, n, err := layout.ReadContext[header](b)
	read(t, "context", err, n == len(b) && c.Headers == nil && c.Topic == "t")
}
