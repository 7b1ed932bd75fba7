package layout

import (
	"bytes"
	"fmt"
)

// BufferHeader is the header of a suppress changelog record that tells its version in one byte. A tombstone has none, nor
// has the oldest version.
const BufferHeader = "v"

// The versions of a suppress changelog. Only the last one is written.
const (
	BufferV0 byte = iota // time, change; the context is the changelog record's own
	BufferV1             // time, context, change
	BufferV2             // context, change, prior, time
	BufferV3             // context, prior, old, new, time
)

// samePrior is the length of an old value that is the same as the prior one and therefore not written.
const samePrior = -2

// BufferValue is a row that suppress, or a stream-table join with grace, holds back.
type BufferValue[H Header] struct {
	Prior   []byte // the row's value before it was buffered
	Old     []byte // the row's value before the last update
	New     []byte
	Context Context[H] // of the last update
}

// AppendBufferValue writes v and the time it is buffered under, as BufferV3.
func AppendBufferValue[H Header](dst []byte, v *BufferValue[H], at int64) []byte {
	dst = appendSized(AppendContext(dst, &v.Context), v.Prior)
	switch {
	case v.Old == nil:
		dst = appendInt32(dst, null)
	case v.Prior != nil && bytes.Equal(v.Prior, v.Old):
		dst = appendInt32(dst, samePrior)
	default:
		dst = appendSized(dst, v.Old)
	}
	return appendInt64(appendSized(dst, v.New), at)
}

// ReadBufferValue takes apart what any version wrote. own is the context of the changelog record itself, which the first
// version relies on; prior is the prior value of what is already buffered under the key, which the first two rely on.
func ReadBufferValue[H Header](version byte, b []byte, own Context[H], prior []byte) (v BufferValue[H], at int64, err error) {
	r := reader{b: b}
	switch version {
	case BufferV0:
		at = r.int64()
		v.Context = own
		v.Old, v.New = readOldChange(&r)
		v.Prior = firstKnown(prior, v.Old)
	case BufferV1:
		at = r.int64()
		v = readContextual[H](&r)
		v.Prior = firstKnown(prior, v.Old)
	case BufferV2:
		v = readContextual[H](&r)
		v.Prior, at = r.sized(), r.int64()
		if r.done("", b) != nil { // releases 2.4.0 to 2.5.0 wrote version 3 under this number
			return ReadBufferValue(BufferV3, b, own, prior)
		}
	case BufferV3:
		v, at = readBuffer3[H](&r)
	default:
		return v, 0, fmt.Errorf("%w: a buffered row of version %d is not known", ErrLayout, version)
	}
	if err := r.done("buffered row", b); err != nil {
		return BufferValue[H]{}, 0, err
	}
	return v, at, nil
}

func readBuffer3[H Header](r *reader) (v BufferValue[H], at int64) {
	v.Context = readContext[H](r)
	v.Prior = r.sized()
	if n := r.int32(); n == samePrior {
		v.Old = v.Prior
	} else {
		v.Old = r.nullable(int(n))
	}
	v.New = r.sized()
	return v, r.int64()
}

// readContextual reads what the middle versions have in common: a context and, with its length, a change.
func readContextual[H Header](r *reader) (v BufferValue[H]) {
	v.Context = readContext[H](r)
	inner := reader{b: r.sized()}
	v.Old, v.New = readOldChange(&inner)
	if inner.bad || len(inner.b) > 0 {
		r.fail()
	}
	return v
}

// readOldChange reads a change as it was written before version 3: the old value first, each with 4 bytes of length.
func readOldChange(r *reader) (old, now []byte) {
	old = r.sized()
	return old, r.sized()
}

func firstKnown(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}
