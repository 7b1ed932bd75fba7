package layout

import "encoding/binary"

// StampHeader is the header of a changelog record that says what the record stems from. It is the last one; nothing of
// Kafka Streams writes it.
const StampHeader = "__millrun.at"

// StampKind is what a Stamp says.
type StampKind byte

// The kinds.
const (
	Amended  StampKind = iota + 1 // nothing: the record holds in any case
	Recorded                      // a record of a source topic was being processed
	Stepped                       // no record was; what was done without any is counted by commits
)

// Stamp is what a changelog record stems from.
type Stamp struct {
	Kind   StampKind
	Time   int64  // of the change, in milliseconds; -1: it has none. The record's own time is that of its being sent
	Offset int64  // Recorded: of the record; Stepped: how many commits had gone before
	Topic  []byte // Recorded: of the record, whose partition is the changelog's
	Begun  bool   // all of the task's inputs had been committed before
}

// stampBegun is the bit of the kind that says Begun.
const stampBegun = 0x80

// AppendStamp writes the value of a StampHeader: the kind, its highest bit set for Begun, then the time as a zig-zag number, and,
// unless it is Amended, the offset as a number; what is left is the topic.
func AppendStamp(dst []byte, s Stamp) []byte {
	kind := byte(s.Kind)
	if s.Begun {
		kind |= stampBegun
	}
	dst = binary.AppendVarint(append(dst, kind), s.Time)
	if s.Kind == Amended {
		return dst
	}
	return append(binary.AppendUvarint(dst, uint64(s.Offset)), s.Topic...)
}

// ReadStamp reads the value of a StampHeader; the topic is a part of it.
func ReadStamp(b []byte) (s Stamp, err error) {
	r := reader{b: b}
	kind := r.byte()
	s.Kind, s.Begun, s.Time = StampKind(kind&^stampBegun), kind&stampBegun != 0, r.varint64()
	if s.Kind != Amended {
		s.Offset, s.Topic = r.uvarint64(), r.rest()
	}
	if r.bad || s.Kind < Amended || s.Kind > Stepped || len(r.b) > 0 {
		return Stamp{}, wrong("stamp", b)
	}
	return s, nil
}

// OriginHeader is the header of a record in a repartition topic that says which of the results of which record it is. It is the
// last one; nothing of Kafka Streams writes it.
const OriginHeader = "__millrun.from"

// Origin tells a result from all others of its writer.
type Origin struct {
	Topic     []byte // its id, or its name where there are no ids
	Partition int32
	Late      bool // it came when slow work was done, and stands in an order of its own
	Offset    int64
	Index     int64 // among the results of the record
}

const originV1 = 1

// AppendOrigin writes the value of an OriginHeader: the version, the partition with the lowest bit for Late, the offset and the
// index as numbers; what is left is the topic.
func AppendOrigin(dst []byte, o Origin) []byte {
	dst = binary.AppendUvarint(append(dst, originV1), lane(o.Partition, o.Late))
	dst = binary.AppendUvarint(dst, uint64(o.Offset))
	return append(binary.AppendUvarint(dst, uint64(o.Index)), o.Topic...)
}

// ReadOrigin reads the value of an OriginHeader; the topic is a part of it.
func ReadOrigin(b []byte) (o Origin, err error) {
	r := reader{b: b}
	version := r.byte()
	o.Partition, o.Late = r.lane()
	o.Offset, o.Index, o.Topic = r.uvarint64(), r.uvarint64(), r.rest()
	if r.bad || version != originV1 {
		return Origin{}, wrong("origin", b)
	}
	return o, nil
}

// AppendOrigins writes what a reader of a repartition topic has seen: the last result of each writer. It is the number of topics,
// each with its length before it, and then for each writer the topic's place among them and what AppendOrigin writes.
func AppendOrigins(dst []byte, all []Origin) []byte {
	dst = append(dst, originV1)
	at := map[string]uint64{}
	var topics [][]byte
	for _, o := range all {
		if _, ok := at[string(o.Topic)]; !ok {
			at[string(o.Topic)] = uint64(len(topics))
			topics = append(topics, o.Topic)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(topics)))
	for _, t := range topics {
		dst = append(binary.AppendUvarint(dst, uint64(len(t))), t...)
	}
	for _, o := range all {
		dst = binary.AppendUvarint(dst, at[string(o.Topic)])
		dst = binary.AppendUvarint(dst, lane(o.Partition, o.Late))
		dst = binary.AppendUvarint(dst, uint64(o.Offset))
		dst = binary.AppendUvarint(dst, uint64(o.Index))
	}
	return dst
}

// ReadOrigins reads what AppendOrigins writes; topics are parts of it.
func ReadOrigins(b []byte) (all []Origin, err error) {
	r := reader{b: b}
	version := r.byte()
	var topics [][]byte
	for n := r.uvarint64(); n > 0 && !r.bad; n-- {
		topics = append(topics, r.take(int(r.uvarint64())))
	}
	for len(r.b) > 0 {
		var o Origin
		t := r.uvarint64()
		if t < 0 || t >= int64(len(topics)) {
			r.fail()
			break
		}
		o.Topic = topics[t]
		o.Partition, o.Late = r.lane()
		o.Offset, o.Index = r.uvarint64(), r.uvarint64()
		all = append(all, o)
	}
	if r.bad || version != originV1 {
		return nil, wrong("list of origins", b)
	}
	return all, nil
}

func lane(partition int32, late bool) uint64 {
	n := uint64(partition) << 1
	if late {
		n++
	}
	return n
}

func (r *reader) lane() (partition int32, late bool) {
	n := r.uvarint64()
	if n>>1 > 1<<31-1 {
		r.fail()
	}
	return int32(n >> 1), n&1 == 1
}

func (r *reader) uvarint64() int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || int64(v) < 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int64(v)
}

func (r *reader) varint64() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}
