package layout

import (
	"encoding/binary"
	"fmt"
)

// What the last byte of a change says. The last three are of releases that also wrote whether the new value was the latest
// one; they are read, not written.
const (
	changeOld byte = iota
	changeNew
	changeBoth
	changeOldLatest
	changeNewLatest
	changeBothLatest
)

// AppendChange writes the value of a repartition topic of a grouped table: the new value of a row, the old one, or both.
// There must be one.
func AppendChange(dst, now, old []byte) ([]byte, error) {
	switch {
	case now == nil && old == nil:
		return dst, fmt.Errorf("%w: a change has a new or an old value", ErrLayout)
	case old == nil:
		return append(append(dst, now...), changeNew), nil
	case now == nil:
		return append(append(dst, old...), changeOld), nil
	}
	dst = append(binary.AppendVarint(dst, int64(len(now))), now...)
	return append(append(dst, old...), changeBoth), nil
}

// ReadChange takes apart what AppendChange wrote. latest is false only if the bytes say so.
func ReadChange(b []byte) (now, old []byte, latest bool, err error) {
	if len(b) == 0 {
		return nil, nil, false, wrong("change", b)
	}
	kind, body := b[len(b)-1], b[:len(b)-1]
	latest = true
	if kind >= changeOldLatest && kind <= changeBothLatest {
		if len(body) == 0 {
			return nil, nil, false, wrong("change", b)
		}
		latest, body = body[len(body)-1] == 1, body[:len(body)-1]
		kind -= changeOldLatest
	}
	r := reader{b: body}
	switch kind {
	case changeNew:
		now = r.rest()
	case changeOld:
		old = r.rest()
	case changeBoth:
		now = r.take(r.varint())
		old = r.rest()
	default:
		r.fail()
	}
	if err := r.done("change", b); err != nil {
		return nil, nil, false, err
	}
	return now, old, latest, nil
}
