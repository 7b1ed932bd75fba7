package layout

// listVariable says that each value of a list has a length of its own.
const listVariable = 1

// AppendList writes the values that a store keeps under one key: each with its length, nil for null.
func AppendList(dst []byte, values ...[]byte) []byte {
	dst = appendInt32(append(dst, listVariable), int32(len(values)))
	for _, v := range values {
		dst = appendSized(dst, v)
	}
	return dst
}

// AppendToList writes list, which AppendList made, with one more value; nil is the empty list.
func AppendToList(dst, list, value []byte) ([]byte, error) {
	if list == nil {
		return AppendList(dst, value), nil
	}
	r := reader{b: list}
	kind, n := r.byte(), r.int32()
	if r.bad || kind != listVariable || n < 0 {
		return dst, wrong("list", list)
	}
	dst = append(appendInt32(append(dst, listVariable), n+1), r.b...)
	return appendSized(dst, value), nil
}

// ReadList appends the values of a list to dst.
func ReadList(dst [][]byte, b []byte) ([][]byte, error) {
	r := reader{b: b}
	kind, n := r.byte(), r.int32()
	if kind != listVariable || n < 0 {
		return dst, wrong("list", b)
	}
	for ; n > 0 && !r.bad; n-- {
		dst = append(dst, r.sized())
	}
	return dst, r.done("list", b)
}

// listFixed says that all values of a list have the length of their type; which are null is written before them.
const listFixed = 0

// AppendFixedList writes a list, as Kafka's list serializer does for numbers and UUIDs, whose values all have size bytes, or are nil.
func AppendFixedList(dst []byte, size int, values ...[]byte) ([]byte, error) {
	dst = append(dst, listFixed)
	at := len(dst)
	dst = appendInt32(dst, 0)
	nulls := int32(0)
	for i, v := range values {
		if v == nil {
			nulls++
			dst = appendInt32(dst, int32(i))
		}
	}
	appendInt32(dst[:at], nulls)
	dst = appendInt32(dst, int32(len(values)))
	for _, v := range values {
		if v != nil && len(v) != size {
			return dst[:at-1], wrong("value of a list of fixed size", v)
		}
		dst = append(dst, v...)
	}
	return dst, nil
}

// ReadFixedList appends the values of a list of fixed size to dst.
func ReadFixedList(dst [][]byte, b []byte, size int) ([][]byte, error) {
	r := reader{b: b}
	kind, nulls := r.byte(), r.int32()
	if size < 1 || kind != listFixed || nulls < 0 || int(nulls) > len(r.b)/int32Len {
		return dst, wrong("list of fixed size", b)
	}
	absent := make(map[int32]bool, nulls)
	for range nulls {
		absent[r.int32()] = true
	}
	n := r.int32()
	for i := int32(0); i < n && !r.bad; i++ {
		if absent[i] {
			dst = append(dst, nil)
			continue
		}
		dst = append(dst, r.take(size))
	}
	return dst, r.done("list of fixed size", b)
}
