package task

import "github.com/millrun/millrun/internal/layout"

// Marker is how far an operator has come, as the last commit or SetMarker said. Operators may ask from their Init on.
func (t *Task) Marker(name string) (int64, bool) {
	at, ok := t.markers[name]
	return at, ok
}

// SetMarker notes how far an operator has come. It is committed beside the offsets of every input partition, as in Kafka
// Streams, so that it is found whichever of them is read again.
func (t *Task) SetMarker(name string, at int64) {
	if t.markers == nil {
		t.markers = map[string]int64{}
	}
	t.markers[name] = at
	t.touched = true
	t.changes++
}

// recall reads the text beside a committed offset: the partition's time, and markers. Of several the highest counts.
func (t *Task) recall(metadata string) (time int64) {
	time, markers := layout.ReadMetadata(metadata)
	for name, at := range markers {
		if old, ok := t.markers[name]; !ok || at > old {
			t.SetMarker(name, at)
			t.touched = false
		}
	}
	return time
}
