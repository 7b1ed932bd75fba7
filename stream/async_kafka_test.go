package stream_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream"
)

// gate lets calls in and holds them until it is opened.
type gate struct {
	inside atomic.Int64
	full   chan struct{} // closed once as many are inside as want says
	want   int64
	open   chan struct{}
}

func newGate(want int64) *gate {
	return &gate{full: make(chan struct{}), open: make(chan struct{}), want: want}
}

func (g *gate) pass(ctx context.Context) error {
	if g.inside.Add(1) == g.want {
		close(g.full)
	}
	defer g.inside.Add(-1)
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) wait(t testing.TB) {
	t.Helper()
	select {
	case <-g.full:
	case <-time.After(patience):
		t.Fatalf("%d calls are inside, not %d", g.inside.Load(), g.want)
	}
}

// numbered makes n pairs of records for as many keys, each key's values counted from 0.
func numbered(n, keys int) []pair {
	out := make([]pair, n)
	for i := range out {
		out[i] = pair{"k" + strconv.Itoa(i%keys), strconv.Itoa(i / keys)}
	}
	return out
}

// inOrder reads a topic until every key has shown all values below per, and fails if a value goes missing before a later one
// of its key. Values may come again, from an earlier one on: that is at-least-once.
func (c *cluster) inOrder(topic string, keys, per int) (records int) {
	c.t.Helper()
	next := map[string]int{}
	whole := 0
	c.read(topic, func(r *kgo.Record) bool {
		records++
		n, err := strconv.Atoi(string(r.Value))
		if err != nil {
			c.t.Error(err)
		}
		at := next[string(r.Key)]
		if n > at {
			c.t.Errorf("key %s: %d comes where %d was to come at the latest", r.Key, n, at)
		}
		if n == at {
			if next[string(r.Key)]++; n+1 == per {
				whole++
			}
		}
		return whole == keys
	})
	return records
}

// TestCallsRunBeyondPartitions holds 32 calls of each of two tasks at a time, and sees that a commit says nothing of them.
func TestCallsRunBeyondPartitions(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "in", "out")
	c.produce("in", numbered(400, 100)...)
	g := newGate(64)
	b := stream.NewBuilder()
	done, _ := b.Stream[string, string]("in").MapAsync(func(ctx context.Context, _, v string) (string, error) {
		return v, g.pass(ctx)
	}, stream.Concurrency(32))
	done.To("out")
	app, stop := c.app(b, stream.Config{ApplicationID: "beyond"})
	g.wait(t)
	if n := c.committed("beyond", "in"); n != 0 {
		t.Errorf("%d records are committed while none is done", n)
	}
	close(g.open)
	if n := c.inOrder("out", 100, 4); n != 400 {
		t.Errorf("%d records came out of 400", n)
	}
	stop()
	if n := c.committed("beyond", "in"); n != 400 {
		t.Errorf("%d records of 400 are committed at the end", n)
	}
	if calls := measured(app, "millrun_stream_async_calls_total"); calls != 400 {
		t.Errorf("%v calls were counted", calls)
	}
}

// committed is how many records of a topic a group has committed.
func (c *cluster) committed(group, topic string) (n int64) {
	c.t.Helper()
	offsets, err := c.admin.FetchOffsets(c.ctx(), group)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, o := range offsets.Sorted() {
		if o.Topic == topic {
			n += max(o.At, 0)
		}
	}
	return n
}

// TestCallsSurviveARebalance lets a second instance join while calls are under way, and the first one leave.
func TestCallsSurviveARebalance(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "in", "out")
	const keys, per = 40, 50
	c.produce("in", numbered(keys*per, keys)...)
	half := newGate(keys * per / 2) // never opened: counts
	slow := func(ctx context.Context, _, v string) (string, error) {
		if half.inside.Add(1) == half.want {
			close(half.full)
		}
		select {
		case <-time.After(time.Millisecond):
			return v, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	build := func() *stream.Builder {
		b := stream.NewBuilder()
		done, _ := b.Stream[string, string]("in").MapAsync(slow, stream.Concurrency(8))
		done.To("out")
		return b
	}
	_, stopFirst := c.app(build(), stream.Config{ApplicationID: "moves"})
	half.wait(t)
	_, stopSecond := c.app(build(), stream.Config{ApplicationID: "moves"})
	stopFirst()
	n := c.inOrder("out", keys, per)
	stopSecond()
	if got := c.committed("moves", "in"); got != keys*per {
		t.Errorf("%d records of %d are committed at the end", got, keys*per)
	}
	t.Logf("%d records for %d", n, keys*per)
}

// TestACallThatIgnoresItsDeadlineIsLeftBehind has one that waits for the test to end; its key's next record goes on.
func TestACallThatIgnoresItsDeadlineIsLeftBehind(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out", "dlq")
	c.produce("in", pair{"a", "stuck"}, pair{"b", "panics"}, pair{"a", "fine"})
	over := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(over) }) }
	t.Cleanup(free)
	b := stream.NewBuilder()
	done, failed := b.Stream[string, string]("in").MapAsync(func(_ context.Context, _, v string) (string, error) {
		switch v {
		case "stuck":
			<-over
		case "panics":
			panic("no")
		}
		return v, nil
	}, stream.Timeout(10*time.Millisecond))
	done.To("out")
	failed.To("dlq")
	app, stop := c.app(b, stream.Config{ApplicationID: "stuck"})
	var dead []string
	c.read("dlq", func(r *kgo.Record) bool {
		for _, h := range r.Headers {
			if h.Key == "__streams.errors.message" {
				dead = append(dead, string(r.Value)+": "+string(h.Value))
			}
		}
		return len(dead) == 2
	})
	slices.Sort(dead)
	if want := []string{"panics: panic: no", "stuck: no answer within 10ms: context deadline exceeded"}; !slices.Equal(dead, want) {
		t.Errorf("dead letters %q, want %q", dead, want)
	}
	c.read("out", func(r *kgo.Record) bool {
		if string(r.Value) != "fine" {
			t.Errorf("%q came out", r.Value)
		}
		return true
	})
	free()
	limit := time.After(patience)
	for measured(app, "millrun_stream_async_late_calls_total") != 1 {
		select {
		case <-limit:
			t.Fatal("the late result was not counted")
		case <-time.After(10 * time.Millisecond):
		}
	}
	stop()
}

// measured is the sum of a metric over its labels, or over the series that have labels with all of some values.
func measured(a *stream.App, metric string, values ...string) (sum float64) {
	a.Metrics().Each(func(name string, labels map[string]string, x float64) {
		has := slices.Collect(maps.Values(labels))
		if name == metric && !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(has, v) }) {
			sum += x
		}
	})
	return sum
}

// TestTheEndGivesUpWhatDoesNotEnd closes an application whose only call waits for its context.
func TestTheEndGivesUpWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	c.produce("in", pair{"a", "1"})
	g := newGate(1)
	b := stream.NewBuilder()
	done, _ := b.Stream[string, string]("in").MapAsync(func(ctx context.Context, _, v string) (string, error) { return v, g.pass(ctx) })
	done.To("out")
	_, stop := c.app(b, stream.Config{ApplicationID: "endless"})
	g.wait(t)
	stop()
	if n := c.committed("endless", "in"); n != 0 {
		t.Errorf("%d records are committed of one that was given up", n)
	}
	if n := g.inside.Load(); n != 0 {
		t.Errorf("%d calls are inside after the end", n)
	}
}

// TestFailuresNobodyReadsStopTheTask checks the sibling's rule, with the record named.
func TestFailuresNobodyReadsStopTheTask(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	c.produce("in", pair{"a", "bad"})
	b := stream.NewBuilder()
	done, _ := b.Stream[string, string]("in").MapAsync(upper, stream.Attempts(3, time.Millisecond))
	done.To("out")
	err := c.ended(b, stream.Config{ApplicationID: "unread"})
	var e *stream.TaskError
	if !errors.As(err, &e) || !errors.Is(err, errOdd) || e.Topic != "in" || e.Offset != 0 || !strings.HasPrefix(e.Node, "KSTREAM-MAPASYNC-") {
		t.Errorf("got %v", err)
	}
}
