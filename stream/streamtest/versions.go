package streamtest

import "github.com/millrun/millrun/stream/internal/task"

// PutVersion writes to the key's partition.
func (s *stores) PutVersion(key, value []byte, at int64) (to int64, kept bool, err error) {
	return s.tasks[task.Partition(key, s.n)].PutVersion(key, value, at)
}
