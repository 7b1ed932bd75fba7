package task_test

import (
	"encoding/hex"
	"testing"

	"github.com/millrun/millrun/stream/internal/task"
)

// Recorded from Kafka's clients: the partitioner of keyed records.
func TestPartitionIsMurmur2OfTheKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key  string
		want map[int32]int32
	}{
		{"", map[int32]int32{1: 0, 2: 1, 3: 0, 7: 2, 12: 9, 1000: 681}},
		{"61", map[int32]int32{2: 0, 3: 1, 7: 5, 12: 4, 1000: 524}},
		{"6162", map[int32]int32{3: 2, 4: 2, 7: 0, 1000: 434}},
		{"616263", map[int32]int32{2: 1, 4: 3, 7: 4, 1000: 107}},
		{"61626364", map[int32]int32{3: 2, 7: 5, 1000: 100}},
		{"6162636465", map[int32]int32{2: 1, 7: 4, 1000: 741}},
		{"68656c6c6f20776f726c64", map[int32]int32{4: 3, 7: 2, 12: 7, 1000: 59}},
	} {
		key, err := hex.DecodeString(c.key)
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range c.want {
			if got := task.Partition(key, n); got != want {
				t.Errorf("%q of %d: %d, want %d", c.key, n, got, want)
			}
		}
	}
}

// Recorded from Kafka Streams: the text beside a committed offset.
func TestMetadataIsKafkaStreams(t *testing.T) {
	t.Parallel()
	for at, want := range map[int64]string{-1: "Av//////////", 0: "AgAAAAAAAAAA", 1700000000123: "AgAAAYvP5Wh7"} {
		if got := task.Metadata(at); got != want {
			t.Errorf("%d: %s, want %s", at, got, want)
		}
		if got := task.PartitionTime(want); got != at {
			t.Errorf("%s: %d, want %d", want, got, at)
		}
	}
	for text, want := range map[string]int64{
		"AgAAAYvP5Wh7AAAAAQAAABxLU1RSRUFNLUFHR1JFR0FURS0wMDAwMDAwMDAyAAAAAAAABdw=": 1700000000123, // with a marker
		"AQAAAYvP5Wh7": 1700000000123, // the older layout
		"":             -1, "%%%": -1, "AgAA": -1, "CQAAAYvP5Wh7": -1,
	} {
		if got := task.PartitionTime(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func FuzzPartitionTime(f *testing.F) {
	f.Add("AgAAAYvP5Wh7")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if at := task.PartitionTime(text); at != -1 && task.PartitionTime(task.Metadata(at)) != at {
			t.Errorf("%q: %d is not kept", text, at)
		}
	})
}
