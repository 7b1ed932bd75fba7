package layout_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestOuterJoinsAreKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		Key   octets
		TS    int64
		Left  bool
		Bytes octets
	}](t, "outer-join-key") {
		wrote(t, "key", layout.AppendOuterKey(head, f.Key, f.TS, f.Left), f.Bytes)
		key, at, left, err := layout.ReadOuterKey(f.Bytes)
		read(t, "key", err, equal(key, f.Key) && at == f.TS && left == f.Left)
	}
	for _, f := range facts[struct {
		Value octets
		Left  bool
		Bytes octets
	}](t, "outer-join-value") {
		wrote(t, "value", layout.AppendOuterValue(head, f.Value, f.Left), f.Bytes)
		value, left, err := layout.ReadOuterValue(f.Bytes)
		read(t, "value", err, equal(value, f.Value) && left == f.Left)
	}
}

func TestListsAreKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		Values []octets
		Bytes  octets
	}](t, "outer-join-list") {
		var values [][]byte
		list := []byte(nil)
		for _, v := range f.Values {
			values = append(values, v)
			var err error
			if list, err = layout.AppendToList(nil, list, v); err != nil {
				t.Fatal(err)
			}
		}
		wrote(t, "list", layout.AppendList(head, values...), f.Bytes)
		if len(values) > 0 && !equal(list, f.Bytes) {
			t.Errorf("one by one: %x, want %x", list, []byte(f.Bytes))
		}
		got, err := layout.ReadList(nil, f.Bytes)
		read(t, "list", err, slices.EqualFunc(got, values, equal))
		refused(t, "list", f.Bytes, func(b []byte) error { _, err := layout.ReadList(nil, b); return err })
	}
}

func TestListsHoldNull(t *testing.T) {
	t.Parallel()
	before := [][]byte{[]byte("before")}
	got, err := layout.ReadList(before, layout.AppendList(nil, nil, []byte{}))
	read(t, "list", err, len(got) == 3 && got[1] == nil && equal(got[2], []byte{}))
}

func TestOuterJoinsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	refused(t, "key", make([]byte, 9), func(b []byte) error { _, _, _, err := layout.ReadOuterKey(b); return err })
	if _, _, err := layout.ReadOuterValue(nil); !errors.Is(err, layout.ErrLayout) {
		t.Errorf("no byte is a value (%v)", err)
	}
	if _, _, err := layout.ReadOuterValue([]byte{2}); !errors.Is(err, layout.ErrLayout) {
		t.Errorf("there is a third side (%v)", err)
	}
	for _, b := range []string{"\x00\x00\x00\x00\x00", "\x01\xff\xff\xff\xff", "\x01\x00\x00\x00\x01\xff\xff\xff\xfe", "\x01\x00\x00\x00\x00x"} {
		if _, err := layout.ReadList(nil, []byte(b)); !errors.Is(err, layout.ErrLayout) {
			t.Errorf("%q was read (%v)", b, err)
		}
	}
	for _, b := range []string{"\x00\x00\x00\x00\x00", "\x01\xff\xff\xff\xff", "\x01"} {
		if _, err := layout.AppendToList(nil, []byte(b), nil); !errors.Is(err, layout.ErrLayout) {
			t.Errorf("%q was made longer (%v)", b, err)
		}
	}
}
