package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream"
)

// TestThreadsComeAndGo changes the number of threads while lines are counted: nothing is lost nor, since everybody ends well,
// counted twice.
func TestThreadsComeAndGo(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(4, "lines", "word-counts")
	app, _ := c.app(wordCount(), stream.Config{ApplicationID: "crew"})
	want := map[string]int64{}
	say := func() {
		for _, w := range []string{"a", "b", "c", "d"} {
			c.produce("lines", pair{w, w})
			want[w]++
		}
	}
	say()
	var names []string
	for range 2 {
		name, err := app.AddThread()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name[strings.LastIndex(name, "-")+1:])
		say()
	}
	name, err := app.RemoveThread(c.ctx())
	if err != nil || !strings.HasSuffix(name, "-StreamThread-3") {
		t.Fatalf("removed %s, %v", name, err)
	}
	say()
	if name, err = app.AddThread(); err != nil {
		t.Fatal(err)
	}
	names = append(names, name[strings.LastIndex(name, "-")+1:])
	say()
	if !slices.Equal(names, []string{"2", "3", "3"}) {
		t.Errorf("the threads' numbers are %v", names)
	}
	c.latest("word-counts", int64Of, want)
	until(t, func() bool { return app.State() == stream.Running })
	if err := app.Close(c.ctx()); err != nil {
		t.Fatal(err)
	}
	if _, err := app.AddThread(); !errors.Is(err, stream.ErrNotRunning) {
		t.Errorf("a thread was added to a closed application: %v", err)
	}
	if _, err := app.RemoveThread(c.ctx()); !errors.Is(err, stream.ErrNotRunning) {
		t.Errorf("a thread was removed from a closed application: %v", err)
	}
}

func TestAPausedApplicationStaysInTheGroupAndWaits(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "in", "out")
	var seen atomic.Int64
	b := stream.NewBuilder()
	b.Stream[string, string]("in").Peek(func(string, string) { seen.Add(1) }).To("out")
	app, _ := c.app(b, stream.Config{ApplicationID: "paused"})
	c.produce("in", pair{"k", "1"})
	c.read("out", func(r *kgo.Record) bool { return string(r.Value) == "1" })
	if app.Paused() {
		t.Error("nobody paused it")
	}
	app.Pause()
	c.produce("in", pair{"k", "2"})
	// Another application sees the record, so this one could have.
	other := stream.NewBuilder()
	other.Stream[string, string]("in").To("seen")
	c.topics(1, "seen")
	c.app(other, stream.Config{ApplicationID: "other"})
	c.read("seen", func(r *kgo.Record) bool { return string(r.Value) == "2" })
	if seen.Load() != 1 || !app.Paused() || app.State() != stream.Running {
		t.Errorf("paused: %v, %s, %d records seen", app.Paused(), app.State(), seen.Load())
	}
	app.Resume()
	c.read("out", func(r *kgo.Record) bool { return string(r.Value) == "2" })
}

// TestAFailedThreadIsReplaced lets user code fail once in a while: other threads take its place and nothing is lost.
func TestAFailedThreadIsReplaced(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	c.produce("in", pair{"k", "1"}, pair{"k", "2"}, pair{"k", "3"})
	var failures atomic.Int64
	var mu sync.Mutex
	var told []string
	b := stream.NewBuilder()
	b.Stream[string, string]("in").MapValues(func(_, v string) string {
		if v == "2" && failures.Add(1) <= 2 {
			panic("not yet")
		}
		return v
	}, stream.Named("fails")).To("out")
	c.app(b, stream.Config{ApplicationID: "replaced", Uncaught: func(err error) stream.ThreadAction {
		mu.Lock()
		defer mu.Unlock()
		if e, ok := errors.AsType[*stream.TaskError](err); ok {
			told = append(told, e.Node)
		}
		return stream.ReplaceThread
	}})
	var got []string
	c.read("out", func(r *kgo.Record) bool {
		got = append(got, string(r.Value))
		return string(r.Value) == "3"
	})
	if !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("got %v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(told, []string{"fails", "fails"}) {
		t.Errorf("told of failures in %v", told)
	}
}

func TestBrokersThatStayAwayEndTheApplication(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	app, err := stream.NewApp(b, stream.Config{ApplicationID: "away", Brokers: c.brokers, BrokerTimeout: time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- app.Run(context.Background()) }()
	<-app.Ready()
	c.fake.Close()
	select {
	case err = <-done:
	case <-time.After(patience):
		t.Fatal("the application goes on without brokers")
	}
	if err == nil || !strings.Contains(err.Error(), "no broker has answered for") || !strings.Contains(err.Error(), "BrokerTimeout") {
		t.Errorf("got %v", err)
	}
}

// TestAConnectionCutWhileJoiningIsNoReasonToEnd cuts the connections on which a member joins its group.
func TestAConnectionCutWhileJoiningIsNoReasonToEnd(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	var cuts atomic.Int64
	c.fake.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		if cuts.Add(1) > 2 {
			return nil, nil, false
		}
		c.fake.KeepControl()
		return nil, errors.New("cut"), true
	})
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	c.app(b, stream.Config{ApplicationID: "cut"})
	c.produce("in", pair{"k", "1"})
	c.read("out", func(r *kgo.Record) bool { return string(r.Value) == "1" })
	if cuts.Load() <= 2 {
		t.Errorf("%d connections were cut", cuts.Load())
	}
}

// TestAMemberThatTheGroupHasGivenUpJoinsAgain lets heartbeats be refused, as after a process has stood still for too long.
func TestAMemberThatTheGroupHasGivenUpJoinsAgain(t *testing.T) {
	t.Parallel()
	for _, refusal := range []*kerr.Error{kerr.UnknownMemberID, kerr.IllegalGeneration} {
		t.Run(refusal.Message, func(t *testing.T) {
			t.Parallel()
			c := fake(t)
			c.topics(1, "in", "out")
			b := stream.NewBuilder()
			b.Stream[string, string]("in").To("out")
			c.app(b, stream.Config{ApplicationID: "given-up", ClientOptions: []kgo.Opt{kgo.HeartbeatInterval(100 * time.Millisecond)}})
			fault := c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: refusal, Count: 1})
			defer fault.Remove()
			until(t, func() bool { return fault.Hits() > 0 })
			c.produce("in", pair{"k", "1"})
			c.read("out", func(r *kgo.Record) bool { return string(r.Value) == "1" })
		})
	}
}

// TestABeginningThatCannotBeFoundNowIsAskedForAgain refuses the first questions where partitions begin.
func TestABeginningThatCannotBeFoundNowIsAskedForAgain(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	c.produce("in", pair{"k", "1"})
	fault := c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.OffsetNotAvailable, Count: 3})
	defer fault.Remove()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	c.app(b, stream.Config{ApplicationID: "beginning"})
	c.read("out", func(r *kgo.Record) bool { return string(r.Value) == "1" })
	if fault.Hits() == 0 {
		t.Error("nothing was refused")
	}
}
