package serde

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// ErrSize is the cause when bytes are too few or too many for their type.
var ErrSize = errors.New("serde: wrong number of bytes")

func sized(b []byte, want int, what string) error {
	if len(b) != want {
		return fmt.Errorf("%w for %s: %d, want %d", ErrSize, what, len(b), want)
	}
	return nil
}

type stringSerde struct{}

// String is UTF-8, as Kafka's StringSerializer.
func String() Serde[string] { return stringSerde{} }

func (stringSerde) Append(dst []byte, v string, _ Meta) ([]byte, error) {
	return append(dst, v...), nil
}

func (stringSerde) Decode(b []byte, _ Meta) (string, error) {
	if !utf8.Valid(b) {
		// Java replaces what is not UTF-8 by U+FFFD. We do too: refusing would make a topic that Java reads unreadable.
		return string([]rune(string(b))), nil
	}
	return string(b), nil
}

type bytesSerde struct{}

// Bytes passes bytes on. What it decodes is a copy, so it may be kept.
func Bytes() Serde[[]byte] { return bytesSerde{} }

func (bytesSerde) Append(dst []byte, v []byte, _ Meta) ([]byte, error) { return append(dst, v...), nil }

func (bytesSerde) Decode(b []byte, _ Meta) ([]byte, error) {
	return append(make([]byte, 0, len(b)), b...), nil
}

type int64Serde struct{}

// Int64 is 8 bytes big-endian, as Kafka's LongSerializer. Int and Uint64 share it.
func Int64() Serde[int64] { return int64Serde{} }

func (int64Serde) Append(dst []byte, v int64, _ Meta) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

func (int64Serde) Decode(b []byte, _ Meta) (int64, error) {
	if err := sized(b, 8, "int64"); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

type int32Serde struct{}

// Int32 is 4 bytes big-endian, as Kafka's IntegerSerializer.
func Int32() Serde[int32] { return int32Serde{} }

func (int32Serde) Append(dst []byte, v int32, _ Meta) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(v)), nil
}

func (int32Serde) Decode(b []byte, _ Meta) (int32, error) {
	if err := sized(b, 4, "int32"); err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(b)), nil
}

type int16Serde struct{}

// Int16 is 2 bytes big-endian, as Kafka's ShortSerializer.
func Int16() Serde[int16] { return int16Serde{} }

func (int16Serde) Append(dst []byte, v int16, _ Meta) ([]byte, error) {
	return binary.BigEndian.AppendUint16(dst, uint16(v)), nil
}

func (int16Serde) Decode(b []byte, _ Meta) (int16, error) {
	if err := sized(b, 2, "int16"); err != nil {
		return 0, err
	}
	return int16(binary.BigEndian.Uint16(b)), nil
}

type float64Serde struct{}

// Float64 is IEEE 754, big-endian, as Kafka's DoubleSerializer.
func Float64() Serde[float64] { return float64Serde{} }

func (float64Serde) Append(dst []byte, v float64, _ Meta) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, canonical64(v)), nil
}

func (float64Serde) Decode(b []byte, _ Meta) (float64, error) {
	if err := sized(b, 8, "float64"); err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

// canonical64 is Java's doubleToLongBits: every NaN has the same bytes.
func canonical64(v float64) uint64 {
	if v != v {
		return 0x7ff8000000000000
	}
	return math.Float64bits(v)
}

type float32Serde struct{}

// Float32 is IEEE 754, big-endian, as Kafka's FloatSerializer.
func Float32() Serde[float32] { return float32Serde{} }

func (float32Serde) Append(dst []byte, v float32, _ Meta) ([]byte, error) {
	bits := math.Float32bits(v)
	if v != v { // as canonical64
		bits = 0x7fc00000
	}
	return binary.BigEndian.AppendUint32(dst, bits), nil
}

func (float32Serde) Decode(b []byte, _ Meta) (float32, error) {
	if err := sized(b, 4, "float32"); err != nil {
		return 0, err
	}
	return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
}

type boolSerde struct{}

// Bool is one byte, 0 or 1, as Kafka's BooleanSerializer.
func Bool() Serde[bool] { return boolSerde{} }

func (boolSerde) Append(dst []byte, v bool, _ Meta) ([]byte, error) {
	if v {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

func (boolSerde) Decode(b []byte, _ Meta) (bool, error) {
	if err := sized(b, 1, "bool"); err != nil {
		return false, err
	}
	if b[0] > 1 {
		return false, fmt.Errorf("serde: a bool is the byte 0 or 1, not %#x", b[0])
	}
	return b[0] == 1, nil
}

type timeSerde struct{}

// Time is milliseconds since 1970, as Int64; what is finer is cut off. Decoded times are in UTC.
func Time() Serde[time.Time] { return timeSerde{} }

func (timeSerde) Append(dst []byte, v time.Time, m Meta) ([]byte, error) {
	return int64Serde{}.Append(dst, v.UnixMilli(), m)
}

func (timeSerde) Decode(b []byte, m Meta) (time.Time, error) {
	ms, err := int64Serde{}.Decode(b, m)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(ms).UTC(), nil
}

type unitSerde struct{}

// Unit is the Serde of struct{}: no bytes at all.
func Unit() Serde[struct{}] { return unitSerde{} }

func (unitSerde) Append(dst []byte, _ struct{}, _ Meta) ([]byte, error) { return dst, nil }

func (unitSerde) Decode(b []byte, _ Meta) (struct{}, error) {
	return struct{}{}, sized(b, 0, "struct{}")
}
