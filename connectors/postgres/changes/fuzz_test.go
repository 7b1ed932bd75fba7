package changes_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/connectors/postgres/changes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever the bytes: no panic, an error is an *Error that says why, and what is accepted survives both forms unchanged.
func FuzzDecode(f *testing.F) {
	for topic, values := range valid {
		for _, value := range values {
			f.Add(topic, []byte(value))
			e, err := changes.Decoder{}.Decode(f.Context(), topic, []byte(value))
			if err != nil {
				f.Fatal(err)
			}
			b, err := changes.EncodeAvro(e)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(topic, b)
			f.Add(topic, append([]byte{0, 0, 0, 0, 1}, b[10:]...))
		}
	}
	f.Add(changes.ItemsChanges, append([]byte{0, 0, 0, 0, 2}, 0x48))
	f.Fuzz(func(t *testing.T, topic string, value []byte) {
		own, _ := changes.AvroSchema(topic)
		d := changes.Decoder{Registry: schemas{1: own, 2: richSchema}}
		e, err := d.Decode(t.Context(), topic, value)
		if _, known := changes.Owner(topic); !known {
			if !errors.Is(err, changes.ErrUnknownTopic) {
				t.Fatalf("unknown topic: %v", err)
			}
			return
		}
		if fault, ok := errors.AsType[*changes.Error](err); ok {
			if len(fault.Faults) == 0 || fault.Error() == "" {
				t.Fatal("an error without a fault")
			}
			return
		}
		if err != nil { // the registry knows two schemas
			return
		}
		again := jsonOf(t, e)
		for _, form := range [][]byte{[]byte(again), mustAvro(t, e)} {
			back, err := d.Decode(t.Context(), topic, form)
			if err != nil {
				t.Fatalf("%q came back as %q: %v", value, form, err)
			}
			if b := jsonOf(t, back); b != again {
				t.Fatalf("%s became %s", again, b)
			}
		}
	})
}

func mustAvro(t *testing.T, e changes.Event) []byte {
	t.Helper()
	b, err := changes.EncodeAvro(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
