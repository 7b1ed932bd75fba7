package stream_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/state/pebble"
)

// tailing is what an instance has read of changelogs, by the partition.
type tailing struct {
	mu     sync.Mutex
	copies map[int32]int64
	tasks  map[int32]int64
	begun  map[int32]int // tasks that were whole
}

func (r *tailing) event(e stream.RestoreEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := e.Task.Partition
	switch {
	case e.Standby:
		r.copies[p] = max(r.copies[p], e.Restored)
	case e.Done:
		r.tasks[p] += e.Restored
		r.begun[p]++
	}
}

func newTailing() *tailing {
	return &tailing{copies: map[int32]int64{}, tasks: map[int32]int64{}, begun: map[int32]int{}}
}

func (r *tailing) look(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// standing is an application with a copy of each task, which notes what it reads of changelogs.
func standing(cfg stream.Config, r *tailing, stores state.Engine, dir string) stream.Config {
	cfg.CacheBytes, cfg.StandbyReplicas, cfg.Stores, cfg.StateDir, cfg.OnRestore = -1, 1, stores, dir, r.event
	cfg.ClientOptions = []kgo.Opt{kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(time.Second)}
	return cfg
}

// rows is how many records a topic has in each partition, as far as they are committed.
func (c *cluster) rows(topic string) map[int32]int64 {
	c.t.Helper()
	of := map[int32]int64{}
	c.toEnd(topic, func(r *kgo.Record) { of[r.Partition]++ })
	return of
}

// takeOver kills an instance whose tasks have copies on another one, and expects the other one to go on with those.
func takeOver(t *testing.T, c *cluster, base stream.Config, in, out string, engine func() (state.Engine, string)) {
	t.Helper()
	d := func() *stream.Builder {
		return countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out))
	}
	lines, want := letters(1000)
	c.produce(in, lines...)
	var w wire
	stores, dir := engine()
	first := standing(base, newTailing(), stores, dir)
	first.ClientOptions = append(first.ClientOptions, kgo.Dialer(w.dial))
	c.app(d(), first)
	c.ledger(out, want)
	r := newTailing()
	stores, dir = engine()
	b, _ := c.app(d(), standing(base, r, stores, dir))
	c.produce(in, lines...)
	c.ledger(out, twice(want))
	of := c.rows(base.ApplicationID + "-counts-changelog")
	before := r.caughtUp(t, of)
	copies, read := r.standing(of)
	if copies == 0 {
		t.Fatal("the second instance has all tasks: no copy is tried")
	}
	figures(t, map[string]float64{"standby_updating_tasks": copies, "update_remaining_records": 0, "update_total": read}, b)
	w.set(true)
	c.produce(in, lines...)
	for k := range want {
		want[k] = want[k] / 2 * 3
	}
	c.ledger(out, want)
	if b.State() != stream.Running {
		t.Errorf("the instance that is left is %s", b.State())
	}
	r.nothingAgain(t, of, before)
	figures(t, map[string]float64{"standby_updating_tasks": 0, "update_remaining_records": none}, b)
}

// standing is how many partitions have a copy here and no task, and what copies have read.
func (r *tailing) standing(of map[int32]int64) (copies, read float64) {
	r.look(func() {
		for p := range of {
			read += float64(r.copies[p])
			if r.begun[p] == 0 {
				copies++
			}
		}
	})
	return copies, read
}

// caughtUp waits until everything that is committed is here, in a task or in a copy, and returns what was read for tasks.
func (r *tailing) caughtUp(t *testing.T, of map[int32]int64) (before map[int32]int64) {
	t.Helper()
	until(t, func() (all bool) {
		r.look(func() {
			all, before = true, map[int32]int64{}
			for p, n := range of {
				before[p] = r.tasks[p]
				all = all && (r.copies[p] == n || r.begun[p] > 0)
			}
		})
		return all
	})
	return before
}

// nothingAgain expects that all tasks have come, and that nothing was read for it.
func (r *tailing) nothingAgain(t *testing.T, of, before map[int32]int64) {
	t.Helper()
	r.look(func() {
		for p, n := range of {
			if r.begun[p] == 0 {
				t.Errorf("the task of partition %d never came", p)
			}
			if again := r.tasks[p] - before[p]; again > 0 {
				t.Errorf("of the %d records of partition %d, %d were read again", n, p, again)
			}
		}
	})
}

func inMemory() (state.Engine, string) { return state.Memory(), "" }

func onDisks(t *testing.T) func() (state.Engine, string) {
	t.Helper()
	return func() (state.Engine, string) { return pebble.Engine(pebble.CacheBytes(1 << 20)), t.TempDir() }
}

func TestACopyInMemoryTakesOverWithNothingReadAgain(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "lines", "word-counts")
	takeOver(t, c, once("copies"), "lines", "word-counts", inMemory)
}

func TestACopyOnDiskTakesOverWithNothingReadAgain(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "lines", "word-counts")
	takeOver(t, c, once("copies"), "lines", "word-counts", onDisks(t))
}

func TestApacheKafkaACopyTakesOverWithNothingReadAgain(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "copies")
	c.topics(2, app+"-in", app+"-out")
	takeOver(t, c, once(app), app+"-in", app+"-out", inMemory)
}

// TestTasksMoveOnceTheirNewHomeHasCaughtUp lets an instance join one with much state. Tasks work on where they are until
// there are copies of them, move with nothing to read, and leave copies behind that need not be read either.
func TestTasksMoveOnceTheirNewHomeHasCaughtUp(t *testing.T) {
	t.Parallel()
	for name, engine := range map[string]func() (state.Engine, string){"memory": inMemory, "disk": onDisks(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := fake(t)
			c.topics(2, "lines", "word-counts")
			move(t, c, engine)
		})
	}
}

func move(t *testing.T, c *cluster, engine func() (state.Engine, string)) {
	t.Helper()
	lines, want := letters(2000)
	c.produce("lines", lines...)
	old, fresh := newTailing(), newTailing()
	config := func(r *tailing) stream.Config {
		stores, dir := engine()
		cfg := standing(once("moves"), r, stores, dir)
		cfg.RecoveryLag, cfg.ProbingInterval = 10, time.Second
		return cfg
	}
	c.app(wordCount(), config(old))
	c.ledger("word-counts", want)
	of := c.rows("moves-counts-changelog")
	c.app(wordCount(), config(fresh))
	moved := int32(-1)
	until(t, func() bool {
		fresh.look(func() {
			for p := range of {
				if fresh.begun[p] > 0 {
					moved = p
				}
			}
		})
		return moved >= 0
	})
	fresh.look(func() {
		if n := fresh.copies[moved]; n < of[moved]-10 {
			t.Errorf("task 1_%d came when its copy had %d of %d records", moved, n, of[moved])
		}
		if n := fresh.tasks[moved]; n > 10 {
			t.Errorf("task 1_%d came, and %d records were read before it worked", moved, n)
		}
	})
	c.produce("lines", lines...)
	c.ledger("word-counts", twice(want))
	more := c.rows("moves-counts-changelog")
	until(t, func() (same bool) { // what the new home has written comes back to the old one
		old.look(func() { same = old.copies[moved] == more[moved]-of[moved] })
		return same
	})
}

// TestACopyOfATableKnowsNoMoreThanItsTaskHasCommitted kills an instance before it has processed what has come in. Its table
// is restored from the topic it is read from: had a copy of it gone on beyond the commit, it would be of no use, since the
// table would not know any more what the new rows replace.
func TestACopyOfATableKnowsNoMoreThanItsTaskHasCommitted(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "rows", "by-value")
	d := func() *stream.Builder {
		b := stream.NewBuilder()
		b.Table[string, string]("rows").GroupBy(func(k, v string) (string, string) { return v, k }).Count().ToStream().To("by-value")
		return b
	}
	config := func(r *tailing) stream.Config {
		cfg := standing(once("table"), r, state.Memory(), "")
		cfg.Optimize = stream.ReuseSourceTopics
		return cfg
	}
	var w wire
	first := config(newTailing())
	first.ClientOptions = append(first.ClientOptions, kgo.Dialer(w.dial))
	a, _ := c.app(d(), first)
	r := newTailing()
	b, _ := c.app(d(), config(r))
	write := func(value string) {
		for i := range 40 {
			c.produce("rows", pair{string(rune('a' + i)), value})
		}
	}
	write("old")
	c.latest("by-value", int64Of, map[string]int64{"old": 40})
	of := c.rows("rows")
	before := r.caughtUp(t, of)
	a.Pause()
	b.Pause()
	write("new")
	w.set(true)
	b.Resume()
	c.latest("by-value", int64Of, map[string]int64{"old": 0, "new": 40})
	r.nothingAgain(t, of, before)
}

func TestCopiesAreConfiguredSoundly(t *testing.T) {
	t.Parallel()
	_, err := stream.NewApp(wordCount(), stream.Config{ApplicationID: "a", Brokers: []string{"b:1"},
		MaxWarmups: -1, ProbingInterval: -1, RecoveryLag: -2, StandbyReplicas: -1, RackAware: []string{"zone"}, RackTags: map[string]string{"rack": "1"}})
	for _, says := range []string{"MaxWarmups is -1", "ProbingInterval is -1ns", "RecoveryLag is -2", "StandbyReplicas is -1", `RackAware names the tag "zone"`} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is not in: %v", says, err)
		}
	}
}
