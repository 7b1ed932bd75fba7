package layout_test

import (
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestWindowKeysAreKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		Key                               octets
		Start                             int64
		Seqnum                            int32
		Store, Serde, TimeFirst, KeyFirst octets
	}](t, "windowed-key") {
		same := func(key []byte, start int64, seq int32) bool {
			return equal(key, f.Key) && start == f.Start && seq == f.Seqnum
		}
		wrote(t, "store", layout.AppendWindowKey(head, f.Key, f.Start, f.Seqnum), f.Store)
		wrote(t, "time first", layout.AppendTimeFirstWindowKey(head, f.Key, f.Start, f.Seqnum), f.TimeFirst)
		wrote(t, "key first", layout.AppendKeyFirstWindowKey(head, f.Key, f.Start, f.Seqnum), f.KeyFirst)
		wrote(t, "serde", layout.AppendTimeWindow(head, f.Key, f.Start), f.Serde)
		key, start, seq, err := layout.ReadWindowKey(f.Store)
		read(t, "store", err, same(key, start, seq))
		key, start, seq, err = layout.ReadTimeFirstWindowKey(f.TimeFirst)
		read(t, "time first", err, same(key, start, seq))
		key, start, seq, err = layout.ReadKeyFirstWindowKey(f.KeyFirst)
		read(t, "key first", err, same(key, start, seq))
		key, start, err = layout.ReadTimeWindow(f.Serde)
		read(t, "serde", err, same(key, start, f.Seqnum))
	}
}

func TestShortWindowKeysAreRefused(t *testing.T) {
	t.Parallel()
	refused(t, "store", make([]byte, 12), func(b []byte) error { _, _, _, err := layout.ReadWindowKey(b); return err })
	refused(t, "serde", make([]byte, 8), func(b []byte) error { _, _, err := layout.ReadTimeWindow(b); return err })
	first := func(b []byte) error { _, _, _, err := layout.ReadTimeFirstWindowKey(b); return err }
	refused(t, "time first", make([]byte, 13), first)
	refused(t, "key first", append([]byte{1}, make([]byte, 12)...), func(b []byte) error {
		_, _, _, err := layout.ReadKeyFirstWindowKey(b)
		return err
	})
	if first(append([]byte{1}, make([]byte, 12)...)) == nil {
		t.Error("a key with the key first was read as one with the time first")
	}
	if _, _, _, err := layout.ReadKeyFirstWindowKey(make([]byte, 13)); err == nil {
		t.Error("a key with the time first was read as one with the key first")
	}
}
