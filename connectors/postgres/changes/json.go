package changes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// maxDepth is more than any event nests.
const maxDepth = 8

// readJSON reads one JSON object, more strictly than encoding/json: no duplicate names, names compared by case, no invalid
// UTF-8, nothing behind it. Numbers stay as they were written.
func readJSON(value []byte) (map[string]any, error) {
	if !utf8.Valid(value) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return fields, nil
}

func readValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	if delim == '[' {
		return readArray(d, depth)
	}
	return readObject(d, depth)
}

func readArray(d *json.Decoder, depth int) ([]any, error) {
	list := []any{}
	for d.More() {
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, endOf(d)
}

func readObject(d *json.Decoder, depth int) (map[string]any, error) {
	fields := map[string]any{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		name, _ := t.(string) // the decoder lets nothing else be a name
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("field %s appears twice", clip(name))
		}
		if fields[name], err = readValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	return fields, endOf(d)
}

// endOf takes the closing bracket.
func endOf(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return nil
}

// integer is a decoded JSON or Avro number as an int32. 2.0 is none.
func integer(v any) (int32, bool) {
	switch n := v.(type) {
	case json.Number:
		i, err := strconv.ParseInt(n.String(), 10, 32)
		return int32(i), err == nil
	case int64:
		return int32(n), n == int64(int32(n))
	default:
		return 0, false
	}
}
