package serde

import (
	"encoding/json/v2"
	"fmt"
	"reflect"
)

type jsonSerde[T any] struct{}

// JSON is encoding/json/v2 with its options of that version: fields in the order of the struct, names matched to the
// letter, invalid UTF-8 and a name twice refused. Maps are written with sorted keys, so that equal values are equal
// bytes: a key in JSON always meets its partition. It is a struct's default.
func JSON[T any]() Serde[T] { return jsonSerde[T]{} }

func (jsonSerde[T]) Append(dst []byte, v T, _ Meta) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return dst, fmt.Errorf("serde: %s as JSON: %w", reflect.TypeFor[T](), err)
	}
	return append(dst, b...), nil
}

func (jsonSerde[T]) Decode(b []byte, _ Meta) (v T, err error) {
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("serde: %s from JSON: %w", reflect.TypeFor[T](), err)
	}
	return v, nil
}
