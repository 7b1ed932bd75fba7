package serde

import (
	"encoding/hex"
	"fmt"
)

const uuidLen = 36

type uuidSerde struct{}

// UUID is Kafka's UUIDSerializer: 36 characters.
func UUID() Serde[[16]byte] { return uuidSerde{} }

func (uuidSerde) Append(dst []byte, v [16]byte, _ Meta) ([]byte, error) {
	for i, part := range [][]byte{v[:4], v[4:6], v[6:8], v[8:10], v[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst, nil
}

func (uuidSerde) Decode(b []byte, _ Meta) (v [16]byte, err error) {
	if len(b) != uuidLen || b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return v, fmt.Errorf("serde: %.40q is no UUID of 36 characters", b)
	}
	var digits [32]byte
	n := 0
	for _, c := range b {
		if c != '-' && n < len(digits) {
			digits[n] = c
			n++
		}
	}
	if n != len(digits) {
		return v, fmt.Errorf("serde: %.40q is no UUID of 36 characters", b)
	}
	if _, err := hex.Decode(v[:], digits[:]); err != nil {
		return v, fmt.Errorf("serde: %.40q is no UUID: %w", b, err)
	}
	return v, nil
}
