package conformance_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// format is what keys or values of a topic hold, as bytes and in a vector. It is written apart from the library's serdes,
// so that both can be wrong only on their own.
type format struct {
	name   string
	encode func(json.RawMessage) ([]byte, error)
	decode func([]byte) (any, error) // as encoding/json decodes it, numbers being json.Number
}

// The formats of TOPOLOGIES.md. RAW is bytes in hex.
var (
	STR  = format{"string", encodeString, decodeString}
	I64  = format{"int64", encodeInt64, decodeInt64}
	JSON = format{"json", encodeJSON, decodeJSON}
	RAW  = format{"hex", nil, func(b []byte) (any, error) { return hex.EncodeToString(b), nil }}
)

// windowed is a windowed key of a string: the key, then the start of the window; its size is known to those who read it.
func windowed(size int64) format {
	return format{fmt.Sprintf("windowed(string,%d)", size), nil, func(b []byte) (any, error) {
		if len(b) < 8 {
			return nil, errSize
		}
		key, start := b[:len(b)-8], int64(binary.BigEndian.Uint64(b[len(b)-8:]))
		end := start + size
		if end < 0 {
			end = math.MaxInt64
		}
		return window(key, start, end)
	}}
}

// session is a session key of a string: the key, the end, the start.
func session() format {
	return format{"session(string)", nil, func(b []byte) (any, error) {
		if len(b) < 16 {
			return nil, errSize
		}
		at := b[len(b)-16:]
		return window(b[:len(b)-16], int64(binary.BigEndian.Uint64(at[8:])), int64(binary.BigEndian.Uint64(at)))
	}}
}

func window(key []byte, start, end int64) (any, error) {
	k, err := decodeString(key)
	return map[string]any{"key": k, "start": number(start), "end": number(end)}, err
}

var errSize = errors.New("a wrong number of bytes")

func encodeString(m json.RawMessage) ([]byte, error) {
	var s string
	err := json.Unmarshal(m, &s)
	return []byte(s), err
}

func decodeString(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%x is no text", b)
	}
	return string(b), nil
}

func encodeInt64(m json.RawMessage) ([]byte, error) {
	var n int64
	err := json.Unmarshal(m, &n)
	return binary.BigEndian.AppendUint64(nil, uint64(n)), err
}

func decodeInt64(b []byte) (any, error) {
	if len(b) != 8 {
		return nil, fmt.Errorf("%x is no int64: %w", b, errSize)
	}
	return number(int64(binary.BigEndian.Uint64(b))), nil
}

func encodeJSON(m json.RawMessage) ([]byte, error) {
	var b bytes.Buffer
	err := json.Compact(&b, m)
	return b.Bytes(), err
}

func decodeJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("%q is more than one value", b)
	}
	return v, nil
}

func number(n int64) json.Number { return json.Number(fmt.Sprint(n)) }

// write makes the bytes of a vector's key or value.
func (f format) write(m json.RawMessage) ([]byte, error) {
	if isNull(m) {
		return nil, nil
	}
	if f.encode == nil {
		return nil, fmt.Errorf("a topic of %s cannot be written", f.name)
	}
	return f.encode(m)
}

// read makes what a vector says of bytes.
func (f format) read(b []byte) any {
	if b == nil {
		return nil
	}
	v, err := f.decode(b)
	if err != nil {
		return fmt.Sprintf("<%x, which is no %s: %v>", b, f.name, err)
	}
	return v
}

func isNull(m json.RawMessage) bool { return len(m) == 0 || string(m) == "null" }

// said is a value as a vector has it, to compare with what was read.
func said(m json.RawMessage) any {
	if isNull(m) {
		return nil
	}
	v, err := decodeJSON(m)
	if err != nil {
		return err
	}
	return v
}

// shown is a value in a message.
func shown(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
