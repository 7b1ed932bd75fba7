package store

import (
	"reflect"
	"unsafe"
)

// HasNil says whether a type has a nil, which is then Kafka's null. Asked when something is made, never per record.
func HasNil[T any]() bool {
	switch reflect.TypeFor[T]().Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return true
	default:
		return false
	}
}

// IsNil says whether v is nil, for a type that has one: in all of them the first word is then zero. An empty slice is not
// nil: its first word points at the runtime's zero-sized object.
func IsNil[T any](v T) bool { return *(*uintptr)(unsafe.Pointer(&v)) == 0 }
