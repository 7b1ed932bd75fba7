package changes

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Reading Avro is done here rather than by goavro because goavro makes room for as many array members as a value claims
// to have: twelve bytes could ask for gigabytes. Here nothing is allocated that the bytes do not hold.

// avroType is a node of a parsed schema.
type avroType struct {
	kind    string // Avro's type name, or "union"
	logical string
	scale   int // of a decimal
	size    int // of a fixed
	symbols []string
	fields  []avroField
	items   *avroType
	members []*avroType
}

type avroField struct {
	name string
	of   *avroType
}

// parseAvro understands what a writer of change events can reasonably use: every type but map.
func parseAvro(text string) (*avroType, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	return buildAvro(v, map[string]*avroType{}, 0)
}

// avroText is the part of a schema's node that matters here.
type avroText struct {
	Type        any      `json:"type"`
	Name        string   `json:"name"`
	LogicalType string   `json:"logicalType"`
	Scale       int      `json:"scale"`
	Size        int      `json:"size"`
	Symbols     []string `json:"symbols"`
	Items       any      `json:"items"`
	Fields      []struct {
		Name string `json:"name"`
		Type any    `json:"type"`
	} `json:"fields"`
}

func buildAvro(v any, named map[string]*avroType, depth int) (*avroType, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("avro schema: nested deeper than %d", maxDepth)
	}
	switch s := v.(type) {
	case string:
		return namedAvro(s, named)
	case []any:
		t := &avroType{kind: "union"}
		for _, m := range s {
			member, err := buildAvro(m, named, depth+1)
			if err != nil {
				return nil, err
			}
			t.members = append(t.members, member)
		}
		return t, nil
	case map[string]any:
		return buildAvroObject(s, named, depth)
	default:
		return nil, errors.New("avro schema: a type must be a name, a list or an object")
	}
}

var avroPrimitives = []string{"null", "boolean", "int", "long", "float", "double", "bytes", "string"}

func namedAvro(name string, named map[string]*avroType) (*avroType, error) {
	if slices.Contains(avroPrimitives, name) {
		return &avroType{kind: name}, nil
	}
	if t, ok := named[name[strings.LastIndexByte(name, '.')+1:]]; ok {
		return t, nil
	}
	return nil, fmt.Errorf("avro schema: type %s is not understood in a change event", clip(name))
}

func buildAvroObject(m map[string]any, named map[string]*avroType, depth int) (*avroType, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	var s avroText
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("avro schema: %w", err)
	}
	kind, isName := s.Type.(string)
	if !isName {
		return buildAvro(s.Type, named, depth+1)
	}
	t := &avroType{kind: kind, logical: s.LogicalType, scale: s.Scale, size: s.Size, symbols: s.Symbols}
	switch kind {
	case "record", "enum", "fixed":
		named[s.Name[strings.LastIndexByte(s.Name, '.')+1:]] = t
		for _, f := range s.Fields {
			of, err := buildAvro(f.Type, named, depth+1)
			if err != nil {
				return nil, err
			}
			t.fields = append(t.fields, avroField{f.Name, of})
		}
	case "array":
		t.items, err = buildAvro(s.Items, named, depth+1)
	default:
		if !slices.Contains(avroPrimitives, kind) {
			return buildAvro(kind, named, depth+1)
		}
	}
	return t, err
}

// singleMagic begins a value in single-object encoding; a CRC-64-AVRO fingerprint of 8 bytes follows.
var singleMagic = []byte{0xC3, 0x01}

// confluentHeader is the magic byte 0 and a big-endian number of a schema.
const confluentHeader = 5

// fields reads a value in whichever form it is. A fault of the value is noted in e; the error is the registry's.
func (d Decoder) fields(ctx context.Context, e *Error, topicName string, value []byte) (map[string]any, error) {
	bad := func(err error) (map[string]any, error) {
		e.add(Malformed, "", err.Error())
		return nil, nil
	}
	switch {
	case len(value) == 0:
		return bad(errors.New("no value"))
	case len(value) >= 10 && string(value[:2]) == string(singleMagic):
		all, err := ownSchemas()
		if err != nil {
			return nil, err
		}
		own := all[topicName]
		if fingerprint := binary.LittleEndian.Uint64(value[2:]); fingerprint != own.codec.Rabin {
			return bad(fmt.Errorf("avro: unknown schema fingerprint %016x", fingerprint))
		}
		fields, err := readAvro(own.root, value[10:])
		if err != nil {
			return bad(err)
		}
		return fields, nil
	case len(value) >= confluentHeader && value[0] == 0:
		return d.confluent(ctx, bad, value)
	default:
		fields, err := readJSON(value)
		if err != nil {
			return bad(err)
		}
		return fields, nil
	}
}

func (d Decoder) confluent(ctx context.Context, bad func(error) (map[string]any, error), value []byte) (map[string]any, error) {
	id := int(binary.BigEndian.Uint32(value[1:]))
	if d.Registry == nil {
		return bad(fmt.Errorf("avro: schema %d of a registry, and kafka.schema_registry is not set", id))
	}
	text, err := d.Registry.Schema(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("changes: schema %d: %w", id, err)
	}
	root, err := parseAvro(text)
	if err != nil {
		return bad(fmt.Errorf("schema %d: %w", id, err))
	}
	fields, err := readAvro(root, value[confluentHeader:])
	if err != nil {
		return bad(err)
	}
	return fields, nil
}

// readAvro reads one record that fills b, in the form of readJSON; fields that are null are left out.
func readAvro(t *avroType, b []byte) (map[string]any, error) {
	if t.kind != "record" {
		return nil, errors.New("avro: a record is needed")
	}
	r := &avroReader{b: b}
	v := r.value(t, 0)
	if r.err != nil {
		return nil, r.err
	}
	if len(r.b) > 0 {
		return nil, fmt.Errorf("avro: %d bytes follow the value", len(r.b))
	}
	fields, _ := v.(map[string]any)
	return fields, nil
}

// avroReader takes values off b; after the first fault it returns nothing but nil.
type avroReader struct {
	b     []byte
	err   error
	items int
}

// maxItems bounds members that take no bytes, such as an array of nulls.
const maxItems = 1 << 16

func (r *avroReader) fail(reason string) any {
	if r.err == nil {
		r.err = errors.New("avro: " + reason)
	}
	return nil
}

func (r *avroReader) value(t *avroType, depth int) any {
	if r.err != nil || depth > 2*maxDepth {
		return r.fail("nested too deeply")
	}
	switch t.kind {
	case "null":
		return nil
	case "boolean":
		b := r.take(1)
		return len(b) == 1 && b[0] != 0
	case "int", "long":
		return t.number(r.long())
	case "float":
		return r.take(4) // no field is a float: the reader of the event says so
	case "double":
		return r.take(8)
	case "fixed":
		return t.raw(r.take(int64(t.size)))
	case "bytes", "string":
		return r.str(t)
	case "enum":
		if i := r.long(); i >= 0 && i < int64(len(t.symbols)) {
			return t.symbols[i]
		}
		return r.fail("enum out of range")
	case "union":
		if i := r.long(); r.err == nil && i >= 0 && i < int64(len(t.members)) {
			return r.value(t.members[i], depth+1)
		}
		return r.fail("union out of range")
	case "array":
		return r.array(t, depth)
	default:
		return r.record(t, depth)
	}
}

func (r *avroReader) str(t *avroType) any {
	b := r.take(r.long())
	if t.kind == "bytes" {
		return t.raw(b)
	}
	if !utf8.Valid(b) {
		return r.fail("a string is not UTF-8")
	}
	return string(b)
}

func (r *avroReader) record(t *avroType, depth int) any {
	out := map[string]any{}
	for _, f := range t.fields {
		if v := r.value(f.of, depth+1); v != nil {
			out[f.name] = v
		}
	}
	return out
}

func (r *avroReader) array(t *avroType, depth int) any {
	out := []any{}
	for {
		n := r.long()
		if n < 0 {
			n = -n
			r.long() // the block's size in bytes, of use to who skips it
		}
		if n == 0 || r.err != nil {
			return out
		}
		for ; n != 0 && r.err == nil; n-- {
			if r.items++; r.items > maxItems {
				return r.fail("too many members")
			}
			out = append(out, r.value(t.items, depth+1))
		}
	}
}

// take is the next n bytes.
func (r *avroReader) take(n int64) []byte {
	if r.err != nil || n < 0 || n > int64(len(r.b)) {
		r.fail("ends too early")
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// long is a zig-zag variable-length integer, as encoding/binary reads it.
func (r *avroReader) long() int64 {
	v, n := binary.Varint(r.b)
	if r.err != nil || n <= 0 {
		r.fail("ends within a number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// number gives a time or date as text, anything else as it is.
func (t *avroType) number(n int64) any {
	switch t.logical {
	case "timestamp-millis":
		return time.UnixMilli(n).UTC().Format(time.RFC3339Nano)
	case "timestamp-micros":
		return time.UnixMicro(n).UTC().Format(time.RFC3339Nano)
	case "date":
		return time.Unix(0, 0).UTC().AddDate(0, 0, int(int32(n))).Format(time.DateOnly)
	default:
		return n
	}
}

// raw gives a decimal as text, a uuid of 16 bytes as text, anything else as bytes.
func (t *avroType) raw(b []byte) any {
	switch {
	case t.logical == "decimal" && t.scale >= 0 && t.scale <= 32 && len(b) > 0 && len(b) <= 32:
		n := new(big.Int).SetBytes(b)
		if b[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.scale)), nil)).FloatString(t.scale)
	case t.logical == "uuid" && len(b) == 16:
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	default:
		return b
	}
}
