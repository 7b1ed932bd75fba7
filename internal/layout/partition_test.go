package layout_test

import (
	"errors"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestPartitionIsKafkas(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		Key        octets
		Murmur2    int32
		Partitions map[int32]int32
	}](t, "partition-default") {
		if got := layout.Murmur2(f.Key); got != f.Murmur2 {
			t.Errorf("%x: %d, want %d", []byte(f.Key), got, f.Murmur2)
		}
		for n, want := range f.Partitions {
			if got := layout.Partition(f.Key, n); got != want {
				t.Errorf("%x of %d: %d, want %d", []byte(f.Key), n, got, want)
			}
		}
	}
}

func TestWindowedKeysArePartitionedByTheKey(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		Key        string
		Start, End int64
		Serialized octets
		Partitions map[int32]int32
	}](t, "partition-windowed") {
		wrote(t, f.Key, layout.AppendTimeWindow(head, []byte(f.Key), f.Start), f.Serialized)
		session := layout.AppendSessionKey(nil, []byte(f.Key), f.Start, f.End)
		for n, want := range f.Partitions {
			got, err := layout.PartitionTimeWindow(f.Serialized, n)
			read(t, f.Key, err, got == want)
			got, err = layout.PartitionSession(session, n)
			read(t, f.Key, err, got == want)
		}
	}
	if _, err := layout.PartitionTimeWindow(make([]byte, 7), 3); !errors.Is(err, layout.ErrLayout) {
		t.Errorf("a short key has a partition (%v)", err)
	}
	if _, err := layout.PartitionSession(make([]byte, 15), 3); !errors.Is(err, layout.ErrLayout) {
		t.Errorf("a short key has a partition (%v)", err)
	}
}
