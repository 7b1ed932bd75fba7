package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/streamtest"
)

// unique forwards the first of equal values within 10 ms.
func unique() *stream.Builder {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").Deduplicate(func(_, v string) string { return v }, 10*ms, stream.As("seen")).To("out")
	return b
}

func TestTheFirstOfEqualIdsGoesOn(t *testing.T) {
	t.Parallel()
	d := streamtest.New(t, unique())
	in, out := d.Input(stream.Topic[string, string]("in")), d.Output(stream.Topic[string, string]("out"))
	in.PipeAt(at(20), "a", "x")
	in.PipeAt(at(30), "a", "x") // within, the last moment
	in.PipeAt(at(10), "a", "x") // before it in time, and still within
	in.PipeAt(at(20), "b", "x") // another key
	in.PipeAt(at(20), "a", "y") // another id
	d.Crash()
	in.PipeAt(at(25), "a", "x") // known after a crash
	in.PipeAt(at(31), "a", "x") // no longer within
	in.PipeRecord(stream.Record[string, string]{Key: "a", Timestamp: at(31), Tombstone: true})
	in.PipeRecord(stream.Record[string, string]{Value: "x", Timestamp: at(31), Keyless: true})
	out.Want(out.R("a", "x"), out.R("b", "x"), out.R("a", "y"), out.R("a", "x"), out.D("a"))
}

func TestWrongUseOfDeduplicateIsAFault(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").Deduplicate(func(_, v string) string { return v }, 0)
	if _, err := b.Build(stream.Config{ApplicationID: "a"}); err == nil || !strings.Contains(err.Error(), "finds nothing") {
		t.Errorf("got %v", err)
	}
}

// TestDeduplicateAgainstTheModel remembers everything that went on, and looks for the same id within 10 ms of it, as far
// back as ids are known.
func TestDeduplicateAgainstTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		d := streamtest.New(t, unique())
		defer d.Close()
		in, out := d.Input(stream.Topic[string, string]("in")), d.Output(stream.Topic[string, string]("out"))
		type sight struct {
			id string
			at int64
		}
		var seen []sight
		var got, want []string
		base, newest := int64(30), int64(-1)
		rt.Repeat(map[string]func(*rapid.T){
			"pipe": func(rt *rapid.T) {
				base += rapid.Int64Range(0, 8).Draw(rt, "later")
				s := sight{rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "id"), base - rapid.Int64Range(0, 30).Draw(rt, "late")}
				in.PipeAt(at(s.at), "k", s.id)
				for _, o := range seen {
					if o.id == s.id && o.at >= s.at-10 && o.at <= s.at+10 && o.at >= newest-20 {
						return
					}
				}
				want = append(want, fmt.Sprint(s.id, s.at))
				if s.at >= newest-20 {
					seen, newest = append(seen, s), max(newest, s.at)
				}
			},
			"crash": func(*rapid.T) { d.Crash() },
			"": func(rt *rapid.T) {
				for _, r := range out.ReadAll() {
					got = append(got, fmt.Sprint(r.Value, r.Timestamp.UnixMilli()))
				}
				if !slices.Equal(got, want) {
					rt.Fatalf("got %v, want %v\n%s", got, want, d.Transcript())
				}
			},
		})
	})
}

// A producer that tries again does not count twice.
func ExampleKStream_Deduplicate() {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		Deduplicate(func(_, order string) string { return order }, 10*ms, stream.As("orders-seen")).
		To("out")
	play(b, stream.Config{}, "order-1", "order-1", "order-2")
	// Output:
	// out-0 "k"="order-1" @0
	// out-0 "k"="order-2" @0
}
