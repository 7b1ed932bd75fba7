package layout

import (
	"encoding/binary"
	"math/bits"
)

const (
	hashSeed = 104729
	hashC1   = 0x87c37b91114253d5
	hashC2   = 0x4cf5ad432745937f
)

// Hash128 is the 128-bit murmur3 hash by which a foreign-key join knows a left row's value again.
func Hash128(data []byte) [16]byte {
	h1, h2 := uint64(hashSeed), uint64(hashSeed)
	b := data
	for ; len(b) >= hashLen; b = b[hashLen:] {
		h1 ^= mix1(binary.LittleEndian.Uint64(b))
		h1 = (bits.RotateLeft64(h1, 27)+h2)*5 + 0x52dce729
		h2 ^= mix2(binary.LittleEndian.Uint64(b[int64Len:]))
		h2 = (bits.RotateLeft64(h2, 31)+h1)*5 + 0x38495ab5
	}
	if len(b) > 0 {
		var tail [hashLen]byte // the last bytes and zeros: mixing in a zero changes nothing
		copy(tail[:], b)
		h2 ^= mix2(binary.LittleEndian.Uint64(tail[int64Len:]))
		h1 ^= mix1(binary.LittleEndian.Uint64(tail[:]))
	}
	h1 ^= uint64(len(data))
	h2 ^= uint64(len(data))
	h1 += h2
	h2 += h1
	h1, h2 = final(h1), final(h2)
	h1 += h2
	h2 += h1
	var out [hashLen]byte
	binary.BigEndian.PutUint64(out[:], h1)
	binary.BigEndian.PutUint64(out[int64Len:], h2)
	return out
}

func mix1(k uint64) uint64 { return bits.RotateLeft64(k*hashC1, 31) * hashC2 }

func mix2(k uint64) uint64 { return bits.RotateLeft64(k*hashC2, 33) * hashC1 }

func final(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
