package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"time"
)

// Reading is our own, because goavro makes room for as many array members as a value claims: a message of twelve bytes could
// ask for gigabytes. Here nothing is allocated that the bytes do not hold. The result has goavro's native form.

// Limits of what has no bytes of its own.
const (
	depthMost  = 64      // records within records, of a schema that refers to itself
	hollowMost = 1 << 16 // members of an array that take no bytes, such as nulls
)

var errShort = errors.New("the bytes end within the value")

// input is what is left of the bytes.
type input struct {
	b     []byte
	depth int
}

func (in *input) take(n int64) ([]byte, error) {
	if n < 0 || n > int64(len(in.b)) {
		return nil, errShort
	}
	out := in.b[:n]
	in.b = in.b[n:]
	return out, nil
}

// long is Avro's zig-zag varint, which is Go's.
func (in *input) long() (int64, error) {
	x, n := binary.Varint(in.b)
	if n <= 0 {
		return 0, errShort
	}
	in.b = in.b[n:]
	return x, nil
}

func (in *input) bytes() ([]byte, error) {
	n, err := in.long()
	if err != nil {
		return nil, err
	}
	return in.take(n)
}

// read takes one value of a schema.
func (in *input) read(n *node) (any, error) {
	switch n.kind {
	case "null":
		return nil, nil
	case "record":
		return in.record(n)
	case "array":
		return in.array(n)
	case "map":
		return in.table(n)
	case "union":
		return in.union(n)
	case "enum":
		return in.enum(n)
	}
	return in.simple(n)
}

func (in *input) record(n *node) (any, error) {
	if in.depth++; in.depth > depthMost {
		return nil, fmt.Errorf("more than %d records within each other", depthMost)
	}
	defer func() { in.depth-- }()
	out := make(map[string]any, len(n.fields))
	for _, f := range n.fields {
		v, err := in.read(f.node)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", f.name, err)
		}
		out[f.name] = v
	}
	return out, nil
}

// blocks calls one for each member of an array or map.
func (in *input) blocks(one func() error) error {
	hollow := int64(0)
	for {
		count, err := in.long()
		if err != nil {
			return err
		}
		if count == 0 {
			return nil
		}
		if count < 0 { // the block's size in bytes follows, which only those need who skip
			if _, err := in.long(); err != nil {
				return err
			}
			count = -count
		}
		for range uint64(count) {
			before := len(in.b)
			if err := one(); err != nil {
				return err
			}
			if before == len(in.b) {
				if hollow++; hollow > hollowMost {
					return fmt.Errorf("more than %d members without bytes", hollowMost)
				}
			}
		}
	}
}

func (in *input) array(n *node) (any, error) {
	out := []any{}
	err := in.blocks(func() error {
		v, err := in.read(n.items)
		out = append(out, v)
		return err
	})
	return out, err
}

func (in *input) table(n *node) (any, error) {
	out := map[string]any{}
	err := in.blocks(func() error {
		key, err := in.bytes()
		if err != nil {
			return err
		}
		out[string(key)], err = in.read(n.items)
		return err
	})
	return out, err
}

func (in *input) union(n *node) (any, error) {
	i, err := in.long()
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= int64(len(n.branches)) {
		return nil, fmt.Errorf("member %d of a union of %d", i, len(n.branches))
	}
	b := n.branches[i]
	if b.kind == "null" {
		return nil, nil
	}
	v, err := in.read(b)
	return map[string]any{b.name: v}, err
}

func (in *input) enum(n *node) (any, error) {
	i, err := in.long()
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= int64(len(n.symbols)) {
		return nil, fmt.Errorf("symbol %d of %s, which has %d", i, n.name, len(n.symbols))
	}
	return n.symbols[i], nil
}

func (in *input) simple(n *node) (any, error) {
	switch n.kind {
	case "boolean":
		b, err := in.take(1)
		if err != nil || b[0] > 1 {
			return nil, errors.Join(err, errors.New("a boolean is 0 or 1"))
		}
		return b[0] == 1, nil
	case "int", "long":
		return in.integer(n)
	case "float":
		b, err := in.take(4)
		if err != nil {
			return nil, err
		}
		return math.Float32frombits(binary.LittleEndian.Uint32(b)), nil
	case "double":
		b, err := in.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.LittleEndian.Uint64(b)), nil
	case "string":
		b, err := in.bytes()
		return string(b), err
	case "fixed":
		b, err := in.take(n.size)
		return decimal(n, b), err
	}
	b, err := in.bytes()
	return decimal(n, b), err
}

func (in *input) integer(n *node) (any, error) {
	x, err := in.long()
	if err != nil {
		return nil, err
	}
	if n.kind == "int" && (x < math.MinInt32 || x > math.MaxInt32) {
		return nil, fmt.Errorf("%d is beyond int", x)
	}
	switch n.logical {
	case "timestamp-millis":
		return time.UnixMilli(x).UTC(), nil
	case "timestamp-micros":
		return time.UnixMicro(x).UTC(), nil
	case "date":
		return time.Unix(x*24*60*60, 0).UTC(), nil
	case "time-millis":
		return time.Duration(x) * time.Millisecond, nil
	case "time-micros":
		return time.Duration(x) * time.Microsecond, nil
	}
	if n.kind == "int" {
		return int32(x), nil
	}
	return x, nil
}

// decimal is a two's-complement number behind a fixed number of places, or the bytes themselves.
func decimal(n *node, b []byte) any {
	if n.logical != "decimal" {
		return append([]byte{}, b...)
	}
	x := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return new(big.Rat).SetFrac(x, new(big.Int).Exp(big.NewInt(10), big.NewInt(n.scale), nil))
}
