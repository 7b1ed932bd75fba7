package layout

import "fmt"

// AppendResponse writes the value of a foreign-key join's response topic: the hash of the subscription that is answered and
// the right row's value. The record's key is the left row's. An empty value reads as null.
func AppendResponse(dst, hash, value []byte) []byte {
	return append(append(append(dst, absent(hash)), hash...), value...)
}

// ReadResponse takes apart what AppendResponse wrote.
func ReadResponse(b []byte) (hash, value []byte, err error) {
	r := reader{b: b}
	first := r.byte()
	if version := first &^ hashNull; version != 0 {
		return nil, nil, fmt.Errorf("%w: a response of version %d is not known", ErrLayout, version)
	}
	if first&hashNull == 0 {
		hash = r.take(hashLen)
	}
	if value = r.rest(); len(value) == 0 {
		value = nil
	}
	return hash, value, r.done("response", b)
}
