package layout_test

import (
	"errors"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestHashIsKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct{ Data, Hash128 octets }](t, "murmur3-hash128") {
		got := layout.Hash128(f.Data)
		if !equal(got[:], f.Hash128) {
			t.Errorf("%x: %x, want %x", []byte(f.Data), got, []byte(f.Hash128))
		}
	}
}

func TestForeignKeysAreKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct{ Foreign, Primary, Combined, Prefix octets }](t, "foreign-key-combined") {
		wrote(t, "combined", layout.AppendForeignKey(head, f.Foreign, f.Primary), f.Combined)
		wrote(t, "prefix", layout.AppendForeignPrefix(head, f.Foreign), f.Prefix)
		foreign, primary, err := layout.ReadForeignKey(f.Combined)
		read(t, "combined", err, equal(foreign, f.Foreign) && equal(primary, f.Primary))
		if len(f.Primary) == 0 {
			refused(t, "combined", f.Combined, func(b []byte) error { _, _, err := layout.ReadForeignKey(b); return err })
		}
	}
	if _, _, err := layout.ReadForeignKey([]byte{0xff, 0xff, 0xff, 0xff}); !errors.Is(err, layout.ErrLayout) {
		t.Errorf("a negative length was read (%v)", err)
	}
}

// hashed is the hash of a fact's value, nil for none.
func hashed(of octets) []byte {
	if of == nil {
		return nil
	}
	h := layout.Hash128(of)
	return h[:]
}

func TestSubscriptionsAreKafkaStreams(t *testing.T) {
	t.Parallel()
	instructions := map[string]layout.Instruction{
		"DELETE_KEY_NO_PROPAGATE":               layout.DeleteKeyNoPropagate,
		"DELETE_KEY_AND_PROPAGATE":              layout.DeleteKeyAndPropagate,
		"PROPAGATE_NULL_IF_NO_FK_VAL_AVAILABLE": layout.PropagateNullIfNoForeign,
		"PROPAGATE_ONLY_IF_FK_VAL_AVAILABLE":    layout.PropagateOnlyIfForeign,
	}
	for _, f := range facts[struct {
		HashOf           octets
		Instruction      string
		Primary          octets
		Version          byte
		PrimaryPartition int32
		Bytes            octets
	}](t, "foreign-key-subscription") {
		s := layout.Subscription{
			Version: f.Version, Instruction: instructions[f.Instruction], Hash: hashed(f.HashOf), Primary: f.Primary, Partition: f.PrimaryPartition,
		}
		wrote(t, f.Instruction, layout.AppendSubscription(head, s), f.Bytes)
		if f.Version == layout.SubscriptionV0 {
			s.Partition = -1
		}
		got, err := layout.ReadSubscription(f.Bytes)
		read(t, f.Instruction, err, got.Version == s.Version && got.Instruction == s.Instruction && equal(got.Hash, s.Hash) &&
			equal(got.Primary, s.Primary) && got.Partition == s.Partition)
	}
}

func TestSubscriptionsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	decode := func(b []byte) error { _, err := layout.ReadSubscription(b); return err }
	for _, s := range []layout.Subscription{
		{}, {Hash: make([]byte, 16)}, {Version: layout.SubscriptionV1}, {Version: layout.SubscriptionV1, Hash: make([]byte, 16)},
	} {
		refused(t, "subscription", layout.AppendSubscription(nil, s), decode)
	}
	for _, b := range []string{"\x82\x00", "\x80\x04", "\xff\x00xxxx"} {
		if err := decode([]byte(b)); !errors.Is(err, layout.ErrLayout) {
			t.Errorf("%q was read (%v)", b, err)
		}
	}
}

func TestResponsesAreKafkaStreams(t *testing.T) {
	t.Parallel()
	decode := func(b []byte) error { _, _, err := layout.ReadResponse(b); return err }
	for _, f := range facts[struct{ HashOf, ForeignValue, Bytes octets }](t, "foreign-key-response") {
		wrote(t, "response", layout.AppendResponse(head, hashed(f.HashOf), f.ForeignValue), f.Bytes)
		want := f.ForeignValue
		if len(want) == 0 {
			want = nil // the bytes cannot tell
		}
		hash, value, err := layout.ReadResponse(f.Bytes)
		read(t, "response", err, equal(hash, hashed(f.HashOf)) && equal(value, want))
		if want == nil {
			refused(t, "response", f.Bytes, decode)
		}
	}
	if err := decode([]byte{0x81}); !errors.Is(err, layout.ErrLayout) {
		t.Errorf("a version that does not exist was read (%v)", err)
	}
}
