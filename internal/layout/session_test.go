package layout_test

import (
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestSessionKeysAreKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		Key                               octets
		Start, End                        int64
		Store, Serde, TimeFirst, KeyFirst octets
	}](t, "session-key") {
		same := func(key []byte, start, end int64) bool {
			return equal(key, f.Key) && start == f.Start && end == f.End
		}
		wrote(t, "store", layout.AppendSessionKey(head, f.Key, f.Start, f.End), f.Store)
		wrote(t, "serde", layout.AppendSessionKey(head, f.Key, f.Start, f.End), f.Serde)
		wrote(t, "time first", layout.AppendTimeFirstSessionKey(head, f.Key, f.Start, f.End), f.TimeFirst)
		wrote(t, "key first", layout.AppendKeyFirstSessionKey(head, f.Key, f.Start, f.End), f.KeyFirst)
		key, start, end, err := layout.ReadSessionKey(f.Store)
		read(t, "store", err, same(key, start, end))
		key, start, end, err = layout.ReadTimeFirstSessionKey(f.TimeFirst)
		read(t, "time first", err, same(key, start, end))
		key, start, end, err = layout.ReadKeyFirstSessionKey(f.KeyFirst)
		read(t, "key first", err, same(key, start, end))
	}
}

func TestShortSessionKeysAreRefused(t *testing.T) {
	t.Parallel()
	refused(t, "store", make([]byte, 16), func(b []byte) error { _, _, _, err := layout.ReadSessionKey(b); return err })
	first := func(b []byte) error { _, _, _, err := layout.ReadTimeFirstSessionKey(b); return err }
	refused(t, "time first", make([]byte, 17), first)
	refused(t, "key first", append([]byte{1}, make([]byte, 16)...), func(b []byte) error {
		_, _, _, err := layout.ReadKeyFirstSessionKey(b)
		return err
	})
	if first(append([]byte{1}, make([]byte, 16)...)) == nil {
		t.Error("a key with the key first was read as one with the time first")
	}
	if _, _, _, err := layout.ReadKeyFirstSessionKey(make([]byte, 17)); err == nil {
		t.Error("a key with the time first was read as one with the key first")
	}
}
