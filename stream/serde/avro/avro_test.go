package avro_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/serde/avro"
)

const imageSchema = `{"type":"record","name":"RawImage","namespace":"shop","fields":[
 {"name":"image_id","type":"string"},
 {"name":"received_at","type":{"type":"long","logicalType":"timestamp-millis"}},
 {"name":"bytes","type":"long"},
 {"name":"sha256","type":{"type":"fixed","name":"Sha","size":4}},
 {"name":"origin","type":{"type":"enum","name":"Origin","symbols":["api","feed"]}},
 {"name":"trace","type":["null","string"],"default":null},
 {"name":"width","type":["null","int"],"default":null},
 {"name":"tags","type":{"type":"array","items":"string"}},
 {"name":"blob","type":{"type":"record","name":"Blob","fields":[{"name":"container","type":"string"},{"name":"name","type":"string"}]}}]}`

type blob struct{ Container, Name string }

type image struct {
	ImageID    string
	ReceivedAt time.Time
	Bytes      int64
	SHA256     [4]byte `avro:"sha256"`
	Origin     string  `json:"origin"`
	Trace      *string
	Width      *int
	Tags       []string
	Blob       blob
}

func sample() image {
	trace, width := "00-ab", 640
	return image{
		ImageID: "img_a", ReceivedAt: time.UnixMilli(1700000000123).UTC(), Bytes: 42, SHA256: [4]byte{1, 2, 3, 4},
		Origin: "feed", Trace: &trace, Width: &width, Tags: []string{"a", "b"}, Blob: blob{"staging", "x/y"},
	}
}

func equal(t *testing.T, got, want image) {
	t.Helper()
	if got.ImageID != want.ImageID || !got.ReceivedAt.Equal(want.ReceivedAt) || got.Bytes != want.Bytes ||
		got.SHA256 != want.SHA256 || got.Origin != want.Origin || got.Blob != want.Blob || len(got.Tags) != len(want.Tags) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if (got.Trace == nil) != (want.Trace == nil) || got.Trace != nil && *got.Trace != *want.Trace {
		t.Fatalf("trace: got %v, want %v", got.Trace, want.Trace)
	}
	if (got.Width == nil) != (want.Width == nil) || got.Width != nil && *got.Width != *want.Width {
		t.Fatalf("width: got %v, want %v", got.Width, want.Width)
	}
}

func TestSingleObjectRoundTripOfAStruct(t *testing.T) {
	t.Parallel()
	s, err := avro.For[image](imageSchema)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Append([]byte("head"), sample(), serde.Meta{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte("head\xc3\x01")) {
		t.Fatalf("not single-object encoded behind what was there: % x", b[:8])
	}
	got, err := s.Decode(b[4:], serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, sample())
}

func TestNullsOfUnionsAreNilPointers(t *testing.T) {
	t.Parallel()
	s, err := avro.For[image](imageSchema)
	if err != nil {
		t.Fatal(err)
	}
	in := sample()
	in.Trace, in.Width = nil, nil
	b, err := s.Append(nil, in, serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Decode(b, serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, in)
}

func TestConfluentFormatThroughAMockRegistryIsReadByAnotherSerde(t *testing.T) {
	t.Parallel()
	r, err := avro.Open("mock://confluent-round-trip")
	if err != nil {
		t.Fatal(err)
	}
	writer, err := avro.For[image](imageSchema, avro.With(r))
	if err != nil {
		t.Fatal(err)
	}
	b, err := writer.Append(nil, sample(), serde.Meta{Topic: "images"})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte{0, 0, 0, 0, 1}) {
		t.Fatalf("want magic 0 and schema 1, got % x", b[:5])
	}
	again, err := avro.Open("mock://confluent-round-trip")
	if err != nil {
		t.Fatal(err)
	}
	// The reader knows another schema; the bytes name the writer's.
	type narrow struct {
		ImageID string
		Note    string
	}
	reader, err := avro.For[narrow](`{"type":"record","name":"N","fields":[{"name":"image_id","type":"string"},{"name":"note","type":"string"}]}`, avro.With(again))
	if err != nil {
		t.Fatal(err)
	}
	got, err := reader.Decode(b, serde.Meta{})
	if err != nil || got.ImageID != "img_a" || got.Note != "" {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestBothWireFormsAreReadWhicheverIsWritten(t *testing.T) {
	t.Parallel()
	r, err := avro.Open("mock://both-forms")
	if err != nil {
		t.Fatal(err)
	}
	numbered, err := avro.For[image](imageSchema, avro.With(r))
	if err != nil {
		t.Fatal(err)
	}
	single, err := avro.For[image](imageSchema)
	if err != nil {
		t.Fatal(err)
	}
	b, err := single.Append(nil, sample(), serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := numbered.Decode(b, serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, sample())
	b, err = numbered.Append(nil, sample(), serde.Meta{Topic: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := single.Decode(b, serde.Meta{}); err == nil || !strings.Contains(err.Error(), "avro.With") {
		t.Fatalf("a number without a registry must say what to do, got %v", err)
	}
}

func TestAnOlderSingleObjectSchemaIsReadWhenNamed(t *testing.T) {
	t.Parallel()
	const before = `{"type":"record","name":"P","fields":[{"name":"id","type":"string"},{"name":"gone","type":"int"}]}`
	const now = `{"type":"record","name":"P","fields":[{"name":"id","type":"string"},{"name":"more","type":"string","default":""}]}`
	type older struct {
		ID   string
		Gone int
	}
	type newer struct{ ID, More string }
	w, err := avro.For[older](before)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.Append(nil, older{"a", 7}, serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	blind, err := avro.For[newer](now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blind.Decode(b, serde.Meta{}); err == nil || !strings.Contains(err.Error(), "avro.Reads") {
		t.Fatalf("want an error with its remedy, got %v", err)
	}
	r, err := avro.For[newer](now, avro.Reads(before))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Decode(b, serde.Meta{})
	if err != nil || got != (newer{"a", ""}) {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestMapsHoldRecordsWithoutTheWrappingOfUnions(t *testing.T) {
	t.Parallel()
	s, err := avro.For[map[string]any](imageSchema)
	if err != nil {
		t.Fatal(err)
	}
	typed, err := avro.For[image](imageSchema)
	if err != nil {
		t.Fatal(err)
	}
	b, err := typed.Append(nil, sample(), serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Decode(b, serde.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	if m["trace"] != "00-ab" || m["blob"].(map[string]any)["container"] != "staging" || len(m["tags"].([]any)) != 2 {
		t.Fatalf("got %v", m)
	}
	back, err := s.Append(nil, m, serde.Meta{})
	if err != nil || !bytes.Equal(back, b) {
		t.Fatalf("a map read and written must give the same bytes: %v\n% x\n% x", err, back, b)
	}
}

func TestForNamesEveryMisfitAtOnce(t *testing.T) {
	t.Parallel()
	type wrong struct {
		ImageID int
		Bytes   string
		Extra   string
	}
	_, err := avro.For[wrong](imageSchema)
	if err == nil {
		t.Fatal("want an error")
	}
	for _, part := range []string{`"image_id"`, `"bytes"`, `"tags" has no place`, "wrong.Extra is unknown"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
}

func TestValuesBeyondTheSchemaAreErrors(t *testing.T) {
	t.Parallel()
	type n struct{ X int64 }
	s, err := avro.For[n](`{"type":"record","name":"N","fields":[{"name":"x","type":"int"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(nil, n{1 << 40}, serde.Meta{}); err == nil || !strings.Contains(err.Error(), "beyond int") {
		t.Fatalf("got %v", err)
	}
	e, err := avro.For[image](imageSchema)
	if err != nil {
		t.Fatal(err)
	}
	bad := sample()
	bad.Origin = "fax"
	if _, err := e.Append(nil, bad, serde.Meta{}); err == nil {
		t.Fatal("an unknown symbol must be an error")
	}
}

func TestForeignBytesAreErrWire(t *testing.T) {
	t.Parallel()
	s, err := avro.For[image](imageSchema)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []string{"", "x", `{"image_id":"a"}`, "\xc3\x02aaaaaaaaaaaa"} {
		if _, err := s.Decode([]byte(b), serde.Meta{}); !errors.Is(err, avro.ErrWire) {
			t.Errorf("%q: got %v", b, err)
		}
	}
}

func TestOpenRefusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "localhost", "::"} {
		if _, err := avro.Open(address); err == nil {
			t.Errorf("%q: want an error", address)
		}
	}
}
