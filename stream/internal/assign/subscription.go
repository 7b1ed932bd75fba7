package assign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/millrun/millrun/stream/internal/task"
)

// Protocol is the name of the assignor, which promises Kafka Streams' bytes.
const Protocol = "stream"

// Version is the newest version of the bytes, and the one we write.
const Version = 11

// oldest is the oldest version we read: that of Kafka Streams 2.6.
const oldest = 7

// Offsets that are none.
const (
	Running       int64 = -2 // the task is active and running: as far as can be
	UnknownOffset int64 = -3
)

// ErrVersion says that the bytes are of a version that we do not know.
var ErrVersion = errors.New("stream: unknown version of the assignor's data")

// ErrMalformed says that the bytes are not what they should be.
var ErrMalformed = errors.New("stream: malformed data of the assignor")

// Subscription is what a member tells the leader (Kafka Streams' SubscriptionInfo).
type Subscription struct {
	Version   int32
	Supported int32 // newest version the member knows
	Process   Process
	Endpoint  string            // host:port for queries; empty: none
	Offsets   map[task.ID]int64 // sums of next offsets of a task's changelogs, or Running, or UnknownOffset
	Unique    int8              // different bytes make the group rebalance
	Error     Code              // what the member wants everybody to know
	Tags      map[string]string // of the process
}

// Append appends the bytes, of the newest version.
func (s *Subscription) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, Version)
	b = binary.BigEndian.AppendUint32(b, Version)
	b = append(b, s.Process[:]...)
	b = appendBytes(b, s.Endpoint)
	b = appendInt(b, len(s.Offsets))
	for _, id := range sortedKeys(s.Offsets, compare) {
		b = appendInt(b, id.Sub)
		b = binary.BigEndian.AppendUint32(b, uint32(id.Partition))
		b = binary.BigEndian.AppendUint64(b, uint64(s.Offsets[id]))
		b = append(b, 0xff, 0xff) // no named topology
	}
	b = append(b, byte(s.Unique))
	b = appendInt(b, int(s.Error))
	b = appendInt(b, len(s.Tags))
	for _, k := range sortedKeys(s.Tags, compareStrings) {
		b = appendBytes(appendBytes(b, k), s.Tags[k])
	}
	return b
}

// ReadSubscription reads what a member told: versions 7 to 11. Of a newer one, which is ErrVersion, the two version numbers
// are read, so that the leader can answer with what it knows.
func ReadSubscription(b []byte) (Subscription, error) {
	r := reader{b: b}
	s := Subscription{Version: r.int32(), Supported: r.int32(), Offsets: map[task.ID]int64{}, Tags: map[string]string{}}
	if r.err == nil && (s.Version < oldest || s.Version > Version) {
		return s, fmt.Errorf("%w: %d; known are %d to %d", ErrVersion, s.Version, oldest, Version)
	}
	copy(s.Process[:], r.take(len(s.Process)))
	s.Endpoint = r.bytes()
	for range r.count(8) {
		s.readOffsets(&r)
	}
	if s.Version >= 8 {
		s.Unique = int8(r.byte())
	}
	if s.Version >= 9 {
		s.Error = Code(r.int32())
	}
	if s.Version >= 11 {
		for range r.count(8) {
			k := r.bytes()
			s.Tags[k] = r.bytes()
		}
	}
	if err := r.end(); err != nil {
		return Subscription{}, fmt.Errorf("subscription: %w", err)
	}
	return s, nil
}

// readOffsets reads an element of the list of offsets, whose form has changed with version 10.
func (s *Subscription) readOffsets(r *reader) {
	sub := int(r.int32())
	if s.Version < 10 {
		for range r.count(12) {
			id := task.ID{Sub: sub, Partition: r.int32()}
			s.Offsets[id] = r.int64()
		}
		return
	}
	id := task.ID{Sub: sub, Partition: r.int32()}
	s.Offsets[id] = r.int64()
	if n := int16(r.uint16()); n >= 0 {
		r.take(int(n)) // a named topology, which Kafka Streams does not have any more
	}
}

func sortedKeys[K comparable, V any](m map[K]V, by func(K, K) int) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, by)
	return out
}
