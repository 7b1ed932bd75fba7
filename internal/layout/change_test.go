package layout_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestChangesAreKafkaStreams(t *testing.T) {
	t.Parallel()
	letters := func(o octets, n int) []byte {
		if n > 0 {
			return bytes.Repeat([]byte("v"), n)
		}
		return o
	}
	for i, f := range facts[struct {
		New, Old             octets
		NewLength, OldLength int
		Bytes                octets
		Length               int
		Head, Tail           octets
	}](t, "change") {
		now, old := letters(f.New, f.NewLength), letters(f.Old, f.OldLength)
		b, err := layout.AppendChange(head, now, old)
		if err != nil {
			t.Fatalf("fact %d: %v", i, err)
		}
		if f.Bytes != nil {
			wrote(t, "change", b, f.Bytes)
		} else if b = b[1:]; len(b) != f.Length || !bytes.HasPrefix(b, f.Head) || !bytes.HasSuffix(b, f.Tail) {
			t.Errorf("fact %d: wrote %d bytes, want %d that begin with %x and end with %x", i, len(b), f.Length, []byte(f.Head), []byte(f.Tail))
		} else {
			b = append([]byte{0}, b...)
		}
		gotNew, gotOld, latest, err := layout.ReadChange(b[1:])
		read(t, "change", err, equal(gotNew, now) && equal(gotOld, old) && latest)
	}
}

func TestChangesOfOtherReleasesAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bytes    string
		now, old []byte
		latest   bool
	}{
		{"o\x01\x03", nil, []byte("o"), true},
		{"o\x00\x03", nil, []byte("o"), false},
		{"n\x01\x04", []byte("n"), nil, true},
		{"\x00\x04", []byte{}, nil, false},
		{"\x02no\x01\x05", []byte("n"), []byte("o"), true},
		{"\x02no\x00\x05", []byte("n"), []byte("o"), false},
	} {
		now, old, latest, err := layout.ReadChange([]byte(c.bytes))
		read(t, c.bytes, err, equal(now, c.now) && equal(old, c.old) && latest == c.latest)
	}
}

func TestChangesThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for _, b := range []string{"", "\x02", "\x03", "\x04", "\x05", "\x06", "x\xff", "\x04n\x02", "\x01\x02", "\xff\xff\x02", "\x01\x05"} {
		if now, old, _, err := layout.ReadChange([]byte(b)); !errors.Is(err, layout.ErrLayout) || now != nil || old != nil {
			t.Errorf("%q was read as %q and %q (%v)", b, now, old, err)
		}
	}
	if b, err := layout.AppendChange(head, nil, nil); !errors.Is(err, layout.ErrLayout) || !bytes.Equal(b, head) {
		t.Errorf("a change of nothing was written as %x (%v)", b, err)
	}
}
