package serde_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream/serde"
)

// check writes v, compares the bytes, and reads them back.
func check[T any](t *testing.T, name string, v T, want string) {
	t.Helper()
	s, err := serde.For[T](nil)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	b, err := s.Append([]byte{0xAA}, v, serde.Meta{})
	if err != nil || hex.EncodeToString(b) != "aa"+want {
		t.Errorf("%s: %v is %x, want aa%s (%v)", name, v, b, want, err)
		return
	}
	got, err := s.Decode(b[1:], serde.Meta{})
	if err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%s: %v was read as %v (%v)", name, v, got, err)
	}
}

type (
	userID string
	cents  int64
	count  int
	flag   bool
	id     [16]byte
	blob   []byte
	order  struct {
		Team  string `json:"team"`
		Cents int64  `json:"cents"`
	}
)

// The bytes are those of Kafka's serializers, recorded from Java.
func TestDefaultsAreKafkasBytes(t *testing.T) {
	t.Parallel()
	check[int16](t, "short", -1, "ffff")
	check[int16](t, "short", 32767, "7fff")
	check[int32](t, "integer", 42, "0000002a")
	check[int32](t, "integer", -2147483648, "80000000")
	check[int64](t, "long", math.MaxInt64, "7fffffffffffffff")
	check[int64](t, "long", -1, "ffffffffffffffff")
	check(t, "int", 42, "000000000000002a")
	check[uint64](t, "uint64", 1, "0000000000000001")
	check[float32](t, "float", 1.5, "3fc00000")
	check(t, "double", -2.25, "c002000000000000")
	check(t, "double", math.Inf(-1), "fff0000000000000")
	check(t, "boolean", true, "01")
	check(t, "boolean", false, "00")
	check(t, "string", "", "")
	check(t, "string", "été", "c3a974c3a9")
	check(t, "string", "漢字", "e6bca2e5ad97")
	check(t, "bytes", []byte{0, 1}, "0001")
	check(t, "time", time.UnixMilli(1500).UTC(), "00000000000005dc")
	check(t, "unit", struct{}{}, "")
	check(t, "uuid", [16]byte{0xf0, 0x9f, 15: 1}, hex.EncodeToString([]byte("f09f0000-0000-0000-0000-000000000001")))
	check(t, "json", order{"red", 5}, hex.EncodeToString([]byte(`{"team":"red","cents":5}`)))
	check(t, "json map", map[string]int{"b": 1, "a": 2}, hex.EncodeToString([]byte(`{"a":2,"b":1}`)))
	check(t, "json slice", []int{1, 2}, hex.EncodeToString([]byte(`[1,2]`)))
	check(t, "json array", [2]int{1, 2}, hex.EncodeToString([]byte(`[1,2]`)))
}

func TestNamedTypesHaveTheSerdeOfTheirUnderlyingType(t *testing.T) {
	t.Parallel()
	check(t, "string", userID("u1"), "7531")
	check(t, "int64", cents(5), "0000000000000005")
	check(t, "int", count(5), "0000000000000005")
	check(t, "bool", flag(true), "01")
	check(t, "bytes", blob{1}, "01")
	check(t, "uuid", id{}, hex.EncodeToString([]byte("00000000-0000-0000-0000-000000000000")))
}

func TestPointersAreWhatTheyPointTo(t *testing.T) {
	t.Parallel()
	text, n64, n, n32, n16, f64, f32, yes := "x", int64(1), 1, int32(1), int16(1), 1.5, float32(1.5), true
	at, u := time.UnixMilli(1).UTC(), [16]byte{}
	check(t, "string", &text, "78")
	check(t, "int64", &n64, "0000000000000001")
	check(t, "int", &n, "0000000000000001")
	check(t, "int32", &n32, "00000001")
	check(t, "int16", &n16, "0001")
	check(t, "float64", &f64, "3ff8000000000000")
	check(t, "float32", &f32, "3fc00000")
	check(t, "bool", &yes, "01")
	check(t, "time", &at, "0000000000000001")
	check(t, "uuid", &u, hex.EncodeToString([]byte("00000000-0000-0000-0000-000000000000")))
	check(t, "struct", &order{"a", 1}, hex.EncodeToString([]byte(`{"team":"a","cents":1}`)))
}

func TestEveryNaNIsJavas(t *testing.T) {
	t.Parallel()
	b, _ := serde.Float64().Append(nil, math.Float64frombits(0x7ff8000000000123), serde.Meta{})
	c, _ := serde.Float32().Append(nil, float32(math.NaN()), serde.Meta{})
	if hex.EncodeToString(b) != "7ff8000000000000" || hex.EncodeToString(c) != "7fc00000" {
		t.Errorf("got %x and %x", b, c)
	}
}

func TestBytesOfTheWrongSizeAreErrors(t *testing.T) {
	t.Parallel()
	for name, decode := range map[string]func([]byte) error{
		"int64": decoder(serde.Int64()), "int32": decoder(serde.Int32()), "int16": decoder(serde.Int16()),
		"float64": decoder(serde.Float64()), "float32": decoder(serde.Float32()), "bool": decoder(serde.Bool()),
		"time": decoder(serde.Time()), "uuid": decoder(serde.UUID()), "unit": decoder(serde.Unit()), "json": decoder(serde.JSON[order]()),
		"convert": decoder(serde.Convert(serde.Int64(), func(x int) int64 { return int64(x) }, func(x int64) (int, error) { return int(x), nil })),
		"pointer": decoder(serde.Pointer(serde.Int64())),
	} {
		for _, b := range []string{"xyz", "\x02", "00000000-0000-0000-0000-00000000000g", "00000000-00000000-0000-0000-00000000000-"} {
			if err := decode([]byte(b)); err == nil {
				t.Errorf("%s reads %q", name, b)
			}
		}
	}
	if got, err := serde.String().Decode([]byte{'a', 0xff, 'b'}, serde.Meta{}); err != nil || got != "a�b" {
		t.Errorf("what is no UTF-8 is read as Java reads it: %q %v", got, err)
	}
}

func decoder[T any](s serde.Serde[T]) func([]byte) error {
	return func(b []byte) error {
		_, err := s.Decode(b, serde.Meta{})
		return err
	}
}

func TestDecodedBytesAreACopy(t *testing.T) {
	t.Parallel()
	in := []byte("abc")
	out, err := serde.Bytes().Decode(in, serde.Meta{})
	in[0] = 'x'
	if err != nil || string(out) != "abc" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestTypesWithoutDefaultSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, err := range []error{missing[any](), missing[func()](), missing[chan int](), missing[complex128](), missing[**int](), missing[uint8]()} {
		if err == nil || !strings.Contains(err.Error(), "no default") {
			t.Errorf("got %v", err)
		}
	}
}

func missing[T any]() error {
	_, err := serde.For[T](nil)
	return err
}

func TestTheRegistryIsAskedFirst(t *testing.T) {
	t.Parallel()
	var r serde.Registry
	r.Register(serde.Convert(serde.String(), strings.ToUpper, func(s string) (string, error) { return s, nil }))
	r.RegisterFunc(func(t reflect.Type) (any, bool) {
		if t == reflect.TypeFor[order]() {
			return serde.Convert(serde.String(), func(o order) string { return o.Team }, func(s string) (order, error) { return order{Team: s}, nil }), true
		}
		return "no serde at all", t == reflect.TypeFor[cents]()
	})
	s, err := serde.For[string](&r)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := s.Append(nil, "x", serde.Meta{}); string(b) != "X" {
		t.Errorf("got %q", b)
	}
	o, err := serde.For[order](&r)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := o.Append(nil, order{Team: "red"}, serde.Meta{}); string(b) != "red" {
		t.Errorf("got %q", b)
	}
	if _, err := serde.For[cents](&r); err == nil || !strings.Contains(err.Error(), "no Serde of that type") {
		t.Errorf("got %v", err)
	}
	if _, err := serde.For[*order](&r); err == nil || !strings.Contains(err.Error(), "serde.Pointer") {
		t.Errorf("a pointer to a registered type must not silently be JSON: %v", err)
	}
}

func TestHeadersAreNotChangedForOthers(t *testing.T) {
	t.Parallel()
	h := serde.Headers{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}, {Key: "a", Value: []byte("3")}}
	mine, theirs := h, h
	mine.Set("a", []byte("9"))
	mine.Del("none")
	if v, ok := mine.Get("a"); !ok || string(v) != "9" || len(mine) != 2 {
		t.Errorf("got %v", mine)
	}
	if v, _ := theirs.Get("a"); string(v) != "3" || len(theirs) != 3 {
		t.Errorf("the others see %v", theirs)
	}
	x, y := h[:1], h[:1]
	x.Add("x", nil)
	y.Add("y", nil)
	if x[1].Key != "x" || y[1].Key != "y" || h[1].Key != "b" {
		t.Errorf("two records write into one slice: %v %v %v", x, y, h)
	}
	if _, ok := h.Get("none"); ok {
		t.Error("there is no such header")
	}
}

// For finds the Serde of a type; a struct is JSON.
func ExampleFor() {
	type order struct{ Team string }
	s, err := serde.For[order](nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := s.Append(nil, order{"red"}, serde.Meta{Topic: "orders"})
	fmt.Println(string(b), err)
	// Output: {"Team":"red"} <nil>
}

// Convert builds a Serde upon another one.
func ExampleConvert() {
	words := serde.Convert(serde.String(),
		func(w []string) string { return strings.Join(w, " ") },
		func(s string) ([]string, error) { return strings.Fields(s), nil })
	b, _ := words.Append(nil, []string{"a", "b"}, serde.Meta{})
	back, err := words.Decode(b, serde.Meta{})
	fmt.Println(string(b), back, err)
	// Output: a b [a b] <nil>
}

// Registry replaces defaults.
func ExampleRegistry() {
	var r serde.Registry
	r.Register(serde.Convert(serde.Int64(), time.Time.UnixNano, func(n int64) (time.Time, error) { return time.Unix(0, n).UTC(), nil }))
	s, err := serde.For[time.Time](&r)
	if err != nil {
		fmt.Println(err)
		return
	}
	b, _ := s.Append(nil, time.Unix(0, 5), serde.Meta{})
	fmt.Println(b)
	// Output: [0 0 0 0 0 0 0 5]
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("00000000-0000-0000-0000-000000000000"))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte(`{"team":"a","cents":1}`))
	again := func(t *testing.T, in []byte, write func() ([]byte, error)) {
		if out, err := write(); err != nil || !bytes.Equal(out, in) {
			t.Errorf("%q was read and is written as %q (%v)", in, out, err)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if v, err := serde.Int64().Decode(in, serde.Meta{}); err == nil {
			again(t, in, func() ([]byte, error) { return serde.Int64().Append(nil, v, serde.Meta{}) })
		}
		if v, err := serde.UUID().Decode(in, serde.Meta{}); err == nil {
			again(t, bytes.ToLower(in), func() ([]byte, error) { return serde.UUID().Append(nil, v, serde.Meta{}) })
		}
		if v, err := serde.JSON[order]().Decode(in, serde.Meta{}); err == nil {
			if _, err := serde.JSON[order]().Append(nil, v, serde.Meta{}); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	dst := slices.Grow([]byte("head"), 100)
	b, err := serde.JSON[order]().Append(dst, order{}, serde.Meta{})
	if err != nil || !bytes.HasPrefix(b, []byte("head{")) {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := serde.JSON[func()]().Append(dst, func() {}, serde.Meta{}); err == nil {
		t.Error("a function is no JSON")
	}
}
