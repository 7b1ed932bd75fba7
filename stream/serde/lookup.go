package serde

import (
	"fmt"
	"reflect"
	"time"
	"unsafe"
)

// Registry maps types to serdes and is asked before the defaults. The zero value is empty. It is filled before the
// application is made and not changed afterwards.
type Registry struct {
	m     map[reflect.Type]any
	funcs []func(reflect.Type) (any, bool)
}

// Register makes s the Serde of T.
func (r *Registry) Register[T any](s Serde[T]) {
	if r.m == nil {
		r.m = map[reflect.Type]any{}
	}
	r.m[reflect.TypeFor[T]()] = s
}

// RegisterFunc gives serdes to every type that f accepts: schema registry, protobuf. For type t it returns a Serde[t]. The
// first function that accepts wins; types given to Register are never asked.
func (r *Registry) RegisterFunc(f func(t reflect.Type) (any, bool)) { r.funcs = append(r.funcs, f) }

func (r *Registry) find(t reflect.Type) (any, bool) {
	if r == nil {
		return nil, false
	}
	if s, ok := r.m[t]; ok {
		return s, true
	}
	for _, f := range r.funcs {
		if s, ok := f(t); ok {
			return s, true
		}
	}
	return nil, false
}

// For is the default Serde of T: see the table in the package comment.
func For[T any](r *Registry) (Serde[T], error) {
	t := reflect.TypeFor[T]()
	if found, ok := r.find(t); ok {
		s, ok := found.(Serde[T])
		if !ok {
			return nil, fmt.Errorf("serde: the registry answers %T for %s, which is no Serde of that type", found, t)
		}
		return s, nil
	}
	if s, ok := exact(t).(Serde[T]); ok {
		return s, nil
	}
	switch t.Kind() {
	case reflect.String:
		return cast[T](String()), nil
	case reflect.Int16:
		return cast[T](Int16()), nil
	case reflect.Int32:
		return cast[T](Int32()), nil
	case reflect.Int64, reflect.Uint64:
		return cast[T](Int64()), nil
	case reflect.Int, reflect.Uint:
		return cast64[T](t)
	case reflect.Float64:
		return cast[T](Float64()), nil
	case reflect.Float32:
		return cast[T](Float32()), nil
	case reflect.Bool:
		return cast[T](Bool()), nil
	case reflect.Array:
		if t.Len() == 16 && t.Elem().Kind() == reflect.Uint8 {
			return cast[T](UUID()), nil
		}
		return JSON[T](), nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return cast[T](Bytes()), nil
		}
		return JSON[T](), nil
	case reflect.Struct, reflect.Map:
		return JSON[T](), nil
	case reflect.Pointer:
		if s, ok := pointer(t).(Serde[T]); ok {
			return s, nil
		}
		if t.Elem().Kind() == reflect.Struct {
			if _, registered := r.find(t.Elem()); !registered {
				return JSON[T](), nil
			}
		}
		return nil, fmt.Errorf("serde: no default for %s: register serde.Pointer of the Serde of %s", t, t.Elem())
	default:
		return nil, fmt.Errorf("serde: no default for %s: give one by KeySerde, ValueSerde or Config.Serdes", t)
	}
}

// exact finds the serdes of types that are not told by their kind alone.
func exact(t reflect.Type) any {
	switch t {
	case reflect.TypeFor[time.Time]():
		return Time()
	case reflect.TypeFor[struct{}]():
		return Unit()
	}
	return nil
}

// pointer finds the serdes of pointers to the basic types; those to structs are JSON.
func pointer(t reflect.Type) any {
	switch t {
	case reflect.TypeFor[*string]():
		return Pointer(String())
	case reflect.TypeFor[*int64]():
		return Pointer(Int64())
	case reflect.TypeFor[*int]():
		return Pointer[int](castSerde[int, int64]{Int64()})
	case reflect.TypeFor[*int32]():
		return Pointer(Int32())
	case reflect.TypeFor[*int16]():
		return Pointer(Int16())
	case reflect.TypeFor[*float64]():
		return Pointer(Float64())
	case reflect.TypeFor[*float32]():
		return Pointer(Float32())
	case reflect.TypeFor[*bool]():
		return Pointer(Bool())
	case reflect.TypeFor[*time.Time]():
		return Pointer(Time())
	case reflect.TypeFor[*[16]byte]():
		return Pointer(UUID())
	}
	return nil
}

// castSerde reads and writes a T as the B it is in memory. Made by cast only, which compares the sizes.
type castSerde[T, B any] struct{ s Serde[B] }

// cast makes a Serde of a type whose underlying type is B, or an integer of B's size. Go has no conversion between type
// parameters; the memory is the same, so the conversion is one of the pointer.
func cast[T, B any](s Serde[B]) Serde[T] {
	if same, ok := any(s).(Serde[T]); ok {
		return same
	}
	if unsafe.Sizeof(*new(T)) != unsafe.Sizeof(*new(B)) {
		panic(fmt.Sprintf("serde: cast between %s and %s", reflect.TypeFor[T](), reflect.TypeFor[B]()))
	}
	return castSerde[T, B]{s}
}

// cast64 is cast for integers whose size the machine chooses.
func cast64[T any](t reflect.Type) (Serde[T], error) {
	if t.Size() != unsafe.Sizeof(int64(0)) {
		return nil, fmt.Errorf("serde: no default for %s on this machine: use int64", t)
	}
	return cast[T](Int64()), nil
}

func (c castSerde[T, B]) Append(dst []byte, v T, m Meta) ([]byte, error) {
	return c.s.Append(dst, *(*B)(unsafe.Pointer(&v)), m)
}

func (c castSerde[T, B]) Decode(b []byte, m Meta) (v T, err error) {
	inner, err := c.s.Decode(b, m)
	if err != nil {
		return v, err
	}
	return *(*T)(unsafe.Pointer(&inner)), nil
}
