package layout

import (
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
)

// The versions of a commit's text: the second is written since Kafka Streams 3.0 and may end with markers.
const (
	metadataV1 = 1
	metadataV2 = 2
)

const unknown = -1

// Metadata is the text beside a committed offset, in which Kafka Streams keeps the partition's time, -1 if unknown, and
// markers of stores: up to which time their windows have been emitted.
func Metadata(partitionTime int64, markers map[string]int64) string {
	return MetadataBefore(partitionTime, markers, nil)
}

// MetadataBefore is Metadata with a tail of the library's own, which Kafka Streams passes over.
func MetadataBefore(partitionTime int64, markers map[string]int64, tail []byte) string {
	b := appendInt64([]byte{metadataV2}, partitionTime)
	if len(markers) > 0 || len(tail) > 0 {
		b = appendInt32(b, int32(len(markers)))
		for _, name := range slices.Sorted(maps.Keys(markers)) {
			b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
			b = appendInt64(append(b, name...), markers[name])
		}
	}
	return base64.StdEncoding.EncodeToString(append(b, tail...))
}

// ReadMetadata reads such a text. What is empty, foreign or damaged is "not known", -1 and no markers: an offset may have
// been committed by another program.
func ReadMetadata(text string) (partitionTime int64, markers map[string]int64) {
	partitionTime, markers, _ = ReadMetadataBefore(text)
	return partitionTime, markers
}

// ReadMetadataBefore is ReadMetadata with what follows, nil if nothing does.
func ReadMetadataBefore(text string) (partitionTime int64, markers map[string]int64, tail []byte) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return unknown, nil, nil
	}
	r := reader{b: b}
	version, at := r.byte(), r.int64()
	switch {
	case r.bad:
		return unknown, nil, nil
	case version == metadataV1, version == metadataV2 && len(r.b) == 0:
		return at, nil, nil
	case version != metadataV2:
		return unknown, nil, nil
	}
	markers = map[string]int64{}
	for n := r.int32(); n > 0 && !r.bad; n-- {
		name := string(r.take(int(r.int32())))
		markers[name] = r.int64()
	}
	if r.bad {
		return unknown, nil, nil
	}
	return at, markers, r.b
}
