package layout

import "encoding/binary"

// Partition is where Kafka's default partitioner puts a key: murmur2 of its bytes, made positive, modulo n. n is at least 1.
func Partition(key []byte, n int32) int32 { return Murmur2(key) & 0x7fffffff % n }

// PartitionTimeWindow is where Kafka Streams puts a windowed key, AppendTimeWindow's bytes: with the key itself.
func PartitionTimeWindow(b []byte, n int32) (int32, error) {
	key, _, err := ReadTimeWindow(b)
	if err != nil {
		return 0, err
	}
	return Partition(key, n), nil
}

// PartitionSession is where Kafka Streams puts the key of a session, AppendSessionKey's bytes: with the key itself.
func PartitionSession(b []byte, n int32) (int32, error) {
	key, _, _, err := ReadSessionKey(b)
	if err != nil {
		return 0, err
	}
	return Partition(key, n), nil
}

// Murmur2 is the 32-bit hash of Kafka's clients, with their seed.
func Murmur2(b []byte) int32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
	)
	h := uint32(seed) ^ uint32(len(b))
	for len(b) >= 4 {
		k := binary.LittleEndian.Uint32(b) * m
		k ^= k >> 24
		h = h*m ^ k*m
		b = b[4:]
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h = (h ^ h>>13) * m
	return int32(h ^ h>>15)
}
