package disk

import (
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/millrun/millrun/stream/internal/store"
)

// Rows of windowed stores are read by key, and of a key mostly the newest: a join looks a few seconds back in a store that holds
// hours. So each file and each of its blocks has the least and the greatest time of its rows beside it, and what is older
// than a reader asks for is passed over unread.

// timesName names that property in the files.
const timesName = "millrun-times"

// collectors note the times of a home's rows as files are written.
func collectors(s *store.Shape) []func() pebble.BlockPropertyCollector {
	return []func() pebble.BlockPropertyCollector{func() pebble.BlockPropertyCollector {
		return sstable.NewBlockIntervalCollector(timesName, times{s}, nil)
	}}
}

// newerThan passes over what holds no row of a time or later.
func newerThan(since int64) []pebble.BlockPropertyFilter {
	return []pebble.BlockPropertyFilter{sstable.NewBlockIntervalFilter(timesName, uint64(max(0, since)), math.MaxUint64, nil)}
}

// times says the time of a row. A row and what removes it have the same one, so that both are read or neither.
type times struct{ shape *store.Shape }

// MapPointKey says the time of a row, and nothing of other keys.
func (t times) MapPointKey(key sstable.InternalKey, _ []byte) (sstable.BlockInterval, error) {
	if len(key.UserKey) == 0 || key.UserKey[0] != firstMap+store.Rows || !t.shape.Valid(key.UserKey[1:]) {
		return sstable.BlockInterval{}, nil
	}
	time := uint64(max(0, t.shape.Time(key.UserKey[1:])))
	return sstable.BlockInterval{Lower: time, Upper: time + 1}, nil
}

// MapRangeKeys says nothing: there are none.
func (times) MapRangeKeys(sstable.Span) (sstable.BlockInterval, error) {
	return sstable.BlockInterval{}, nil
}
