package layout_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

// Lists of text and of numbers, as Kafka's list serde writes them; the other built-in serdes are package serde's.
func TestListsOfTheListSerdeAreKafkas(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, f := range facts[struct {
		Serde, Value string
		Bytes        octets
	}](t, "serde") {
		var values [][]byte
		switch f.Serde {
		case "list(string)":
			for v := range strings.SplitSeq(f.Value, ",") {
				values = append(values, append([]byte{}, v...))
			}
			wrote(t, f.Serde, layout.AppendList(head, values...), f.Bytes)
			got, err := layout.ReadList(nil, f.Bytes)
			read(t, f.Serde, err, slices.EqualFunc(got, values, equal))
		case "list(long)":
			for v := range strings.SplitSeq(f.Value, ",") {
				n, err := strconv.ParseInt(v, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, binary.BigEndian.AppendUint64(nil, uint64(n)))
			}
			b, err := layout.AppendFixedList(head, 8, values...)
			if err != nil {
				t.Fatal(err)
			}
			wrote(t, f.Serde, b, f.Bytes)
			got, err := layout.ReadFixedList(nil, f.Bytes, 8)
			read(t, f.Serde, err, slices.EqualFunc(got, values, equal))
			refused(t, f.Serde, f.Bytes, func(b []byte) error { _, err := layout.ReadFixedList(nil, b, 8); return err })
		default:
			continue
		}
		seen++
	}
	if seen != 2 {
		t.Errorf("%d facts, want 2", seen)
	}
}

func TestListsOfFixedSizeHoldNull(t *testing.T) {
	t.Parallel()
	want := [][]byte{nil, []byte("ab"), nil}
	b, err := layout.AppendFixedList(head, 2, want...)
	read(t, "list", err, string(b[1:]) == "\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x03ab")
	got, err := layout.ReadFixedList(nil, b[1:], 2)
	read(t, "list", err, slices.EqualFunc(got, want, equal))
	if b, err := layout.AppendFixedList(head, 2, []byte("abc")); !errors.Is(err, layout.ErrLayout) || !equal(b, head) {
		t.Errorf("a value of another size was written as %x (%v)", b, err)
	}
	for _, b := range []string{"\x01\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\xff\xff\xff\xff", "\x00\x7f\xff\xff\xff\x00\x00\x00\x00"} {
		if _, err := layout.ReadFixedList(nil, []byte(b), 2); !errors.Is(err, layout.ErrLayout) {
			t.Errorf("%q was read (%v)", b, err)
		}
	}
}
