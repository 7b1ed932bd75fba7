package avro

import (
	"encoding/json"
	"fmt"
	"strings"
)

// node is a schema read for mapping: goavro keeps its own tree to itself. Recursive schemas make it a graph. It is never
// changed once parse has returned.
type node struct {
	kind     string // null, boolean, int, long, float, double, string, bytes, fixed, enum, array, map, record, union
	logical  string // only where goavro gives another native type for it
	name     string // the name of a member of a union, as goavro writes it
	items    *node  // array, map
	branches []*node
	fields   []field
	symbols  []string // enum
	size     int64    // fixed
	scale    int64    // decimal
}

type field struct {
	name     string
	node     *node
	defaults bool // the schema gives a default
}

// logicalTypes are those that goavro translates, by the type they stand on.
var logicalTypes = map[string]string{
	"timestamp-millis": "long", "timestamp-micros": "long", "time-micros": "long",
	"time-millis": "int", "date": "int", "decimal": "",
}

type parser struct{ named map[string]*node }

func parse(schema string) (*node, error) {
	var raw any
	if err := json.Unmarshal([]byte(schema), &raw); err != nil {
		// A schema that is one bare name is legal for goavro.
		raw = schema
	}
	return (&parser{named: map[string]*node{}}).parse(raw, "")
}

func (p *parser) parse(raw any, space string) (*node, error) {
	switch s := raw.(type) {
	case string:
		return p.reference(s, space)
	case []any:
		n := &node{kind: "union"}
		for _, member := range s {
			b, err := p.parse(member, space)
			if err != nil {
				return nil, err
			}
			n.branches = append(n.branches, b)
		}
		return n, nil
	case map[string]any:
		return p.described(s, space)
	}
	return nil, fmt.Errorf("avro: schema: cannot read %v", raw)
}

func (p *parser) reference(name, space string) (*node, error) {
	switch name {
	case "null", "boolean", "int", "long", "float", "double", "string", "bytes":
		return &node{kind: name, name: name}, nil
	}
	if n, ok := p.named[fullName(name, space)]; ok {
		return n, nil
	}
	if n, ok := p.named[name]; ok {
		return n, nil
	}
	return nil, fmt.Errorf("avro: schema: unknown type %q", name)
}

func (p *parser) described(s map[string]any, space string) (*node, error) {
	kind, ok := s["type"].(string)
	if !ok {
		return p.parse(s["type"], space)
	}
	switch kind {
	case "array", "map":
		key := "items"
		if kind == "map" {
			key = "values"
		}
		items, err := p.parse(s[key], space)
		return &node{kind: kind, name: kind, items: items}, err
	case "record", "enum", "fixed":
		return p.declared(kind, s, space)
	}
	n, err := p.reference(kind, space)
	if err != nil {
		return nil, err
	}
	logical, _ := s["logicalType"].(string)
	if on, known := logicalTypes[logical]; known && (on == kind || logical == "decimal") {
		scale, _ := s["scale"].(float64)
		return &node{kind: kind, logical: logical, name: kind + "." + logical, scale: int64(scale)}, nil
	}
	return n, nil
}

// declared reads a type with a name of its own, which later parts of the schema may refer to.
func (p *parser) declared(kind string, s map[string]any, space string) (*node, error) {
	short, _ := s["name"].(string)
	if own, ok := s["namespace"].(string); ok {
		space = own
	}
	full := fullName(short, space)
	if before, _, ok := strings.CutLast(full, "."); ok {
		space = before
	}
	n := &node{kind: kind, name: full}
	if logical, _ := s["logicalType"].(string); kind == "fixed" && logical == "decimal" {
		scale, _ := s["scale"].(float64)
		n.logical, n.scale = logical, int64(scale)
	}
	if size, ok := s["size"].(float64); ok {
		n.size = int64(size)
	}
	symbols, _ := s["symbols"].([]any)
	for _, symbol := range symbols {
		text, _ := symbol.(string)
		n.symbols = append(n.symbols, text)
	}
	p.named[full] = n
	fields, _ := s["fields"].([]any)
	for _, raw := range fields {
		f, _ := raw.(map[string]any)
		name, _ := f["name"].(string)
		_, defaults := f["default"]
		child, err := p.parse(f["type"], space)
		if err != nil {
			return nil, err
		}
		n.fields = append(n.fields, field{name, child, defaults})
	}
	return n, nil
}

func fullName(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}
