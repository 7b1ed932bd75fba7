package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

// arrival is a record of one side of a join, or a crash.
type arrival struct {
	left  bool
	key   string
	value string
	at    int64
	crash bool
}

// arrivals draws records whose time is behind the highest by less than late, each with a value of its own.
func arrivals(rt *rapid.T, late int64) (out []arrival) {
	var now int64 = 100
	for i := range rapid.IntRange(1, 40).Draw(rt, "records") {
		if rapid.IntRange(0, 15).Draw(rt, "crash") == 0 {
			out = append(out, arrival{crash: true})
		}
		at := now - rapid.Int64Range(0, late-1).Draw(rt, "late")
		if rapid.IntRange(0, 3).Draw(rt, "in order") > 0 {
			at = now + rapid.Int64Range(0, 6).Draw(rt, "step")
		}
		now = max(now, at)
		out = append(out, arrival{
			left: rapid.Bool().Draw(rt, "left"), key: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key"), value: fmt.Sprint(i), at: at,
		})
	}
	return out
}

// relation is the join as a database would do it: how often each result must be there. What found no partner may also have
// been emitted alone before its partner came late, so those are apart.
type relation struct{ must, may map[string]int }

func relationOf(all []arrival, before, after int64, left, right bool) relation {
	out := relation{map[string]int{}, map[string]int{}}
	met := map[string]bool{}
	for _, l := range all {
		for _, r := range all {
			if !l.crash && !r.crash && l.left && !r.left && l.key == r.key && l.at-before <= r.at && r.at <= l.at+after {
				out.must[fmt.Sprintf("%s=%s|%s@%d", l.key, l.value, r.value, max(l.at, r.at))]++
				met[l.value], met[r.value] = true, true
			}
		}
	}
	for _, x := range all {
		single := fmt.Sprintf("%s=-|%s@%d", x.key, x.value, x.at)
		if x.left {
			single = fmt.Sprintf("%s=%s|-@%d", x.key, x.value, x.at)
		}
		switch {
		case x.crash || x.left && !left || !x.left && !right:
		case met[x.value]:
			out.may[single]++
		default:
			out.must[single]++
		}
	}
	return out
}

// check compares what came out.
func (r relation) check(got []string, inOrder bool) error {
	counts := map[string]int{}
	for _, g := range got {
		counts[g]++
	}
	for k, n := range r.must {
		if counts[k] != n {
			return fmt.Errorf("%s came %d times, want %d", k, counts[k], n)
		}
	}
	for k, n := range counts {
		if n > r.must[k]+r.may[k] || inOrder && n > r.must[k] {
			return fmt.Errorf("%s came %d times", k, n)
		}
	}
	return nil
}

// TestAJoinOfStreamsIsRelational compares joins, records late and tasks lost, with a join of two lists.
func TestAJoinOfStreamsIsRelational(t *testing.T) {
	t.Parallel()
	pair := func(_, v string, vok bool, o string, ook bool) string { return alone(v, vok) + "|" + alone(o, ook) }
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		before, after := rapid.Int64Range(0, 6).Draw(rt, "before"), rapid.Int64Range(0, 6).Draw(rt, "after")
		grace := rapid.SampledFrom([]int64{1, 9}).Draw(rt, "grace")
		w := stream.Within(millis(before)).After(millis(after)).Grace(millis(grace))
		kind := rapid.SampledFrom([]string{"inner", "left", "outer"}).Draw(rt, "kind")
		all := arrivals(rt, grace)
		var opts []stream.StreamJoined
		if rapid.Bool().Draw(rt, "in memory") {
			opts = append(opts, state.InMemory())
		}
		b := stream.NewBuilder()
		l, r := b.Stream(leftTexts), b.Stream(rightTexts)
		switch kind {
		case "inner":
			l.Join(r, w, func(k, v, o string) string { return pair(k, v, true, o, true) }, opts...).To(outs)
		case "left":
			l.LeftJoin(r, w, func(k, v, o string, ok bool) string { return pair(k, v, true, o, ok) }, opts...).To(outs)
		default:
			l.OuterJoin(r, w, pair, opts...).To(outs)
		}
		d := streamtest.New(t, b)
		defer d.Close()
		left, right := d.Input(leftTexts), d.Input(rightTexts)
		for _, x := range all {
			switch {
			case x.crash:
				d.Crash()
			case x.left:
				left.PipeAt(tick(x.at), x.key, x.value)
			default:
				right.PipeAt(tick(x.at), x.key, x.value)
			}
		}
		left.PipeAt(tick(10_000), "end", "")
		got := strings.Fields(sent(d))
		if err := relationOf(all, before, after, kind != "inner", kind == "outer").check(got, grace == 1); err != nil {
			rt.Fatalf("%v\n%s", err, d.Transcript())
		}
	})
}

// TestASelfJoinIsTheSameWithOneStore compares an optimized join of a stream with itself with one that is not: every result,
// in its order.
func TestASelfJoinIsTheSameWithOneStore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		t := each{t, rt}
		before, after := rapid.Int64Range(0, 6).Draw(rt, "before"), rapid.Int64Range(0, 6).Draw(rt, "after")
		all := arrivals(rt, 5)
		var results [2]string
		for i, o := range []stream.Optimization{0, stream.SingleStoreSelfJoin} {
			b := stream.NewBuilder()
			s := b.Stream(leftTexts)
			s.Join(s, stream.Within(millis(before)).After(millis(after)).Grace(millis(9)), func(_, v, o string) string { return v + "|" + o }).To(outs)
			d := streamtest.New(t, b, streamtest.WithConfig(stream.Config{Optimize: o}))
			defer d.Close()
			in := d.Input(leftTexts)
			for _, x := range all {
				if x.crash {
					d.Crash()
					continue
				}
				in.PipeAt(tick(x.at), x.key, x.value)
			}
			results[i] = sent(d)
			if n := len(d.Stores()); n != 2-i {
				rt.Fatalf("%d stores", n)
			}
		}
		if results[0] != results[1] {
			rt.Fatalf("with two stores\n%s\nwith one\n%s", results[0], results[1])
		}
	})
}
