package avro

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"time"
)

var ratType = reflect.TypeFor[*big.Rat]()

// encode makes goavro's native form of a Go value.
func encode(n *node, v reflect.Value) (any, error) {
	for v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	if n.kind == "union" {
		return encodeUnion(n, v)
	}
	for v.Kind() == reflect.Pointer && v.Type() != ratType {
		if v.IsNil() {
			return nil, fmt.Errorf("nil where the schema has %s and no null", n.name)
		}
		v = v.Elem()
	}
	if !v.IsValid() || (v.Kind() == reflect.Interface && v.IsNil()) {
		if n.kind == "null" {
			return nil, nil
		}
		return nil, fmt.Errorf("nil where the schema has %s and no null", n.name)
	}
	switch n.kind {
	case "record":
		return encodeRecord(n, v)
	case "map":
		return encodeMap(n, v)
	case "array":
		return encodeArray(n, v)
	}
	if !holds(n, v.Type()) {
		return nil, fmt.Errorf("%s is no %s", v.Type(), n.name)
	}
	return encodeSimple(n, v)
}

// encodeUnion writes nil as null, and anything else as the first member that takes it.
func encodeUnion(n *node, v reflect.Value) (any, error) {
	null := !v.IsValid()
	if !null {
		switch v.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
			null = v.IsNil()
		}
	}
	var first error
	for _, b := range n.branches {
		if b.kind == "null" {
			if null {
				return nil, nil
			}
			continue
		}
		if null {
			continue
		}
		inner, err := encode(b, v)
		if err == nil {
			return map[string]any{b.name: inner}, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = fmt.Errorf("nil, and the union has no null")
	}
	return nil, first
}

func encodeRecord(n *node, v reflect.Value) (any, error) {
	out := make(map[string]any, len(n.fields))
	for _, f := range n.fields {
		var at reflect.Value
		switch v.Kind() {
		case reflect.Struct:
			if i, ok := placeOf(v.Type(), f.name); ok {
				at = v.Field(i)
			}
		case reflect.Map:
			at = v.MapIndex(reflect.ValueOf(f.name).Convert(v.Type().Key()))
		default:
			return nil, fmt.Errorf("%s is no record", v.Type())
		}
		if !at.IsValid() && f.defaults {
			continue // goavro fills the default in
		}
		inner, err := encode(f.node, at)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", f.name, err)
		}
		out[f.name] = inner
	}
	return out, nil
}

func encodeMap(n *node, v reflect.Value) (any, error) {
	if v.Kind() != reflect.Map {
		return nil, fmt.Errorf("%s is no map", v.Type())
	}
	out := make(map[string]any, v.Len())
	for it := v.MapRange(); it.Next(); {
		inner, err := encode(n.items, it.Value())
		if err != nil {
			return nil, fmt.Errorf("entry %q: %w", it.Key(), err)
		}
		out[it.Key().String()] = inner
	}
	return out, nil
}

func encodeArray(n *node, v reflect.Value) (any, error) {
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return nil, fmt.Errorf("%s is no array", v.Type())
	}
	out := make([]any, v.Len())
	for i := range out {
		inner, err := encode(n.items, v.Index(i))
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		out[i] = inner
	}
	return out, nil
}

func encodeSimple(n *node, v reflect.Value) (any, error) {
	if n.logical != "" {
		return v.Interface(), nil
	}
	switch n.kind {
	case "boolean":
		return v.Bool(), nil
	case "int", "long":
		return encodeInteger(n, v)
	case "float", "double":
		return v.Float(), nil
	case "string", "enum":
		return v.String(), nil
	}
	switch v.Kind() {
	case reflect.String:
		return []byte(v.String()), nil
	case reflect.Slice:
		return v.Bytes(), nil
	default: // an array: goavro needs a slice, and the value may not be addressable
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return b, nil
	}
}

func encodeInteger(n *node, v reflect.Value) (any, error) {
	var x int64
	if v.CanUint() {
		if v.Uint() > math.MaxInt64 {
			return nil, fmt.Errorf("%d is beyond %s", v.Uint(), n.kind)
		}
		x = int64(v.Uint())
	} else {
		x = v.Int()
	}
	if n.kind == "int" {
		if x < math.MinInt32 || x > math.MaxInt32 {
			return nil, fmt.Errorf("%d is beyond int", x)
		}
		return int32(x), nil
	}
	return x, nil
}

// decode puts goavro's native form into a Go value.
func decode(n *node, native any, v reflect.Value) error {
	if n.kind == "union" {
		return decodeUnion(n, native, v)
	}
	if native == nil {
		v.SetZero()
		return nil
	}
	if v.Kind() == reflect.Interface {
		plain, err := unwrap(n, native)
		if err != nil {
			return err
		}
		if plain == nil {
			v.SetZero()
			return nil
		}
		v.Set(reflect.ValueOf(plain))
		return nil
	}
	if v.Kind() == reflect.Pointer && v.Type() != ratType {
		target := reflect.New(v.Type().Elem())
		if err := decode(n, native, target.Elem()); err != nil {
			return err
		}
		v.Set(target)
		return nil
	}
	switch n.kind {
	case "record":
		return decodeRecord(n, native, v)
	case "map":
		return decodeMap(n, native, v)
	case "array":
		return decodeArray(n, native, v)
	}
	if !holds(n, v.Type()) {
		return fmt.Errorf("%s does not fit %s", n.name, v.Type())
	}
	return decodeSimple(native, v)
}

// member finds the branch of a union that goavro's wrapping names.
func member(n *node, native any) (*node, any) {
	if wrapped, ok := native.(map[string]any); ok && len(wrapped) == 1 {
		for _, b := range n.branches {
			if inner, ok := wrapped[b.name]; ok {
				return b, inner
			}
		}
	}
	return nil, nil
}

func decodeUnion(n *node, native any, v reflect.Value) error {
	if native == nil {
		v.SetZero()
		return nil
	}
	b, inner := member(n, native)
	if b == nil {
		return fmt.Errorf("the union holds %T", native)
	}
	return decode(b, inner, v)
}

func decodeRecord(n *node, native any, v reflect.Value) error {
	m, ok := native.(map[string]any)
	if !ok {
		return fmt.Errorf("a record is %T", native)
	}
	if v.Kind() == reflect.Map {
		return decodeFields(n, m, v)
	}
	if v.Kind() != reflect.Struct {
		return fmt.Errorf("a record does not fit %s", v.Type())
	}
	for _, f := range n.fields {
		i, ok := placeOf(v.Type(), f.name)
		if !ok {
			continue
		}
		if err := decode(f.node, m[f.name], v.Field(i)); err != nil {
			return fmt.Errorf("field %q: %w", f.name, err)
		}
	}
	return nil
}

func decodeFields(n *node, m map[string]any, v reflect.Value) error {
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.fields)))
	for _, f := range n.fields {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := decode(f.node, m[f.name], item); err != nil {
			return fmt.Errorf("field %q: %w", f.name, err)
		}
		v.SetMapIndex(reflect.ValueOf(f.name).Convert(v.Type().Key()), item)
	}
	return nil
}

func decodeMap(n *node, native any, v reflect.Value) error {
	m, ok := native.(map[string]any)
	if !ok || v.Kind() != reflect.Map {
		return fmt.Errorf("a map does not fit %s", v.Type())
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(m)))
	for key, inner := range m {
		item := reflect.New(v.Type().Elem()).Elem()
		if err := decode(n.items, inner, item); err != nil {
			return fmt.Errorf("entry %q: %w", key, err)
		}
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), item)
	}
	return nil
}

func decodeArray(n *node, native any, v reflect.Value) error {
	items, ok := native.([]any)
	if !ok {
		return fmt.Errorf("an array is %T", native)
	}
	switch v.Kind() {
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	case reflect.Array:
		if len(items) != v.Len() {
			return fmt.Errorf("%d items for %s", len(items), v.Type())
		}
	default:
		return fmt.Errorf("an array does not fit %s", v.Type())
	}
	for i, inner := range items {
		if err := decode(n.items, inner, v.Index(i)); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

func decodeSimple(native any, v reflect.Value) error {
	switch x := native.(type) {
	case time.Time, time.Duration, *big.Rat:
		v.Set(reflect.ValueOf(x))
		return nil
	case bool:
		v.SetBool(x)
		return nil
	case string:
		v.SetString(x)
		return nil
	case int32:
		return setInteger(int64(x), v)
	case int64:
		return setInteger(x, v)
	case float32:
		v.SetFloat(float64(x))
		return nil
	case float64:
		if v.OverflowFloat(x) {
			return fmt.Errorf("%v is beyond %s", x, v.Type())
		}
		v.SetFloat(x)
		return nil
	case []byte:
		return setBytes(x, v)
	}
	return fmt.Errorf("%T does not fit %s", native, v.Type())
}

func setInteger(x int64, v reflect.Value) error {
	if v.CanUint() {
		if x < 0 || v.OverflowUint(uint64(x)) {
			return fmt.Errorf("%d is beyond %s", x, v.Type())
		}
		v.SetUint(uint64(x))
		return nil
	}
	if v.OverflowInt(x) {
		return fmt.Errorf("%d is beyond %s", x, v.Type())
	}
	v.SetInt(x)
	return nil
}

func setBytes(b []byte, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(string(b))
	case reflect.Slice:
		v.SetBytes(append([]byte{}, b...))
	default:
		if len(b) != v.Len() {
			return fmt.Errorf("%d bytes for %s", len(b), v.Type())
		}
		reflect.Copy(v, reflect.ValueOf(b))
	}
	return nil
}

// unwrap makes the form that an any gets: goavro's, without the wrapping of unions.
func unwrap(n *node, native any) (any, error) {
	switch n.kind {
	case "union":
		if native == nil {
			return nil, nil
		}
		b, inner := member(n, native)
		if b == nil {
			return nil, fmt.Errorf("the union holds %T", native)
		}
		return unwrap(b, inner)
	case "record":
		out := map[string]any{}
		err := decodeFields(n, native.(map[string]any), reflect.ValueOf(&out).Elem())
		return out, err
	case "map":
		out := map[string]any{}
		err := decodeMap(n, native, reflect.ValueOf(&out).Elem())
		return out, err
	case "array":
		var out []any
		err := decodeArray(n, native, reflect.ValueOf(&out).Elem())
		return out, err
	}
	return native, nil
}
