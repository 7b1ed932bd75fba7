package store

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/millrun/millrun/internal/layout"
	"github.com/millrun/millrun/stream/serde"
)

// Held is a row that a Buffer holds back. It is the buffer's: nobody else changes it, and it is valid until the next call
// of Put or Remove.
type Held struct {
	Key   []byte
	At    int64 // what the row is ordered by: the time it was first put with
	Value BufferValue
}

// BufferValue is what a row was before it was held back, before its last update, and is now, and the record of that update.
type BufferValue = layout.BufferValue[serde.Header]

// Buffer holds rows back, one for each key, the one with the lowest time first and of equal times the lowest key. It
// remembers which keys were changed since the last Dirty, because its changelog is written at commits only. Owned by the
// task's goroutine.
type Buffer struct {
	rows    map[string]*Held
	order   *Tree // time·key of every row
	bytes   int64
	changed []string // keys, in the order of their first change since the last Dirty
	isIn    map[string]bool
	buckets int // of Java's hash set that stands for changed: it never shrinks
	space   []byte
}

// NewBuffer returns an empty Buffer.
func NewBuffer() *Buffer {
	return &Buffer{rows: map[string]*Held{}, order: NewTree(), isIn: map[string]bool{}, buckets: javaBuckets}
}

// Put holds a row back until at, or, if its key is held already, changes the row and leaves it in its place, with the value
// it had before all. Value and context are the buffer's from now on; the key is copied. Old and New are those of v, Prior
// is v.Old for a new row.
func (b *Buffer) Put(key []byte, at int64, v BufferValue) {
	if h, ok := b.rows[string(key)]; ok {
		v.Prior = h.Value.Prior
	} else {
		v.Prior = v.Old
	}
	b.note(b.set(key, at, v))
}

// note remembers that a key was changed.
func (b *Buffer) note(h *Held) {
	if key := string(h.Key); !b.isIn[key] {
		b.isIn[key] = true
		b.changed = append(b.changed, key)
	}
}

func (b *Buffer) set(key []byte, at int64, v BufferValue) *Held {
	h, ok := b.rows[string(key)]
	if ok {
		b.bytes -= h.size()
	} else {
		h = &Held{Key: slices.Clone(key), At: at}
		b.rows[string(key)] = h
		b.order.Set(b.place(h), []byte{})
	}
	h.Value = v
	b.bytes += h.size()
	return h
}

// place is where a row stands in the order. Times are never negative.
func (b *Buffer) place(h *Held) []byte {
	b.space = append(binary.BigEndian.AppendUint64(b.space[:0], uint64(h.At)), h.Key...)
	return b.space
}

// First is the row to go first, or nil.
func (b *Buffer) First() *Held {
	k, _, ok, _ := b.order.Seek(nil, false, false)
	if !ok {
		return nil
	}
	return b.rows[string(k[timeBytes:])]
}

// timeBytes is how many bytes of time stand before a key in the order.
const timeBytes = 8

// Get finds the row of a key, or nil.
func (b *Buffer) Get(key []byte) *Held { return b.rows[string(key)] }

// Remove lets a row go.
func (b *Buffer) Remove(h *Held) {
	b.drop(h)
	b.note(h)
}

func (b *Buffer) drop(h *Held) {
	b.bytes -= h.size()
	b.order.Set(b.place(h), nil)
	delete(b.rows, string(h.Key))
}

// Len is the number of rows.
func (b *Buffer) Len() int64 { return int64(len(b.rows)) }

// Size is what the rows count for, in bytes: as Kafka Streams counts, so that a limit means the same.
func (b *Buffer) Size() int64 { return b.bytes }

// The parts of a row's size that do not depend on it, in bytes.
const (
	sizeOfTime    = 8
	sizeOfContext = 8 + 8 + 4 // time, offset, partition
)

func (h *Held) size() int64 {
	v := &h.Value
	n := sizeOfTime + len(h.Key) + len(v.Prior) + len(v.New) + sizeOfContext + len(v.Context.Topic)
	if !(v.Prior != nil && v.Old != nil && bytes.Equal(v.Prior, v.Old)) {
		n += len(v.Old)
	}
	for _, x := range v.Context.Headers {
		for _, c := range x.Key {
			n++
			if c > 0xffff {
				n++ // two of Java's characters
			}
		}
		n += len(x.Value)
	}
	return int64(n)
}

// Dirty visits the keys that were changed since the last time, with the row or, where it is gone, nil. The order is Java's,
// which keeps the keys in a hash set.
func (b *Buffer) Dirty(visit func(key []byte, h *Held)) {
	for len(b.changed)*4 > b.buckets*3 {
		b.buckets *= 2
	}
	slices.SortStableFunc(b.changed, func(x, y string) int { return javaBucket(x, b.buckets) - javaBucket(y, b.buckets) })
	for _, k := range b.changed {
		visit([]byte(k), b.rows[k])
	}
	b.changed = b.changed[:0]
	clear(b.isIn)
}

// javaBuckets is how many buckets a java.util.HashSet begins with; it doubles them when three quarters are full.
const javaBuckets = 16

// javaBucket is where such a set puts Kafka's Bytes, whose hash is that of java.util.Arrays.
func javaBucket(key string, buckets int) int {
	h := uint32(1)
	for i := range len(key) {
		h = 31*h + uint32(int8(key[i]))
	}
	return int((h ^ h>>16) & uint32(buckets-1))
}

// Restore applies a record of the changelog: a value of any of Kafka Streams' versions, nil for a row that is gone.
func (b *Buffer) Restore(r Logged) error {
	h := b.rows[string(r.Key)]
	if r.Value == nil {
		if h != nil {
			b.drop(h)
		}
		return nil
	}
	version := layout.BufferV0
	if v, ok := r.Headers.Get(layout.BufferHeader); ok && len(v) == 1 {
		version = v[0]
	} else if ok {
		version = 0xff // none there is
	}
	own := layout.Context[serde.Header]{Time: r.Time, Offset: r.Offset, Topic: r.Topic, Partition: r.Partition, Headers: r.Headers}
	var prior []byte
	if h != nil {
		prior = h.Value.Prior
	}
	v, at, err := layout.ReadBufferValue(version, slices.Clone(r.Value), own, prior)
	if err != nil {
		return err
	}
	b.set(r.Key, at, v)
	return nil
}
