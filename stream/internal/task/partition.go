package task

import "github.com/millrun/millrun/internal/layout"

// Partition is where a key goes unless the user says otherwise: where Kafka's own producers put it.
func Partition(key []byte, n int32) int32 { return layout.Partition(key, n) }
