package stream_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

var tagged = state.HeadersKeyValue[string, string]("tagged")

// tagger keeps each value with its headers, and tells what it kept before.
type tagger struct {
	s state.HeadersKeyValueStore[string, string]
}

func (p *tagger) Init(ctx *stream.ProcessorContext[string, string]) error {
	p.s = ctx.Store(tagged)
	return nil
}

func (p *tagger) Process(ctx *stream.ProcessorContext[string, string], r stream.Record[string, string]) error {
	old, ok, err := p.s.GetHeaded(r.Key)
	if err != nil {
		return err
	}
	if err := ctx.Emit(r.Key, fmt.Sprint(old.Value, old.Time.UnixMilli(), old.Headers, ok)); err != nil {
		return err
	}
	if r.Value == "" {
		return p.s.Delete(r.Key, r.Timestamp)
	}
	return p.s.Put(r.Key, r.Value, r.Timestamp, r.Headers)
}

func header(k, v string) serde.Headers { return serde.Headers{{Key: k, Value: []byte(v)}} }

func TestAStoreKeepsHeaders(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").Process(func() *tagger { return &tagger{} }, stream.Uses(tagged))
	d := streamtest.New(t, b)
	in := d.Input(stream.Topic[string, string]("in"))
	in.PipeRecord(stream.Record[string, string]{Key: "a", Value: "x", Timestamp: at(5), Headers: header("h", "1")})
	in.PipeRecord(stream.Record[string, string]{Key: "b", Value: "y", Timestamp: at(6)})
	in.PipeRecord(stream.Record[string, string]{Key: "c", Value: "z", Timestamp: at(7), Headers: serde.Headers{{Key: "null"}, {Key: "empty", Value: []byte{}}}})
	in.PipeRecord(stream.Record[string, string]{Key: "c", Value: "", Timestamp: at(8), Headers: header("gone", "2")})
	d.Crash()
	s := d.Store(tagged)
	v, ok, err := s.GetHeaded("a")
	if fmt.Sprint(v.Value, v.Time.UnixMilli(), v.Headers, ok, err) != fmt.Sprint("x", 5, header("h", "1"), true, error(nil)) {
		t.Errorf("a: %v %v %v", v, ok, err)
	}
	if v, ok, err := s.GetHeaded("b"); v.Headers != nil || !ok || err != nil {
		t.Errorf("b: %v %v %v", v, ok, err)
	}
	if v, ok, err := s.GetTimestamped("a"); v.Time != at(5) || !ok || err != nil {
		t.Errorf("a: %v %v %v", v, ok, err)
	}
	var keys []string
	rows := s.All()
	for k, v := range rows.All() {
		keys = append(keys, k+"="+v)
	}
	if rows.Err() != nil || !slices.Equal(keys, []string{"a=x", "b=y"}) {
		t.Errorf("rows %v, %v", keys, rows.Err())
	}
	var gone []string
	for _, r := range d.Sent() {
		if r.Internal && r.Value == nil {
			gone = append(gone, fmt.Sprint(string(r.Key), r.Headers))
		}
	}
	if want := []string{fmt.Sprint("c", header("gone", "2"))}; !slices.Equal(gone, want) {
		t.Errorf("deletions in the changelog: %v, want %v", gone, want)
	}
}

// With the setting, deletions in the changelogs of the DSL's stores have the headers of the record that made them, cached or
// not; nothing else changes.
func TestTheFormatOfStoresIsSeenInDeletions(t *testing.T) {
	t.Parallel()
	for _, cache := range []int64{-1, 1 << 20} {
		var texts []string
		for _, f := range []state.Format{state.Plain, state.WithHeaders} {
			b := stream.NewBuilder()
			b.Table[string, string]("in", stream.As("rows")).ToStream().To("out")
			d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{StoreFormat: f, CacheBytes: cache}))
			in := d.Input(stream.Topic[string, string]("in"))
			in.PipeRecord(stream.Record[string, string]{Key: "a", Value: "x", Timestamp: at(5), Headers: header("h", "1")})
			in.PipeRecord(stream.Record[string, string]{Key: "a", Timestamp: at(6), Tombstone: true, Headers: header("h", "2")})
			var text string
			for _, r := range d.Sent() {
				text += fmt.Sprintln(r.Topic, string(r.Key), string(r.Value), r.Timestamp.UnixMilli(), r.Headers)
			}
			texts = append(texts, text)
		}
		plain := fmt.Sprintln("test-rows-changelog", "a", "x", 5, serde.Headers(nil)) + fmt.Sprintln("out", "a", "x", 5, header("h", "1"))
		gone := fmt.Sprintln("out", "a", "", 6, header("h", "2"))
		for i, h := range []serde.Headers{nil, header("h", "2")} {
			if want := plain + fmt.Sprintln("test-rows-changelog", "a", "", 6, h) + gone; texts[i] != want {
				t.Errorf("cache %d, format %d: got\n%swant\n%s", cache, i, texts[i], want)
			}
		}
	}
}

// TestHeadersAfterAnyCrash compares a store with headers with a map.
func TestHeadersAfterAnyCrash(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		b := stream.NewBuilder()
		b.Stream[string, string]("in").Process(func() *tagger { return &tagger{} }, stream.Uses(tagged))
		d := streamtest.New(t, b)
		defer d.Close()
		in, want := d.Input(stream.Topic[string, string]("in")), map[string]string{}
		keys := []string{"a", "b", "c"}
		rt.Repeat(map[string]func(*rapid.T){
			"pipe": func(rt *rapid.T) {
				r := stream.Record[string, string]{
					Key: rapid.SampledFrom(keys).Draw(rt, "key"), Value: rapid.SampledFrom([]string{"", "x", "yy"}).Draw(rt, "value"),
					Timestamp: at(rapid.Int64Range(0, 100).Draw(rt, "at")),
				}
				for range rapid.IntRange(0, 2).Draw(rt, "headers") {
					r.Headers.Add(rapid.SampledFrom([]string{"h", "i"}).Draw(rt, "name"), rapid.SampledFrom([][]byte{nil, {}, []byte("v")}).Draw(rt, "header"))
				}
				in.PipeRecord(r)
				if want[r.Key] = fmt.Sprintf("%s %d %#v", r.Value, r.Timestamp.UnixMilli(), []serde.Header(r.Headers)); r.Value == "" {
					delete(want, r.Key)
				}
			},
			"crash": func(*rapid.T) { d.Crash() },
			"": func(rt *rapid.T) {
				for _, k := range keys {
					v, ok, err := d.Store(tagged).GetHeaded(k)
					got := fmt.Sprintf("%s %d %#v", v.Value, v.Time.UnixMilli(), []serde.Header(v.Headers))
					if !ok {
						got = ""
					}
					if err != nil || got != want[k] {
						rt.Fatalf("%s: got %s, %v, want %s", k, got, err, want[k])
					}
				}
			},
		})
	})
}
