package avro_test

import (
	"bytes"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/serde/avro"
)

const wideSchema = `{"type":"record","name":"Wide","namespace":"n","fields":[
 {"name":"b","type":"boolean"},{"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"raw","type":"bytes"},
 {"name":"micros","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"day","type":{"type":"int","logicalType":"date"}},
 {"name":"clock","type":{"type":"int","logicalType":"time-millis"}},
 {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}]},
 {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
 {"name":"counts","type":{"type":"map","values":"long"}},
 {"name":"either","type":["string","long"]},
 {"name":"next","type":["null","Wide"],"default":null}]}`

type wide struct {
	B      bool
	F      float32
	D      float64
	Raw    []byte
	Micros time.Time
	Day    time.Time
	Clock  time.Duration
	Price  *big.Rat
	At     *time.Time
	Counts map[string]uint16
	Either any
	Next   *wide
}

func wideSample() wide {
	at := time.UnixMilli(5).UTC()
	return wide{
		B: true, F: 1.5, D: -2.25, Raw: []byte{0, 255}, Micros: time.UnixMicro(1_700_000_000_000_001).UTC(),
		Day: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Clock: 90 * time.Second, Price: big.NewRat(-1234, 100), At: &at,
		Counts: map[string]uint16{"x": 1}, Either: int64(7), Next: &wide{
			Micros: at, Day: time.Unix(0, 0).UTC(), Raw: []byte{}, Counts: map[string]uint16{}, Either: "text",
		},
	}
}

func TestEverySchemaTypeRoundTrips(t *testing.T) {
	t.Parallel()
	s, err := avro.For[wide](wideSchema)
	if err != nil {
		t.Fatal(err)
	}
	in := wideSample()
	b, err := s.Append(nil, in, serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Decode(b, serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	if in.Price.Cmp(out.Price) != 0 {
		t.Errorf("price %s, want %s", out.Price, in.Price)
	}
	in.Price, out.Price = nil, nil
	if !reflect.DeepEqual(in, out) {
		t.Errorf("got\n%+v\nwant\n%+v", out, in)
	}
	for cut := range b { // every beginning is an error, none a panic
		if _, err := s.Decode(b[:cut], serde.Meta{}); err == nil {
			t.Errorf("%d of %d bytes are read as a value", cut, len(b))
		}
	}
	if _, err := s.Decode(append(b, 0), serde.Meta{}); err == nil || !strings.Contains(err.Error(), "follow the value") {
		t.Errorf("a tail: %v", err)
	}
}

// Not parallel: it counts allocations.
func TestAClaimOfManyMembersCostsNothing(t *testing.T) {
	type list struct{ Items []string }
	s, err := avro.For[list](`{"type":"record","name":"L","fields":[{"name":"items","type":{"type":"array","items":"string"}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Append(nil, list{}, serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	claim := append(bytes.Clone(b[:len(b)-1]), 0xfe, 0xff, 0xff, 0xff, 0x0f) // two thousand million strings
	if n := testing.AllocsPerRun(10, func() {
		if _, err := s.Decode(claim, serde.Meta{}); err == nil {
			t.Error("want an error")
		}
	}); n > 100 {
		t.Errorf("%v allocations", n)
	}
	type nulls struct{ Items []any }
	h, err := avro.For[nulls](`{"type":"record","name":"N","fields":[{"name":"items","type":{"type":"array","items":"null"}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = h.Append(nil, nulls{}, serde.Meta{}); err != nil {
		t.Fatal(err)
	}
	claim = append(bytes.Clone(b[:len(b)-1]), 0xfe, 0xff, 0xff, 0xff, 0x0f, 0)
	if _, err := h.Decode(claim, serde.Meta{}); err == nil || !strings.Contains(err.Error(), "without bytes") {
		t.Errorf("got %v", err)
	}
}

func TestARegistryIsAskedOncePerSchema(t *testing.T) {
	t.Parallel()
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.Method+" "+r.URL.Path]++
		w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
		switch {
		case r.URL.Path == "/schemas/ids/7":
			_, _ = w.Write([]byte(`{"schema":"{\"type\":\"record\",\"name\":\"P\",\"fields\":[{\"name\":\"id\",\"type\":\"string\"}]}"}`))
		case strings.HasPrefix(r.URL.Path, "/subjects/t-value"):
			_, _ = w.Write([]byte(`{"id":7,"version":1,"subject":"t-value"}`))
		default:
			http.Error(w, `{"error_code":40403,"message":"Schema not found"}`, http.StatusNotFound)
		}
	}))
	defer server.Close()
	type p struct{ ID string }
	const schema = `{"type":"record","name":"P","fields":[{"name":"id","type":"string"}]}`
	open := func() serde.Serde[p] {
		r, err := avro.Open(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		s, err := avro.For[p](schema, avro.With(r))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	w, r := open(), open()
	for range 3 {
		b, err := w.Append(nil, p{"a"}, serde.Meta{Topic: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := r.Decode(b, serde.Meta{}); err != nil || v.ID != "a" {
			t.Fatalf("got %v %v", v, err)
		}
	}
	if asked["POST /subjects/t-value/versions"] != 1 || asked["GET /schemas/ids/7"] != 1 {
		t.Errorf("asked: %v", asked)
	}
	if _, err := r.Decode([]byte{0, 0, 0, 0, 9, 2, 'a'}, serde.Meta{}); err == nil {
		t.Error("an unknown number must be an error")
	}
	if _, err := w.Append(nil, p{"a"}, serde.Meta{Topic: "other"}); err == nil {
		t.Error("a refused registration must be an error")
	}
}

func FuzzDecode(f *testing.F) {
	s, err := avro.For[wide](wideSchema)
	if err != nil {
		f.Fatal(err)
	}
	b, err := s.Append(nil, wideSample(), serde.Meta{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 1, 2})
	f.Add(append(bytes.Clone(b[:10]), 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := s.Decode(in, serde.Meta{})
		if err != nil {
			return
		}
		if _, err := s.Append(nil, v, serde.Meta{}); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
