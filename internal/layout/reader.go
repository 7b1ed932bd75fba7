package layout

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrLayout is the cause when bytes are not what they should be.
var ErrLayout = errors.New("layout: wrong bytes")

const (
	int32Len = 4
	int64Len = 8
	null     = -1 // the length of what is null
)

// wrong is an ErrLayout that names the thing.
func wrong(what string, b []byte) error {
	return fmt.Errorf("%w: %d bytes are no %s", ErrLayout, len(b), what)
}

// reader takes bytes from the front. After the first failure it gives zeros; whoever uses it asks bad at the end.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() []byte {
	r.b, r.bad = nil, true
	return nil
}

// take gives n bytes, which are never nil unless they are missing.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		return r.fail()
	}
	if n == 0 {
		return []byte{}
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

// rest gives all that is left.
func (r *reader) rest() []byte { return r.take(len(r.b)) }

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.take(int32Len); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) int64() int64 {
	if b := r.take(int64Len); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// varint reads Kafka's zig-zag number.
func (r *reader) varint() int {
	v, n := binary.Varint(r.b)
	if n <= 0 || int64(int32(v)) != v {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// sized reads 4 bytes of length and as many bytes, or null.
func (r *reader) sized() []byte { return r.nullable(int(r.int32())) }

// small is sized with a varint.
func (r *reader) small() []byte { return r.nullable(r.varint()) }

func (r *reader) nullable(n int) []byte {
	if n == null {
		return nil
	}
	return r.take(n)
}

// done is the error of all that was read; nothing may be left.
func (r *reader) done(what string, b []byte) error {
	if r.bad || len(r.b) > 0 {
		return wrong(what, b)
	}
	return nil
}

func appendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }

func appendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

func appendSized(dst, b []byte) []byte {
	if b == nil {
		return appendInt32(dst, null)
	}
	return append(appendInt32(dst, int32(len(b))), b...)
}

func appendSmall(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, null)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}
