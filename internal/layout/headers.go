package layout

import "encoding/binary"

// Header is any type that is a record header in memory. The functions are generic in it so that their callers can pass on
// the headers they have.
type Header interface {
	~struct {
		Key   string
		Value []byte
	}
}

// header is what every Header is.
type header = struct {
	Key   string
	Value []byte
}

// AppendHeaders writes headers as stores keep them, each length a varint; none are no bytes.
func AppendHeaders[H Header](dst []byte, hs []H) []byte {
	if len(hs) == 0 {
		return dst
	}
	dst = binary.AppendVarint(dst, int64(len(hs)))
	for i := range hs {
		h := header(hs[i])
		dst = append(binary.AppendVarint(dst, int64(len(h.Key))), h.Key...)
		dst = appendSmall(dst, h.Value)
	}
	return dst
}

// ReadHeaders takes apart what AppendHeaders wrote.
func ReadHeaders[H Header](b []byte) ([]H, error) {
	if len(b) == 0 {
		return nil, nil
	}
	r := reader{b: b}
	var hs []H
	n := r.varint()
	if n < 0 {
		r.fail()
	}
	for ; n > 0 && !r.bad; n-- {
		hs = append(hs, H(header{Key: string(r.take(r.varint())), Value: r.small()}))
	}
	if err := r.done("headers", b); err != nil {
		return nil, err
	}
	return hs, nil
}

// AppendHeadersValue writes a value as stores with headers keep it locally: the headers and their length, time, value.
func AppendHeadersValue[H Header](dst, value []byte, at int64, hs []H) []byte {
	return append(appendInt64(appendBlock(dst, hs), at), value...)
}

// ReadHeadersValue takes apart what AppendHeadersValue wrote.
func ReadHeadersValue[H Header](b []byte) (value []byte, at int64, hs []H, err error) {
	r := reader{b: b}
	block := r.take(r.varint())
	at, value = r.int64(), r.rest()
	if err := r.done("value with headers", b); err != nil {
		return nil, 0, nil, err
	}
	hs, err = ReadHeaders[H](block)
	return value, at, hs, err
}

// AppendHeadersAggregation writes the aggregation of a session as stores with headers keep it locally: the headers and
// their length, value.
func AppendHeadersAggregation[H Header](dst, value []byte, hs []H) []byte {
	return append(appendBlock(dst, hs), value...)
}

// ReadHeadersAggregation takes apart what AppendHeadersAggregation wrote.
func ReadHeadersAggregation[H Header](b []byte) (value []byte, hs []H, err error) {
	r := reader{b: b}
	block := r.take(r.varint())
	value = r.rest()
	if err := r.done("aggregation with headers", b); err != nil {
		return nil, nil, err
	}
	hs, err = ReadHeaders[H](block)
	return value, hs, err
}

// appendBlock writes headers behind their length, which is known only when they are written: they are moved up by the few
// bytes it takes.
func appendBlock[H Header](dst []byte, hs []H) []byte {
	at := len(dst)
	dst = AppendHeaders(dst, hs)
	var length [binary.MaxVarintLen64]byte
	n := binary.PutVarint(length[:], int64(len(dst)-at))
	dst = append(dst, length[:n]...)
	copy(dst[at+n:], dst[at:])
	copy(dst[at:], length[:n])
	return dst
}
