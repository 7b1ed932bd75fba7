package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/millrun/millrun/stream/serde"
)

// object is a JSON object that keeps its fields in the order in which they were put: bytes are compared. A nil object is
// null.
type object struct{ fields []field }

type field struct {
	name  string
	value any // nil, string, int64, json.Number, bool, *object or []any of these
}

// obj is an object without fields.
func obj() *object { return &object{} }

// put sets a field, in place if it is there, and returns the object. It takes strings, whole numbers, objects, lists, and
// pointers to strings and int64.
func (o *object) put(name string, v any) *object {
	v = plain(v)
	for i := range o.fields {
		if o.fields[i].name == name {
			o.fields[i].value = v
			return o
		}
	}
	o.fields = append(o.fields, field{name, v})
	return o
}

// get is a field; nil where it is null or absent.
func (o *object) get(name string) any {
	if o == nil {
		return nil
	}
	for _, f := range o.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// text is a text field; nil when the object or the field is null or absent.
func text(o *object, name string) *string {
	switch v := o.get(name).(type) {
	case nil:
		return nil
	case string:
		return &v
	default:
		s := fmt.Sprint(v)
		return &s
	}
}

// whole is a whole number field; 0 when the object or the field is null or absent.
func whole(o *object, name string) int64 {
	n, _ := o.get(name).(int64)
	return n
}

// plain makes a value one that a field may hold.
func plain(v any) any {
	switch v := v.(type) {
	case *string:
		if v == nil {
			return nil
		}
		return *v
	case *int64:
		if v == nil {
			return nil
		}
		return *v
	case *object:
		if v == nil {
			return nil
		}
		return v
	case int:
		return int64(v)
	default:
		return v
	}
}

// String is the object's compact text.
func (o *object) String() string {
	b, err := o.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// MarshalJSON writes the fields in their order, without blanks and without escapes that JSON does not ask for.
func (o *object) MarshalJSON() ([]byte, error) { return appendValue(nil, o) }

func appendValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case *object:
		if v == nil {
			return append(dst, "null"...), nil
		}
		return v.append(dst)
	case []any:
		dst = append(dst, '[')
		for i, x := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = appendValue(dst, x); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	default:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		err := e.Encode(v)
		return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...), err
	}
}

func (o *object) append(dst []byte) ([]byte, error) {
	dst = append(dst, '{')
	for i, f := range o.fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendValue(dst, f.name); err != nil {
			return nil, err
		}
		if dst, err = appendValue(append(dst, ':'), f.value); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// UnmarshalJSON reads an object and keeps the order of its fields.
func (o *object) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := readValue(d)
	if err != nil {
		return err
	}
	read, ok := v.(*object)
	if !ok {
		return errors.New("no object")
	}
	*o = *read
	return nil
}

func readValue(d *json.Decoder) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch tok := tok.(type) {
	case json.Number:
		if n, err := tok.Int64(); err == nil {
			return n, nil
		}
		return tok, nil
	case json.Delim:
		if tok == '[' {
			list := []any{}
			for d.More() {
				v, err := readValue(d)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := d.Token()
			return list, err
		}
		o := obj()
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := readValue(d)
			if err != nil {
				return nil, err
			}
			o.fields = append(o.fields, field{name.(string), v})
		}
		_, err := d.Token()
		return o, err
	default:
		return tok, nil
	}
}

// objects is the serde of JSON objects.
type objects struct{}

func (objects) Append(dst []byte, o *object, _ serde.Meta) ([]byte, error) {
	return appendValue(dst, o)
}

func (objects) Decode(b []byte, _ serde.Meta) (*object, error) {
	o := obj()
	return o, o.UnmarshalJSON(b)
}

func TestObjectsKeepTheOrderOfTheirFields(t *testing.T) {
	t.Parallel()
	const text = `{"z":1,"a":"<&>","n":null,"o":{"y":[1,"b"],"x":true},"f":1.5}`
	o, err := objects{}.Decode([]byte(text), serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := objects{}.Append(nil, o, serde.Meta{})
	if err != nil || string(got) != text {
		t.Fatalf("got %s, %v, want %s", got, err, text)
	}
	if got := o.put("a", new("c")).put("b", (*string)(nil)).String(); got != `{"z":1,"a":"c","n":null,"o":{"y":[1,"b"],"x":true},"f":1.5,"b":null}` {
		t.Fatal(got)
	}
	if _, err := (objects{}).Decode([]byte("x"), serde.Meta{}); err == nil {
		t.Fatal("x is no object")
	}
}
