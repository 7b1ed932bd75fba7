package layout

const sessionTail = 2 * int64Len

// AppendSessionKey writes the key of a session: key, end, start. It is the same in changelogs and on topics.
func AppendSessionKey(dst, key []byte, start, end int64) []byte {
	return appendInt64(appendInt64(append(dst, key...), end), start)
}

// ReadSessionKey takes apart what AppendSessionKey wrote.
func ReadSessionKey(b []byte) (key []byte, start, end int64, err error) {
	r := reader{b: b}
	key, end, start = r.take(len(b)-sessionTail), r.int64(), r.int64()
	return key, start, end, r.done("session key", b)
}

// AppendTimeFirstSessionKey writes the local key of a session store that is ordered by end, start, then key.
func AppendTimeFirstSessionKey(dst, key []byte, start, end int64) []byte {
	return append(appendInt64(appendInt64(append(dst, timeFirst), end), start), key...)
}

// ReadTimeFirstSessionKey takes apart what AppendTimeFirstSessionKey wrote.
func ReadTimeFirstSessionKey(b []byte) (key []byte, start, end int64, err error) {
	r := reader{b: b}
	if r.byte() != timeFirst {
		r.fail()
	}
	end, start, key = r.int64(), r.int64(), r.rest()
	return key, start, end, r.done("session key with the time first", b)
}

// AppendKeyFirstSessionKey writes the local key of the index by key beside a store that is ordered by end.
func AppendKeyFirstSessionKey(dst, key []byte, start, end int64) []byte {
	return AppendSessionKey(append(dst, keyFirst), key, start, end)
}

// ReadKeyFirstSessionKey takes apart what AppendKeyFirstSessionKey wrote.
func ReadKeyFirstSessionKey(b []byte) (key []byte, start, end int64, err error) {
	if len(b) == 0 || b[0] != keyFirst {
		return nil, 0, 0, wrong("session key with the key first", b)
	}
	return ReadSessionKey(b[1:])
}
