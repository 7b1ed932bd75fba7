package layout

// The two ways in which stores on disk order their keys by more than the key; the first byte tells which.
const (
	timeFirst = 0
	keyFirst  = 1
)

const windowTail = int64Len + int32Len

// AppendWindowKey writes the key of a window store's changelog: key, start, sequence number. Stores without duplicates have
// the number 0.
func AppendWindowKey(dst, key []byte, start int64, seq int32) []byte {
	return appendInt32(appendInt64(append(dst, key...), start), seq)
}

// ReadWindowKey takes apart what AppendWindowKey wrote.
func ReadWindowKey(b []byte) (key []byte, start int64, seq int32, err error) {
	r := reader{b: b}
	key, start, seq = r.take(len(b)-windowTail), r.int64(), r.int32()
	return key, start, seq, r.done("window key", b)
}

// AppendTimeFirstWindowKey writes the local key of a window store that is ordered by start, then key.
func AppendTimeFirstWindowKey(dst, key []byte, start int64, seq int32) []byte {
	return appendInt32(append(appendInt64(append(dst, timeFirst), start), key...), seq)
}

// ReadTimeFirstWindowKey takes apart what AppendTimeFirstWindowKey wrote.
func ReadTimeFirstWindowKey(b []byte) (key []byte, start int64, seq int32, err error) {
	r := reader{b: b}
	if r.byte() != timeFirst {
		r.fail()
	}
	start, key, seq = r.int64(), r.take(len(r.b)-int32Len), r.int32()
	return key, start, seq, r.done("window key with the time first", b)
}

// AppendKeyFirstWindowKey writes the local key of the index by key beside a store that is ordered by start.
func AppendKeyFirstWindowKey(dst, key []byte, start int64, seq int32) []byte {
	return AppendWindowKey(append(dst, keyFirst), key, start, seq)
}

// ReadKeyFirstWindowKey takes apart what AppendKeyFirstWindowKey wrote.
func ReadKeyFirstWindowKey(b []byte) (key []byte, start int64, seq int32, err error) {
	if len(b) == 0 || b[0] != keyFirst {
		return nil, 0, 0, wrong("window key with the key first", b)
	}
	return ReadWindowKey(b[1:])
}

// AppendTimeWindow writes a windowed key as it is on topics: key, start. The end is not written; whoever reads it must know
// the size of the window.
func AppendTimeWindow(dst, key []byte, start int64) []byte {
	return appendInt64(append(dst, key...), start)
}

// ReadTimeWindow takes apart what AppendTimeWindow wrote.
func ReadTimeWindow(b []byte) (key []byte, start int64, err error) {
	r := reader{b: b}
	key, start = r.take(len(b)-int64Len), r.int64()
	return key, start, r.done("windowed key", b)
}
