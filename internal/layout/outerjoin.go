package layout

// AppendOuterKey writes a key of the store that keeps, for a left or outer stream-stream join, records without a partner:
// time, side, key. Left sorts behind right.
func AppendOuterKey(dst, key []byte, at int64, left bool) []byte {
	return append(appendBool(appendInt64(dst, at), left), key...)
}

// ReadOuterKey takes apart what AppendOuterKey wrote.
func ReadOuterKey(b []byte) (key []byte, at int64, left bool, err error) {
	r := reader{b: b}
	at = r.int64()
	left = r.bool()
	key = r.rest()
	return key, at, left, r.done("key of an outer join", b)
}

// AppendOuterValue writes one value of that store: side, value.
func AppendOuterValue(dst, value []byte, left bool) []byte {
	return append(appendBool(dst, left), value...)
}

// ReadOuterValue takes apart what AppendOuterValue wrote.
func ReadOuterValue(b []byte) (value []byte, left bool, err error) {
	r := reader{b: b}
	left = r.bool()
	value = r.rest()
	return value, left, r.done("value of an outer join", b)
}

func (r *reader) bool() bool {
	b := r.byte()
	if b > 1 {
		r.fail()
	}
	return b == 1
}
