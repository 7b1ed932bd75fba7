package layout

// AppendTimestamped writes a value as stores with timestamps keep it locally: time, value. Their changelog has the plain
// value, and the time is the record's.
func AppendTimestamped(dst, value []byte, at int64) []byte {
	return append(appendInt64(dst, at), value...)
}

// ReadTimestamped takes apart what AppendTimestamped wrote.
func ReadTimestamped(b []byte) (value []byte, at int64, err error) {
	r := reader{b: b}
	at, value = r.int64(), r.rest()
	return value, at, r.done("value with a timestamp", b)
}
