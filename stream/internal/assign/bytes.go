package assign

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

func appendInt(b []byte, n int) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) }

func appendBytes(b []byte, s string) []byte { return append(appendInt(b, len(s)), s...) }

// appendUTF appends a string as Java's DataOutput does: units of UTF-16, each as one to three bytes, zero as two.
func appendUTF(b []byte, s string) []byte {
	var body []byte
	for _, u := range utf16.Encode([]rune(s)) {
		switch {
		case u != 0 && u < 0x80:
			body = append(body, byte(u))
		case u < 0x800:
			body = append(body, 0xc0|byte(u>>6), 0x80|byte(u&0x3f))
		default:
			body = append(body, 0xe0|byte(u>>12), 0x80|byte(u>>6&0x3f), 0x80|byte(u&0x3f))
		}
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...)
}

// reader reads big-endian data. After a fault everything is zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)) {
		r.err = fmt.Errorf("%w: %d bytes are wanted, %d are left", ErrMalformed, n, len(r.b))
	}
	if r.err != nil {
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) bytes() string { return string(r.take(int(r.int32()))) }

// count reads the length of a list whose elements have at least size bytes, so that a wrong one cannot ask for much memory.
func (r *reader) count(size int) int {
	n := int(r.int32())
	if r.err == nil && (n < 0 || n > len(r.b)/size) {
		r.err = fmt.Errorf("%w: a list of %d elements in %d bytes", ErrMalformed, n, len(r.b))
	}
	if r.err != nil {
		return 0
	}
	return n
}

// utf reads what appendUTF writes. Topics and hosts are ASCII, so most need no decoding.
func (r *reader) utf() string {
	b := r.take(int(r.uint16()))
	units := make([]uint16, 0, len(b))
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c < utf8.RuneSelf:
			units, i = append(units, uint16(c)), i+1
		case c>>5 == 0b110 && i+1 < len(b):
			units, i = append(units, uint16(c&0x1f)<<6|uint16(b[i+1]&0x3f)), i+2
		case c>>4 == 0b1110 && i+2 < len(b):
			units, i = append(units, uint16(c&0x0f)<<12|uint16(b[i+1]&0x3f)<<6|uint16(b[i+2]&0x3f)), i+3
		default:
			r.err = fmt.Errorf("%w: text with byte %#x", ErrMalformed, c)
			return ""
		}
	}
	return string(utf16.Decode(units))
}

// end says what went wrong, and whether something is left.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(r.b))
	}
	return r.err
}
