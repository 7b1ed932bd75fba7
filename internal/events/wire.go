package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/linkedin/goavro/v2"
)

// ErrUnreadable marks a value that is none of the pipeline's records. Reading it again will not help.
var ErrUnreadable = errors.New("events: unreadable value")

// The first bytes of the two wire formats.
const (
	confluentMagic = 0x00 // then the schema's id, 4 bytes big-endian
	singleMagic    = 0xC3 // then 0x01 and the schema's fingerprint (Avro specification, single-object encoding)
)

// wire is one topic's encoding.
type wire struct {
	topic    string
	schema   string
	avro     *goavro.Codec
	registry registry // nil: none

	mu      sync.Mutex
	id      int // of our schema, once registered; registries begin at 1
	writers map[int]*goavro.Codec
}

func (w *wire) encode(native map[string]any) ([]byte, error) {
	if w.registry == nil {
		b, err := w.avro.SingleFromNative(nil, native)
		if err != nil {
			return nil, fmt.Errorf("events: %s: %w", w.topic, err)
		}
		return b, nil
	}
	id, err := w.schemaID()
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32([]byte{confluentMagic}, uint32(id))
	b, err = w.avro.BinaryFromNative(b, native)
	if err != nil {
		return nil, fmt.Errorf("events: %s: %w", w.topic, err)
	}
	return b, nil
}

func (w *wire) decode(b []byte) (map[string]any, error) {
	native, rest, err := w.decodeNative(b)
	switch {
	case errors.Is(err, ErrRegistry):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w in %s: %w", ErrUnreadable, w.topic, err)
	case len(rest) > 0:
		return nil, fmt.Errorf("%w in %s: %d bytes behind the record", ErrUnreadable, w.topic, len(rest))
	}
	m, ok := native.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w in %s: a %T, not a record", ErrUnreadable, w.topic, native)
	}
	return m, nil
}

func (w *wire) decodeNative(b []byte) (native any, rest []byte, err error) {
	switch {
	case len(b) > 1 && b[0] == singleMagic:
		return w.avro.NativeFromSingle(b)
	case len(b) >= 5 && b[0] == confluentMagic:
		writer, err := w.writer(int(binary.BigEndian.Uint32(b[1:])))
		if err != nil {
			return nil, nil, err
		}
		return writer.NativeFromBinary(b[5:])
	default:
		return nil, nil, errors.New("neither Avro single-object encoding nor Confluent's wire format")
	}
}

// schemaID registers our schema once.
func (w *wire) schemaID() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.id != 0 {
		return w.id, nil
	}
	id, err := w.registry.register(w.topic+"-value", w.schema)
	if err != nil {
		return 0, err
	}
	w.id = id
	return id, nil
}

// writer is the codec of the schema a record was written with.
func (w *wire) writer(id int) (*goavro.Codec, error) {
	if w.registry == nil {
		return nil, fmt.Errorf("schema id %d, but no kafka.schema_registry is configured", id)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.writers[id]; ok {
		return c, nil
	}
	schema, err := w.registry.schema(id)
	if err != nil {
		return nil, err
	}
	c, err := goavro.NewCodec(schema)
	if err != nil {
		return nil, fmt.Errorf("schema %d: %w", id, err)
	}
	if w.writers == nil {
		w.writers = map[int]*goavro.Codec{}
	}
	w.writers[id] = c
	return c, nil
}
