package layout_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/layout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// octets are bytes that a file of facts writes in hex; null is nil.
type octets []byte

func (o *octets) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil || text == nil {
		*o = nil
		return err
	}
	raw, err := hex.DecodeString(*text)
	*o = append(octets{}, raw...)
	return err
}

// facts reads a file of testdata: what Kafka Streams itself wrote.
func facts[T any](t testing.TB, name string) []T {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(out) == 0 {
		t.Fatalf("%s holds no fact", name)
	}
	return out
}

// wrote checks that bytes were appended to what was there, and are those of the fact.
func wrote(t *testing.T, what string, got []byte, want octets) {
	t.Helper()
	if !bytes.HasPrefix(got, head) || !bytes.Equal(got[len(head):], want) {
		t.Errorf("%s: wrote %x, want %x%x", what, got, head, []byte(want))
	}
}

// head is what is there before anything is appended; its capacity is exact so that nothing hides behind it.
var head = []byte{0xAA}[:1:1]

// read checks that something was read as what had been written.
func read(t *testing.T, what string, err error, same bool) {
	t.Helper()
	if err != nil || !same {
		t.Errorf("%s: was not read back (%v)", what, err)
	}
}

// equal tells null from empty.
func equal(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// refused checks that no beginning of b can be read, as decode needs all of it.
func refused(t *testing.T, what string, b []byte, decode func([]byte) error) {
	t.Helper()
	for n := range b {
		if err := decode(b[:n]); !errors.Is(err, layout.ErrLayout) {
			t.Errorf("%s: the first %d of %d bytes were read (%v)", what, n, len(b), err)
		}
	}
}

type header struct {
	Key   string
	Value []byte
}

// headers reads pairs of a name and hex.
type headers []header

func (h *headers) UnmarshalJSON(b []byte) error {
	var pairs [][2]*string
	if err := json.Unmarshal(b, &pairs); err != nil {
		return err
	}
	for _, p := range pairs {
		var v []byte
		if p[1] != nil {
			raw, err := hex.DecodeString(*p[1])
			if err != nil {
				return err
			}
			v = append([]byte{}, raw...)
		}
		*h = append(*h, header{*p[0], v})
	}
	return nil
}
