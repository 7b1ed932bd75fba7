package parquet

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/events"
)

// record is a record of image-status on its way into a file. Once it was read it has a row, unless it was unreadable.
type record struct {
	src     *kgo.Record
	read    bool
	row     *ImageEvent
	expires time.Time
}

func (r record) hour() time.Time { return r.src.Timestamp.UTC().Truncate(time.Hour) }

// file is a file in the making: consecutive records of one partition. It belongs to the role's one goroutine.
type file struct {
	topic     string
	partition int32
	name      string
	hour      time.Time // of the first record's timestamp
	end       int64     // the last offset, when an earlier run has already written this file; -1 when it is open
	records   []record
	touched   time.Time // by the clock: when the last record came
}

// begin opens the file that starts with r, or takes up the one that an earlier run has written under its name.
func begin(ctx context.Context, b blobs, topic string, partition int32, r record) (*file, error) {
	f := &file{topic: topic, partition: partition, name: fileName(topic, partition, r.src.Offset, r.src.Timestamp), hour: r.hour(), end: -1}
	s, there, err := b.find(ctx, f.name)
	if err != nil {
		return nil, err
	}
	if there {
		f.end = s.last
	}
	return f, nil
}

// endsBefore says whether r belongs into the next file.
func (f *file) endsBefore(r record, maxRecords int) bool {
	if f.end >= 0 {
		return r.src.Offset > f.end
	}
	return len(f.records) >= maxRecords || r.hour().After(f.hour)
}

// isWhole says whether the file can be closed without seeing what comes next: it ends where an earlier run ended it, or
// nothing has come for so long.
func (f *file) isWhole(now time.Time, quiet time.Duration) bool {
	if f.end >= 0 {
		return f.last() >= f.end
	}
	return now.Sub(f.touched) >= quiet
}

// last is the offset of the last record so far.
func (f *file) last() int64 { return f.records[len(f.records)-1].src.Offset }

// write makes the file visible. What it returns are records that belong into the next file after all: another process
// has written this one first, and shorter. When that one is longer, f is not done: it goes on until there (done false).
func (f *file) write(ctx context.Context, b blobs) (rest []record, done bool, err error) {
	content, rows, err := f.content()
	if err != nil || rows == 0 {
		return nil, err == nil, err
	}
	err = b.put(ctx, f.name, content, f.metadata(content, rows))
	if !errors.Is(err, errExists) {
		return nil, err == nil, err
	}
	s, there, err := b.find(ctx, f.name)
	if err != nil || !there { // not there: it was purged in between, which the next try finds out
		return nil, false, err
	}
	if s.last > f.last() {
		f.end = s.last
		return nil, false, nil
	}
	rest = f.cut(s.last)
	return rest, true, f.compare(ctx, b, s)
}

// compare makes sure that the file that is there holds f's rows. Its bytes may differ when another version of the
// program has written it.
func (f *file) compare(ctx context.Context, b blobs, s stored) error {
	ours, _, err := f.content()
	if err != nil || s.digest == digestOf(ours) {
		return err
	}
	theirs, err := b.read(ctx, f.name)
	if err != nil {
		return err
	}
	want, err1 := decode(ours)
	have, err2 := decode(theirs)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !reflect.DeepEqual(want, have) {
		return fmt.Errorf("parquet: %s holds other rows than the records up to offset %d give, as after the topic was made anew: move that blob away", f.name, s.last)
	}
	return nil
}

// cut takes away the records after an offset.
func (f *file) cut(last int64) (rest []record) {
	for i, r := range f.records {
		if r.src.Offset > last {
			rest, f.records = f.records[i:], f.records[:i]
			return rest
		}
	}
	return nil
}

func (f *file) content() (content []byte, rows int, err error) {
	var all []ImageEvent
	for _, r := range f.records {
		if r.row != nil {
			all = append(all, *r.row)
		}
	}
	if len(all) == 0 {
		return nil, 0, nil
	}
	content, err = encode(all)
	return content, len(all), err
}

func (f *file) metadata(content []byte, rows int) map[string]string {
	var earliest time.Time
	for _, r := range f.records {
		if r.row != nil && (earliest.IsZero() || r.expires.Before(earliest)) {
			earliest = r.expires
		}
	}
	return map[string]string{
		metaExpires: stamp(earliest),
		metaFirst:   strconv.FormatInt(f.records[0].src.Offset, 10),
		metaLast:    strconv.FormatInt(f.last(), 10),
		metaRows:    strconv.Itoa(rows),
		metaDigest:  digestOf(content),
	}
}

// understand reads the record's value. An error that is events.ErrUnreadable leaves it without a row for good.
func (r *record) understand(c *events.Codec) error {
	if r.read || r.src.Value == nil {
		r.read = true
		return nil
	}
	s, err := c.DecodeImageStatus(r.src.Value)
	if err != nil {
		r.read = errors.Is(err, events.ErrUnreadable)
		return err
	}
	row := rowOf(s)
	r.read, r.row, r.expires = true, &row, expiry(s)
	return nil
}
