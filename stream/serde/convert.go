package serde

type pointerSerde[T any] struct{ s Serde[T] }

// Pointer makes a Serde of pointers, for values that may be null.
func Pointer[T any](s Serde[T]) Serde[*T] { return pointerSerde[T]{s} }

func (p pointerSerde[T]) Append(dst []byte, v *T, m Meta) ([]byte, error) {
	return p.s.Append(dst, *v, m)
}

func (p pointerSerde[T]) Decode(b []byte, m Meta) (*T, error) {
	v, err := p.s.Decode(b, m)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

type convertSerde[T, B any] struct {
	s    Serde[B]
	to   func(T) B
	from func(B) (T, error)
}

// Convert builds a Serde of T upon one of B.
func Convert[T, B any](s Serde[B], to func(T) B, from func(B) (T, error)) Serde[T] {
	return convertSerde[T, B]{s, to, from}
}

func (c convertSerde[T, B]) Append(dst []byte, v T, m Meta) ([]byte, error) {
	return c.s.Append(dst, c.to(v), m)
}

func (c convertSerde[T, B]) Decode(b []byte, m Meta) (v T, err error) {
	inner, err := c.s.Decode(b, m)
	if err != nil {
		return v, err
	}
	return c.from(inner)
}
