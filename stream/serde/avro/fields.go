package avro

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
)

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
)

// places maps the names by which a struct's fields may be found to their index. It is kept per type: reflection over
// tags is slow, and the answer never changes.
var places sync.Map // reflect.Type -> map[string]int

func placesOf(t reflect.Type) map[string]int {
	if m, ok := places.Load(t); ok {
		return m.(map[string]int)
	}
	m := map[string]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		if name := tagged(f); name != "-" {
			m[plain(name)] = i
		}
	}
	places.Store(t, m)
	return m
}

func tagged(f reflect.StructField) string {
	for _, key := range []string{"avro", "json"} {
		if tag, ok := f.Tag.Lookup(key); ok {
			if name, _, _ := strings.Cut(tag, ","); name != "" {
				return name
			}
		}
	}
	return f.Name
}

// plain is a name without case and underscores: ImageID and image_id are one.
func plain(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

func placeOf(t reflect.Type, name string) (int, bool) {
	i, ok := placesOf(t)[plain(name)]
	return i, ok
}

// check compares a Go type with a schema, all faults at once. Types seen before end the recursion.
func check(n *node, t reflect.Type) error {
	return (&checker{seen: map[pair]bool{}}).check(n, t)
}

type pair struct {
	n *node
	t reflect.Type
}

type checker struct{ seen map[pair]bool }

func (c *checker) check(n *node, t reflect.Type) error {
	if c.seen[pair{n, t}] || t.Kind() == reflect.Interface {
		return nil
	}
	c.seen[pair{n, t}] = true
	if n.kind == "union" {
		return c.union(n, t)
	}
	for t.Kind() == reflect.Pointer && n.logical != "decimal" {
		t = t.Elem()
	}
	switch {
	case n.kind == "record" && t.Kind() == reflect.Struct:
		return c.record(n, t)
	case n.kind == "record" || n.kind == "map":
		if t.Kind() != reflect.Map || t.Key().Kind() != reflect.String {
			return fmt.Errorf("%s cannot hold %s", t, n.kind)
		}
		if n.kind == "map" {
			return c.check(n.items, t.Elem())
		}
	case n.kind == "array":
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			return fmt.Errorf("%s cannot hold an array", t)
		}
		return c.check(n.items, t.Elem())
	case !holds(n, t):
		return fmt.Errorf("%s cannot hold %s", t, n.name)
	}
	return nil
}

func (c *checker) union(n *node, t reflect.Type) error {
	for _, b := range n.branches {
		if b.kind == "null" {
			continue
		}
		if err := c.check(b, t); err == nil {
			return nil
		} else if len(n.branches) <= 2 {
			return err
		}
	}
	return fmt.Errorf("%s can hold no member of the union", t)
}

func (c *checker) record(n *node, t reflect.Type) error {
	var faults []error
	known := map[int]bool{}
	for _, f := range n.fields {
		i, ok := placeOf(t, f.name)
		if !ok {
			if !f.defaults {
				faults = append(faults, fmt.Errorf("the schema's field %q has no place in %s", f.name, t))
			}
			continue
		}
		known[i] = true
		if err := c.check(f.node, t.Field(i).Type); err != nil {
			faults = append(faults, fmt.Errorf("field %q: %w", f.name, err))
		}
	}
	for _, i := range placesOf(t) {
		if !known[i] {
			faults = append(faults, fmt.Errorf("%s.%s is unknown to the schema; `avro:\"-\"` leaves it out", t, t.Field(i).Name))
		}
	}
	return errors.Join(faults...)
}

// holds says whether values of a simple schema type fit a Go type.
func holds(n *node, t reflect.Type) bool {
	switch n.logical {
	case "timestamp-millis", "timestamp-micros", "date":
		return t == timeType
	case "time-millis", "time-micros":
		return t == durationType
	case "decimal":
		return t == ratType
	}
	switch n.kind {
	case "boolean":
		return t.Kind() == reflect.Bool
	case "int", "long":
		return integer(t.Kind())
	case "float", "double":
		return t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64
	case "string", "enum":
		return t.Kind() == reflect.String
	case "bytes", "fixed":
		return t.Kind() == reflect.String ||
			(t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && t.Elem().Kind() == reflect.Uint8
	}
	return false
}

func integer(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uint64 }
