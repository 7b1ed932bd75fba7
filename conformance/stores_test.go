package conformance_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/millrun/millrun/conformance/set"
	"github.com/millrun/millrun/stream/streamtest"
)

// Stores are read by reflection: a set says which stores to look at, and the types of their keys and values are the
// topology's.

// compareStores compares the content of the stores a vector lists; keys are all that were written anywhere.
func compareStores(faces map[string]any, v *set.Vector, keys map[string]bool) string {
	for _, name := range slices.Sorted(maps.Keys(v.Stores)) {
		face, ok := faces[name]
		if !ok {
			return fmt.Sprintf("no store %s, there are %v", name, slices.Sorted(maps.Keys(faces)))
		}
		want := v.Stores[name]
		s := store{reflect.ValueOf(face), want, slices.Sorted(maps.Keys(keys))}
		got, err := s.rows()
		if err != nil {
			return fmt.Sprintf("store %s: %v", name, err)
		}
		var rows []string
		for _, r := range want.Rows {
			rows = append(rows, wantedRow(r))
		}
		if diff := differ("store "+name+", row", got, rows); diff != "" {
			return diff
		}
	}
	return ""
}

// sessionTail is how many bytes of times stand behind the key of a session, in changelogs and elsewhere.
const sessionTail = 16

// keysOf are keys that a record may have put into a store: its own, and that of a session. Sessions are asked for by key.
func keysOf(r streamtest.Sent, into map[string]bool) {
	into[string(r.Key)] = true
	if n := len(r.Key) - sessionTail; n >= 0 {
		into[string(r.Key[:n])] = true
	}
}

// store is a store of the topology and what a vector says of it.
type store struct {
	face reflect.Value
	want set.Store
	keys []string // that may be in it
}

// row is a row of a store; fields that its type does not have are nil.
type row struct {
	key                        any
	start, end, asOf, ts, till *int64
	value                      any
}

func (r row) String() string {
	var b strings.Builder
	b.WriteString(shown(r.key))
	if r.start != nil {
		fmt.Fprintf(&b, "[%d,%d]", *r.start, *r.end)
	}
	if r.asOf != nil {
		fmt.Fprintf(&b, " as of %d", *r.asOf)
	}
	fmt.Fprintf(&b, "=%s", shown(r.value))
	if r.ts != nil {
		fmt.Fprintf(&b, " @%d", *r.ts)
	}
	if r.till != nil {
		fmt.Fprintf(&b, " to %d", *r.till)
	}
	return b.String()
}

func wantedRow(r set.Row) string {
	return row{said(r.Key), r.Start, r.End, r.AsOf, r.TS, r.ValidTo, said(r.Value)}.String()
}

// rows are the rows of the store, in the order of a vector.
func (s *store) rows() ([]string, error) {
	read := map[string]func() ([]row, error){
		"kv": s.keyValues, "timestamped-kv": s.keyValues, "window": s.windows, "timestamped-window": s.windows,
		"session": s.sessions, "versioned": s.versions,
	}[s.want.Type]
	if read == nil {
		return nil, fmt.Errorf("no such type of store: %s", s.want.Type)
	}
	rows, err := read()
	if err != nil {
		return nil, err
	}
	if s.want.Type != "versioned" {
		slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.order(), b.order()) })
	}
	var out []string
	for _, r := range rows {
		out = append(out, r.String())
	}
	return out, nil
}

func (r row) order() string {
	if r.start == nil {
		return shown(r.key)
	}
	return fmt.Sprintf("%s|%020d|%020d", shown(r.key), *r.start, *r.end)
}

func (s *store) keyValues() ([]row, error) {
	var out []row
	err := s.each("All", func(k, v reflect.Value) error {
		r := row{key: content(k), value: content(v)}
		if s.want.Type == "timestamped-kv" {
			found, err := s.found("GetTimestamped", k)
			if err != nil {
				return err
			}
			r.ts = millis(found, "Time")
		}
		out = append(out, r)
		return nil
	})
	return out, err
}

func (s *store) windows() ([]row, error) {
	var out []row
	from, to := reflect.ValueOf(time.UnixMilli(0).UTC()), reflect.ValueOf(time.UnixMilli(1<<50).UTC())
	err := s.each("FetchAll", func(k, v reflect.Value) error {
		r := row{key: content(k.FieldByName("Key")), start: millis(k, "Start"), end: millis(k, "End"), value: content(v)}
		if s.want.Type == "timestamped-window" {
			found, err := s.found("Get", k.FieldByName("Key"), k.FieldByName("Start"))
			if err != nil {
				return err
			}
			r.ts = millis(found, "Time")
		}
		out = append(out, r)
		return nil
	}, from, to)
	return out, err
}

func (s *store) sessions() ([]row, error) {
	var out []row
	for _, k := range s.keys {
		key, err := s.key("Fetch", k)
		if err != nil {
			return nil, err
		}
		err = s.each("Fetch", func(k, v reflect.Value) error {
			out = append(out, row{key: content(k.FieldByName("Key")), start: millis(k, "Start"), end: millis(k, "End"), value: content(v)})
			return nil
		}, key)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// versions asks what the vector has answers to: each key's latest version, then its versions as of some times.
func (s *store) versions() ([]row, error) {
	var out []row
	last := ""
	for _, w := range s.want.Rows {
		name, _ := said(w.Key).(string)
		key, err := s.key("Get", name)
		if err != nil {
			return nil, err
		}
		if name != last {
			last = name
			latest, ok, err := s.call("Get", key)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, version(name, nil, latest))
			}
		}
		if w.AsOf == nil {
			continue
		}
		then, ok, err := s.call("GetAsOf", key, reflect.ValueOf(time.UnixMilli(*w.AsOf).UTC()))
		switch {
		case err != nil:
			return nil, err
		case ok:
			out = append(out, version(name, w.AsOf, then))
		default:
			out = append(out, row{key: name, asOf: w.AsOf})
		}
	}
	return out, nil
}

// version is a version of a key. Where it ends is left out: Kafka Streams' typed store answers both questions without the
// end, so no set has one.
func version(key string, asOf *int64, v reflect.Value) row {
	return row{key: key, asOf: asOf, value: content(v.FieldByName("Value")), ts: millis(v, "From")}
}

// method finds a method of the store.
func (s *store) method(name string) (reflect.Value, error) {
	m := s.face.MethodByName(name)
	if !m.IsValid() {
		return m, fmt.Errorf("it is a %s, which has no %s, want a %s", s.face.Type(), name, s.want.Type)
	}
	return m, nil
}

// key makes a string the key that a method wants first.
func (s *store) key(method, k string) (reflect.Value, error) {
	m, err := s.method(method)
	if err != nil {
		return reflect.Value{}, err
	}
	switch t := m.Type().In(0); t {
	case reflect.TypeFor[string]():
		return reflect.ValueOf(k), nil
	case reflect.TypeFor[*string]():
		return reflect.ValueOf(&k), nil
	default:
		return reflect.Value{}, fmt.Errorf("its keys are %s, not strings", t)
	}
}

// call is a method that returns a value, whether it is there, and an error.
func (s *store) call(name string, args ...reflect.Value) (reflect.Value, bool, error) {
	m, err := s.method(name)
	if err != nil {
		return reflect.Value{}, false, err
	}
	out := m.Call(args)
	err, _ = reflect.TypeAssert[error](out[2])
	return out[0], out[1].Bool(), err
}

func (s *store) found(name string, args ...reflect.Value) (reflect.Value, error) {
	v, ok, err := s.call(name, args...)
	if err == nil && !ok {
		err = fmt.Errorf("%s finds nothing where a row is", name)
	}
	return v, err
}

// each calls f with the rows of a method that returns *state.Rows.
func (s *store) each(name string, f func(k, v reflect.Value) error, args ...reflect.Value) error {
	m, err := s.method(name)
	if err != nil {
		return err
	}
	rows := m.Call(args)[0]
	for k, v := range rows.MethodByName("All").Call(nil)[0].Seq2() {
		if err := f(k, v); err != nil {
			return err
		}
	}
	err, _ = reflect.TypeAssert[error](rows.MethodByName("Err").Call(nil)[0])
	return err
}

func millis(v reflect.Value, field string) *int64 {
	return new(v.FieldByName(field).Interface().(time.Time).UnixMilli())
}

// content is a key or value as a vector would have it.
func content(v reflect.Value) any {
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return err.Error()
	}
	out, err := decodeJSON(b)
	if err != nil {
		return err.Error()
	}
	return out
}
