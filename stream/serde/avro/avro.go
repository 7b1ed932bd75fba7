// Package avro is the Serde of Avro records. goavro checks schemas and writes; reading allocates nothing that the bytes do
// not hold, so that hostile bytes cost no memory.
//
// It writes Avro's single-object encoding (two bytes C3 01, the fingerprint of the schema, the value), or, when it has a
// schema Registry, Confluent's wire format (one byte 0, the schema's number, the value). It reads both, whichever it
// writes, so a topic may change from one to the other.
//
// A Go struct or map takes part by the names of the schema's fields: a field of the struct is found by its tag
// `avro:"name"`, then by `json:"name"`, then by its name without regard to case and underscores (ImageID is image_id).
// Null in a union is a nil pointer, slice, map or interface; where the Go type has no nil, null is the zero value on
// reading and is never written.
//
//	boolean, int, long, float, double   bool, every integer and float type; out of range is an error
//	string, enum, uuid                  string and named string types
//	bytes, fixed                        []byte, [N]byte, string
//	array, map                          slices and arrays, maps with string keys
//	record                              struct, map[string]any
//	timestamp-millis, -micros, date     time.Time
//	time-millis, time-micros            time.Duration
//	decimal                             *big.Rat
//
// A map[string]any or any gets and gives these as goavro does, but without the wrapping of union members: nil or the
// value itself.
//
// Reading takes the writer's schema for the bytes and the names for the rest: fields the struct does not have are left
// out, fields the writer did not have keep the zero value.
package avro

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/linkedin/goavro/v2"

	"github.com/millrun/millrun/stream/serde"
)

// The two wire forms.
const (
	confluentMagic  = 0x00
	confluentHeader = 5 // magic and a big-endian int32
)

// registryTimeout bounds a call to the schema registry, which happens once per schema and subject.
const registryTimeout = 10 * time.Second

// ErrWire is the cause when bytes are neither of the two wire forms.
var ErrWire = errors.New("avro: bytes are neither single-object encoded nor in Confluent's wire format")

// Option changes how For works. Sealed.
type Option interface{ apply(*options) }

type options struct {
	registry *Registry
	readable []string
}

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

// With writes Confluent's wire format and registers the schema under the subject "<topic>-key" or "<topic>-value"
// (TopicNameStrategy). A nil registry changes nothing.
func With(r *Registry) Option { return optionFunc(func(o *options) { o.registry = r }) }

// Reads names further schemas whose single-object encoded values are understood: those of older writers.
func Reads(schemas ...string) Option {
	return optionFunc(func(o *options) { o.readable = append(o.readable, schemas...) })
}

// codec is a schema in both libraries' eyes.
type codec struct {
	text string
	avro *goavro.Codec
	root *node
}

func compile(schema string) (*codec, error) {
	c, err := goavro.NewCodec(schema)
	if err != nil {
		return nil, fmt.Errorf("avro: schema: %w", err)
	}
	root, err := parse(schema)
	if err != nil {
		return nil, err
	}
	return &codec{text: schema, avro: c, root: root}, nil
}

// typed is the Serde. Safe for concurrent use: the maps are filled under the mutex.
type typed[T any] struct {
	own      *codec
	registry *Registry
	byPrint  map[uint64]*codec // never changed after For

	mu   sync.RWMutex
	byID map[int]*codec
}

// For is the Serde of T by an Avro schema. It checks once that T and the schema fit: every field of a record without a
// default has its place in the struct, and no exported field of the struct is unknown to the schema.
func For[T any](schema string, opts ...Option) (serde.Serde[T], error) {
	var o options
	for _, opt := range opts {
		opt.apply(&o)
	}
	own, err := compile(schema)
	if err != nil {
		return nil, err
	}
	if err := check(own.root, reflect.TypeFor[T]()); err != nil {
		return nil, fmt.Errorf("avro: %s: %w", reflect.TypeFor[T](), err)
	}
	s := &typed[T]{own: own, registry: o.registry, byID: map[int]*codec{}, byPrint: map[uint64]*codec{own.avro.Rabin: own}}
	for _, text := range o.readable {
		c, err := compile(text)
		if err != nil {
			return nil, err
		}
		s.byPrint[c.avro.Rabin] = c
	}
	return s, nil
}

// Append writes v in the wire form that For was told.
func (s *typed[T]) Append(dst []byte, v T, m serde.Meta) ([]byte, error) {
	native, err := encode(s.own.root, reflect.ValueOf(&v).Elem())
	if err != nil {
		return dst, fmt.Errorf("avro: %s: %w", reflect.TypeFor[T](), err)
	}
	if s.registry == nil {
		out, err := s.own.avro.SingleFromNative(dst, native)
		if err != nil {
			return dst, fmt.Errorf("avro: %s: %w", reflect.TypeFor[T](), err)
		}
		return out, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), registryTimeout)
	defer cancel()
	id, err := s.registry.id(ctx, subject(m), s.own.text)
	if err != nil {
		return dst, err
	}
	out := binary.BigEndian.AppendUint32(append(dst, confluentMagic), uint32(id))
	if out, err = s.own.avro.BinaryFromNative(out, native); err != nil {
		return dst, fmt.Errorf("avro: %s: %w", reflect.TypeFor[T](), err)
	}
	return out, nil
}

// subject is Confluent's TopicNameStrategy.
func subject(m serde.Meta) string {
	if m.IsKey {
		return m.Topic + "-key"
	}
	return m.Topic + "-value"
}

// Decode reads either wire form.
func (s *typed[T]) Decode(b []byte, _ serde.Meta) (v T, err error) {
	c, rest, err := s.writer(b)
	if err != nil {
		return v, err
	}
	in := &input{b: rest}
	native, err := in.read(c.root)
	if err != nil {
		return v, fmt.Errorf("avro: %s: %w", reflect.TypeFor[T](), err)
	}
	if len(in.b) > 0 {
		return v, fmt.Errorf("avro: %s: %d bytes follow the value", reflect.TypeFor[T](), len(in.b))
	}
	if err := decode(c.root, native, reflect.ValueOf(&v).Elem()); err != nil {
		return v, fmt.Errorf("avro: %s: %w", reflect.TypeFor[T](), err)
	}
	return v, nil
}

// writer finds the schema the bytes were written with and cuts their header off.
func (s *typed[T]) writer(b []byte) (*codec, []byte, error) {
	if len(b) >= confluentHeader && b[0] == confluentMagic {
		c, err := s.numbered(int(binary.BigEndian.Uint32(b[1:])))
		return c, b[confluentHeader:], err
	}
	mark, rest, err := goavro.FingerprintFromSOE(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: they begin with % x", ErrWire, b[:min(len(b), 4)])
	}
	c, ok := s.byPrint[mark]
	if !ok {
		return nil, nil, fmt.Errorf("avro: single-object encoding with the unknown schema fingerprint %016x: name its schema by avro.Reads", mark)
	}
	return c, rest, nil
}

func (s *typed[T]) numbered(id int) (*codec, error) {
	s.mu.RLock()
	c, ok := s.byID[id]
	s.mu.RUnlock()
	if ok {
		return c, nil
	}
	if s.registry == nil {
		return nil, fmt.Errorf("avro: the bytes name schema %d of a registry and none is set: give one by avro.With", id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), registryTimeout)
	defer cancel()
	text, err := s.registry.schema(ctx, id)
	if err != nil {
		return nil, err
	}
	if c, err = compile(text); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[id] = c
	return c, nil
}
