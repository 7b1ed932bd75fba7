package kafkad

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake keeps each partition in a folder of segments: N.dat holds record batches as on the wire, one after the other,
// the first at offset N; N.idx beside it has an entry for each. Batches before the log's start stay in a segment that
// also holds later ones; kfake never reads them again, but their length and checksum must go on to be right.

// The layout of a record batch, version 2 (KIP-98): https://kafka.apache.org/documentation/#recordbatch.
const (
	batchLengthAt     = 8  // int32: bytes after this field
	batchPrefix       = 12 // what the length does not count
	batchCRCAt        = 17 // uint32, Castagnoli, of everything after it
	batchCRCFrom      = 21
	batchAttributesAt = 21
	batchLastDeltaAt  = 23
	batchMaxTimeAt    = 35
	batchRecordsAt    = 61
	batchControlBit   = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// youngest is the highest timestamp of a batch, in milliseconds; 0 for what is no batch.
func youngest(batch []byte) int64 {
	if len(batch) < batchRecordsAt {
		return 0
	}
	return int64(binary.BigEndian.Uint64(batch[batchMaxTimeAt:]))
}

func partitionDir(data, topic string, partition int32) string {
	return filepath.Join(data, "partitions", fmt.Sprintf("%s-%d", url.PathEscape(topic), partition))
}

// segments are the base offsets of the partition's segments, in no order.
func segments(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("kafkad: %w", err)
	}
	var bases []int64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".dat")
		if !ok {
			continue
		}
		if base, err := strconv.ParseInt(name, 10, 64); err == nil {
			bases = append(bases, base)
		}
	}
	return bases, nil
}

func segmentPath(dir string, base int64, ext string) string {
	return filepath.Join(dir, strconv.FormatInt(base, 10)+ext)
}

// blankBefore overwrites, in the partition's files, the records of all batches that end before start. It may be
// repeated, and may run beside a broker whose log already starts there.
func blankBefore(dir string, start int64) error {
	bases, err := segments(dir)
	if err != nil {
		return err
	}
	for _, base := range bases {
		if base >= start {
			continue
		}
		err := blankSegment(segmentPath(dir, base, ".dat"), start)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the broker may have removed it meanwhile
			return fmt.Errorf("kafkad: blank %s before %d: %w", dir, start, err)
		}
	}
	return nil
}

func blankSegment(path string, start int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	changed, err := blankBatches(f, start)
	if changed {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close())
}

// blankBatches blanks from the file's beginning up to the first batch that reaches start.
func blankBatches(f *os.File, start int64) (changed bool, err error) {
	header := make([]byte, batchRecordsAt)
	for pos := int64(0); ; {
		if _, err := f.ReadAt(header, pos); errors.Is(err, io.EOF) {
			return changed, nil
		} else if err != nil {
			return changed, err
		}
		first := int64(binary.BigEndian.Uint64(header))
		last := first + int64(int32(binary.BigEndian.Uint32(header[batchLastDeltaAt:])))
		if last >= start {
			return changed, nil
		}
		size := batchPrefix + int64(binary.BigEndian.Uint32(header[batchLengthAt:]))
		done, err := blankBatch(f, pos, size, header)
		if err != nil {
			return changed, err
		}
		changed = changed || done
		pos += size
	}
}

// blankBatch zeroes the records of one batch and sets the checksum right. Control batches hold no data of anybody and
// tell a restart how transactions ended: they stay.
func blankBatch(f *os.File, pos, size int64, header []byte) (bool, error) {
	if binary.BigEndian.Uint16(header[batchAttributesAt:])&batchControlBit != 0 || size <= batchRecordsAt {
		return false, nil
	}
	blank, is := make([]byte, size), make([]byte, size)
	copy(blank, header)
	binary.BigEndian.PutUint32(blank[batchCRCAt:], crc32.Checksum(blank[batchCRCFrom:], castagnoli))
	// The checksum alone proves nothing: a kill may have cut the write off behind it.
	if _, err := f.ReadAt(is, pos); err != nil {
		return false, err
	}
	if bytes.Equal(is, blank) {
		return false, nil
	}
	_, err := f.WriteAt(blank, pos)
	return err == nil, err
}

// holdEnd gives a partition without segments one empty batch that ends right before end, so that a broker which starts
// on the folder goes on there. No client ever sees it: the log starts behind it.
func holdEnd(dir string, end int64) error {
	bases, err := segments(dir)
	if err != nil || len(bases) > 0 || end == 0 {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	b := kmsg.RecordBatch{FirstOffset: end - 1, Magic: 2, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1}
	record := kmsg.Record{Length: 6}
	b.Records = record.AppendTo(nil)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[batchLengthAt:], uint32(len(raw)-batchPrefix))
	binary.BigEndian.PutUint32(raw[batchCRCAt:], crc32.Checksum(raw[batchCRCFrom:], castagnoli))
	if err := os.WriteFile(segmentPath(dir, end-1, ".dat"), raw, 0o644); err != nil {
		return fmt.Errorf("kafkad: %w", err)
	}
	return nil
}
