package layout_test

import (
	"encoding/base64"
	"maps"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestMetadataIsKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		PartitionTime int64
		Processors    map[string]int64
		Metadata      string
	}](t, "commit-metadata") {
		if got := layout.Metadata(f.PartitionTime, f.Processors); got != f.Metadata {
			t.Errorf("%d %v: %s, want %s", f.PartitionTime, f.Processors, got, f.Metadata)
		}
		at, markers := layout.ReadMetadata(f.Metadata)
		read(t, f.Metadata, nil, at == f.PartitionTime && maps.Equal(markers, f.Processors))
	}
}

func TestMetadataIsReadWhoeverWroteIt(t *testing.T) {
	t.Parallel()
	two := map[string]int64{"b": 2, "a": -1}
	if at, markers := layout.ReadMetadata(layout.Metadata(7, two)); at != 7 || !maps.Equal(markers, two) {
		t.Errorf("got %d %v", at, markers)
	}
	if a, b := layout.Metadata(7, two), layout.Metadata(7, maps.Clone(two)); a != b {
		t.Errorf("the same markers are %s and %s", a, b)
	}
	whole, _ := base64.StdEncoding.DecodeString(layout.Metadata(7, two))
	cut := base64.StdEncoding.EncodeToString(whole[:len(whole)-1])
	for text, want := range map[string]int64{
		"AQAAAYvP5Wh7": 1700000000123, // the older layout
		"":             -1, "%%%": -1, "AgAA": -1, "CQAAAYvP5Wh7": -1, cut: -1,
	} {
		if at, markers := layout.ReadMetadata(text); at != want || len(markers) > 0 {
			t.Errorf("%q: %d %v, want %d", text, at, markers, want)
		}
	}
}
