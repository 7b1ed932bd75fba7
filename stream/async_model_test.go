package stream_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// rig drives one task of a topology with slow work by hand: which call is answered when, by what, and where it crashes.
// Under exactly-once it is the transaction, too: what was not committed when it crashes was never sent.
type rig struct {
	t       *rapid.T
	prog    *task.Program
	task    *task.Task
	now     time.Time
	logs    map[string][]task.Input // by topic: what is there for good
	open    []task.Output           // of the transaction
	commits map[string]task.Offset
	calls   []*task.Call
	late    []*task.Call // runs that were given another answer
	records map[string]int
}

func newRig(t *rapid.T, exactly bool, build func(*stream.Builder)) *rig {
	b := stream.NewBuilder()
	build(b)
	prog, err := stream.Assemble(opt.Seal{}, b, stream.Config{ApplicationID: "model"})
	if err != nil {
		t.Fatal(err)
	}
	prog.Ordered = exactly
	r := &rig{t: t, prog: prog, now: time.UnixMilli(0), logs: map[string][]task.Input{}, commits: map[string]task.Offset{}, records: map[string]int{}}
	r.start()
	return r
}

// start makes the task go on from what was committed.
func (r *rig) start() {
	made, err := task.New(r.prog, task.ID{}, r.prog.Plan.Subs, task.Env{Context: context.Background(), Partitions: func(string) int32 { return 1 }, Cache: &store.Budget{Max: r.prog.CacheBytes}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.task, r.calls, r.late, r.open = made, nil, nil, nil
	for _, s := range made.Stores() {
		made.Restore(s.Name, r.logs[s.Restored()])
	}
	r.begin()
}

func (r *rig) begin() {
	var at []task.Offset
	for _, topic := range r.task.Topics() {
		o, ok := r.commits[topic]
		if !ok {
			o = task.Offset{Topic: topic, Epoch: -1, New: true}
		}
		at = append(at, o)
	}
	if err := r.task.Init(r.now, at); err != nil {
		r.t.Fatal(err)
	}
	for _, o := range at {
		r.task.Add(o.Topic, slices.Clone(r.logs[o.Topic][o.Offset:]))
		r.task.SetEnd(o.Topic, int64(len(r.logs[o.Topic])))
	}
}

func (r *rig) pipe(topic, key, value string) {
	in := task.Input{Topic: topic, Epoch: -1, Offset: int64(len(r.logs[topic])), Time: int64(len(r.logs[topic])), Key: []byte(key), Value: []byte(value)}
	r.logs[topic] = append(r.logs[topic], in)
	r.task.Add(topic, []task.Input{in})
	r.task.SetEnd(topic, in.Offset+1)
}

// step is one step of the task, and what it sends.
func (r *rig) step() bool {
	did, err := r.task.Process(r.now)
	if err != nil {
		r.t.Fatal(err)
	}
	r.send()
	r.calls = append(r.calls, r.task.Calls(r.now)...)
	return did
}

func (r *rig) send() {
	for _, o := range r.task.Take() {
		if r.prog.Ordered {
			r.open = append(r.open, o)
		} else {
			r.keep(o)
		}
	}
}

func (r *rig) keep(o task.Output) {
	in := task.Input{Topic: o.Topic, Epoch: -1, Offset: int64(len(r.logs[o.Topic])), Time: o.Time, Key: o.Key, Value: o.Value, Headers: o.Headers}
	r.logs[o.Topic] = append(r.logs[o.Topic], in)
	if slices.Contains(r.task.Topics(), o.Topic) {
		r.task.Add(o.Topic, []task.Input{in})
		r.task.SetEnd(o.Topic, in.Offset+1)
	}
}

// answer lets one call come back: by its function, or without having waited for it.
func (r *rig) answer(i int, timeout bool) {
	c := r.calls[i]
	r.calls = slices.Delete(r.calls, i, i+1)
	if timeout {
		r.late = append(r.late, c)
		r.task.Resolve(r.now, c, c.TimedOut())
		return
	}
	r.task.Resolve(r.now, c, c.Run(context.Background()))
}

// commit says whether it could.
func (r *rig) commit() bool {
	if !r.task.Whole() {
		r.task.Hold(task.Finishing)
		return false
	}
	if err := r.task.Flush(r.now); err != nil {
		r.t.Fatal(err)
	}
	r.send()
	if !r.task.Whole() {
		r.task.Hold(task.Finishing)
		return false
	}
	r.task.Hold(task.Flowing)
	offsets := r.task.Offsets()
	for _, o := range offsets {
		if old, ok := r.commits[o.Topic]; ok && o.Offset < old.Offset {
			r.t.Fatalf("a commit of %s goes back from %d to %d", o.Topic, old.Offset, o.Offset)
		}
		r.commits[o.Topic] = o
	}
	r.task.Committed(offsets)
	for _, o := range r.open {
		r.keep(o)
	}
	r.open = nil
	return true
}

// crash loses the task and the transaction.
func (r *rig) crash() { r.start() }

// leave gives the task up in peace after a while, and takes it up again.
func (r *rig) leave() {
	r.task.Hold(task.Leaving)
	for n := rapid.IntRange(0, 20).Draw(r.t, "drained"); n > 0 && !r.task.Finished(); n-- {
		r.work()
	}
	if !r.commitLeaving() {
		r.crash()
		return
	}
	r.task.Suspend()
	r.calls = nil
	r.begin()
}

func (r *rig) commitLeaving() bool {
	if !r.task.Whole() {
		return false
	}
	return r.commit()
}

// work does a step, or else answers a call if there is one.
func (r *rig) work() bool {
	if r.step() {
		return true
	}
	if len(r.calls) == 0 {
		r.now = r.now.Add(time.Second)
		return r.task.Pending() > 0
	}
	r.answer(rapid.IntRange(0, len(r.calls)-1).Draw(r.t, "call"), false)
	return true
}

// finish works until everything is done and committed.
func (r *rig) finish() {
	for n := 0; ; n++ {
		for r.work() {
			if n++; n > 100_000 {
				r.t.Fatalf("no end: %d calls are pending", r.task.Pending())
			}
		}
		if r.commit() && !r.work() && r.task.Pending() == 0 && r.settled() {
			return
		}
	}
}

func (r *rig) settled() bool {
	for _, topic := range r.task.Topics() {
		if r.commits[topic].Offset != int64(len(r.logs[topic])) {
			return false
		}
	}
	return true
}

// play draws what happens to the task.
func (r *rig) play(check func()) {
	r.t.Repeat(map[string]func(*rapid.T){
		"": func(*rapid.T) { check() },
		"pipe": func(t *rapid.T) {
			for range rapid.IntRange(1, 6).Draw(t, "records") {
				key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
				r.pipe("in", key, fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"v", "v", "v", "bad"}).Draw(t, "kind"), r.records[key]))
				r.records[key]++
			}
		},
		"step": func(*rapid.T) { r.step() },
		"steps": func(*rapid.T) {
			for r.step() {
			}
		},
		"answer": func(t *rapid.T) {
			if len(r.calls) > 0 {
				r.answer(rapid.IntRange(0, len(r.calls)-1).Draw(t, "call"), rapid.IntRange(0, 9).Draw(t, "late") == 0)
			}
		},
		"late": func(*rapid.T) {
			if len(r.late) > 0 {
				r.late = r.late[1:]
				r.task.Late()
			}
		},
		"pass": func(t *rapid.T) {
			r.now = r.now.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "ms")) * time.Millisecond)
		},
		"commit": func(*rapid.T) { r.commit() },
		"leave":  func(*rapid.T) { r.leave() },
		"crash": func(t *rapid.T) {
			if rapid.IntRange(0, 3).Draw(t, "luck") == 0 {
				r.crash()
			}
		},
	})
}

// numberOf is the number in a value of the model.
func numberOf(v string) int {
	n, err := strconv.Atoi(strings.TrimLeft(v, "vbad"))
	if err != nil {
		panic(err)
	}
	return n
}

// heard are the records of the topics that results and failures go to, in the order of sending.
func (r *rig) heard(topics ...string) (out []task.Input) {
	for _, topic := range topics {
		out = append(out, r.logs[topic]...)
	}
	return out
}

// slowly is the model's function: some values fail at the first attempt, some for good.
func slowly() func(context.Context, string, string) (string, error) {
	seen := map[string]bool{}
	return func(_ context.Context, k, v string) (string, error) {
		first := !seen[k+v]
		seen[k+v] = true
		if strings.HasPrefix(v, "bad") || first && numberOf(v)%5 == 0 {
			return "", errOdd
		}
		return v, nil
	}
}

var asyncOptions = []stream.Async{stream.Concurrency(3), stream.Attempts(2, 10*time.Millisecond), stream.Timeout(time.Hour)}

// TestSlowWorkModel has one operator, and another one behind it.
func TestSlowWorkModel(t *testing.T) {
	t.Parallel()
	topologies := map[string]func(*stream.Builder){
		"alone": func(b *stream.Builder) {
			done, failed := b.Stream[string, string]("in").MapAsync(slowly(), asyncOptions...)
			done.To("out")
			failed.To("dlq")
		},
		"two in a row": func(b *stream.Builder) {
			done, failed := b.Stream[string, string]("in").MapAsync(slowly(), asyncOptions...)
			again, never := done.MapAsync(func(_ context.Context, _, v string) (string, error) { return v, nil }, asyncOptions...)
			again.To("out")
			never.To("dlq")
			failed.To("dlq")
		},
		"beside a copy": func(b *stream.Builder) {
			in := b.Stream[string, string]("in")
			in.To("copy")
			done, failed := in.MapAsync(slowly(), asyncOptions...)
			done.To("out")
			failed.To("dlq")
		},
	}
	for _, name := range slices.Sorted(maps.Keys(topologies)) {
		for _, exactly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s exactly=%v", name, exactly), func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(t *rapid.T) {
					r := newRig(t, exactly, topologies[name])
					r.play(func() { r.nothingBeyond(exactly && name != "two in a row") })
					r.finish()
					r.everything(exactly)
				})
			})
		}
	}
}

// nothingBeyond checks what was committed: every record before it has come out, and, if told, no other.
func (r *rig) nothingBeyond(exactly bool) {
	out := map[string]int{}
	for _, in := range r.heard("out", "dlq") {
		out[string(in.Key)+string(in.Value)]++
	}
	at := r.commits["in"].Offset
	for _, in := range r.logs["in"] {
		n := out[string(in.Key)+string(in.Value)]
		if in.Offset < at && n == 0 {
			r.t.Fatalf("offset %d is committed, and %d has not come out", at, in.Offset)
		}
		if in.Offset >= at && n > 0 && exactly {
			r.t.Fatalf("%d has come out, and only %d is committed", in.Offset, at)
		}
	}
}

// everything checks what came out in the end: everything, per key in order, and exactly once if that was promised.
func (r *rig) everything(exactly bool) {
	next, last := map[string]int{}, map[string]int{}
	for _, in := range r.heard("out") {
		k := string(in.Key)
		n := numberOf(string(in.Value))
		if n <= last[k]-1 && exactly {
			r.t.Fatalf("%s: %d comes after %d", k, n, last[k]-1)
		}
		if last[k] = n + 1; n > next[k] {
			r.t.Logf("%s: gap before %d", k, n) // failures are elsewhere
		}
		next[k] = max(next[k], n+1)
	}
	seen := map[string]int{}
	for _, in := range r.heard("out", "dlq") {
		seen[string(in.Key)+"/"+strconv.Itoa(numberOf(string(in.Value)))]++
	}
	for k, n := range r.records {
		for i := range n {
			if got := seen[k+"/"+strconv.Itoa(i)]; got == 0 || exactly && got != 1 {
				r.t.Fatalf("%s/%d came out %d times", k, i, got)
			}
		}
	}
	for _, in := range r.logs["copy"] {
		seen["copy "+string(in.Key)+string(in.Value)]++
		if n := seen["copy "+string(in.Key)+string(in.Value)]; exactly && n > 1 {
			r.t.Fatalf("%s%s was copied %d times", in.Key, in.Value, n)
		}
	}
}

// TestSlowWorkBeforeACount counts results under exactly-once, with a cache, and does slow work with what leaves the cache.
func TestSlowWorkBeforeACount(t *testing.T) {
	t.Parallel()
	for _, exactly := range []bool{false, true} {
		t.Run(fmt.Sprintf("exactly=%v", exactly), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				r := newRig(t, exactly, func(b *stream.Builder) {
					done, failed := b.Stream[string, string]("in").MapAsync(slowly(), asyncOptions...)
					failed.To("dlq")
					told, _ := done.GroupByKey().Count(stream.As("counts")).ToStream().
						MapAsync(func(_ context.Context, _ string, n int64) (string, error) { return strconv.FormatInt(n, 10), nil },
							stream.Concurrency(3), stream.Attempts(1000, 10*time.Millisecond), stream.Timeout(time.Hour)) // all succeed in the end
					told.To("told")
				})
				r.play(func() {})
				r.finish()
				r.counted(exactly)
			})
		})
	}
}

// counted checks the last number told of each key.
func (r *rig) counted(exactly bool) {
	failed := map[string]map[string]bool{}
	for _, in := range r.heard("dlq") {
		k := string(in.Key)
		if failed[k] == nil {
			failed[k] = map[string]bool{}
		}
		failed[k][string(in.Value)] = true
	}
	told := map[string]int{}
	for _, in := range r.heard("told") {
		n := numberOf(string(in.Value))
		if k := string(in.Key); n < told[k] && exactly {
			r.t.Fatalf("%s: %d is told after %d", k, n, told[k])
		}
		told[string(in.Key)] = n
	}
	for k, n := range r.records {
		want := n - len(failed[k])
		if got := told[k]; got < want || exactly && got != want {
			r.t.Fatalf("%s: %d is told, %d are counted", k, got, want)
		}
	}
}
