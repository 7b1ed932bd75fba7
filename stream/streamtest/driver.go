// Package streamtest runs a topology without a broker, on a clock the test moves.
//
// A Driver is to Millrun what TopologyTestDriver is to Kafka Streams, and it runs the very code that runs in production: the
// same tasks, stores, serdes and handlers, fed from memory instead of Kafka. As in Java all sub-topologies run as one task
// for each partition (one, unless WithPartitions says otherwise), and everything that a record causes has happened when
// Pipe returns.
//
//	d := streamtest.New(t, topology())
//	in, out := d.Input(lines), d.Output(counts)
//	in.Pipe("", "a b a")
//	out.Want(out.R("a", 1), out.R("b", 1), out.R("a", 2))
package streamtest

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
	"github.com/millrun/millrun/stream/state"
)

// Option configures a Driver. Sealed.
type Option interface{ apply(*settings) }

type settings struct {
	config     stream.Config
	start      time.Time
	partitions int32
	instances  int
	emit       time.Duration
	next       func(n int) int // CallOrder
}

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

// WithConfig sets the configuration; application id and brokers may be left out. With a CommitInterval the driver commits by
// its clock; without one it commits after every record, as Java's does.
func WithConfig(c stream.Config) Option { return option(func(s *settings) { s.config = c }) }

// StartAt sets the clock. Default: 1970-01-01.
func StartAt(t time.Time) Option { return option(func(s *settings) { s.start = t }) }

// WithPartitions gives every topic n partitions and runs n tasks. Default: 1.
func WithPartitions(n int) Option { return option(func(s *settings) { s.partitions = int32(n) }) }

// EmitInterval is how much time passes at least, by the driver's clock, between two looks for results whose window has
// closed: of windows that emit on close, and of left and outer joins of streams. Default: 0, they come with the next record;
// an application looks once a second.
func EmitInterval(d time.Duration) Option { return option(func(s *settings) { s.emit = d }) }

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// Driver is a running topology. Not for concurrent use.
type Driver struct {
	t      testing.TB
	config stream.Config
	prog   *task.Program
	n      int32
	now    time.Time
	ctx    context.Context
	stop   context.CancelFunc

	tasks      []*task.Task // by partition
	instances  []*instance
	owners     []*instance            // of the tasks
	global     *task.Global           // nil: no global stores
	logs       map[place][]task.Input // every topic, internal ones too
	committed  map[place]task.Offset
	lastCommit time.Time
	unread     map[string][]task.Input // what outputs have not read yet, in the order of sending
	sent       []Sent
	sources    map[string]bool
	script     transcript
	calls      []call // of MapAsync, under way
	next       func(n int) int

	err   error
	asked bool // the test knows about err
}

// New starts a topology and closes it when the test ends; a fault fails the test.
func New(t testing.TB, d stream.Definition, opts ...Option) *Driver {
	t.Helper()
	s := settings{start: time.Unix(0, 0).UTC(), partitions: 1}
	for _, o := range opts {
		o.apply(&s)
	}
	if s.config.ApplicationID == "" {
		s.config.ApplicationID = "test"
	}
	prog, err := stream.Assemble(opt.Seal{}, d, s.config)
	if err != nil {
		t.Fatal(err)
	}
	prog.EmitInterval = s.emit
	out := &Driver{
		t: t, config: s.config, prog: prog, n: max(s.partitions, 1), now: s.start, next: s.next, lastCommit: s.start,
		logs: map[place][]task.Input{}, committed: map[place]task.Offset{}, unread: map[string][]task.Input{}, sources: map[string]bool{},
	}
	for _, topic := range prog.Plan.SourceTopics() {
		out.sources[topic] = true
	}
	for range max(s.instances, 1) {
		out.instances = append(out.instances, &instance{})
	}
	out.begin()
	t.Cleanup(out.Close)
	return out
}

// begin makes the tasks and lets them go on where the last commit left them.
func (d *Driver) begin() {
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.tasks, d.owners = make([]*task.Task, d.n), make([]*instance, d.n)
	for _, i := range d.instances {
		i.cache = store.Budget{Max: d.prog.CacheBytes}
	}
	d.load()
	for p := range d.n {
		d.owners[p] = d.freest()
		d.tasks[p] = d.make(p)
	}
	for _, t := range d.tasks {
		d.restore(t)
	}
	d.settle()
}

// make is a new task of its owner.
func (d *Driver) make(p int32) *task.Task {
	made, err := task.New(d.prog, task.ID{Partition: p}, d.prog.Plan.Subs, task.Env{
		Context: d.ctx, Cache: &d.owners[p].cache, Partitions: func(string) int32 { return d.n }, Log: slog.New(slog.NewTextHandler(d.t.Output(), nil)),
		Home: d.home(p),
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return made
}

// restore makes a task whole: stores from changelogs, positions from the last commit, queues from there on.
func (d *Driver) restore(t *task.Task) {
	p := t.ID().Partition
	for _, at := range slices.SortedFunc(maps.Keys(d.logs), byPlace) {
		d.reads(t, at.topic)
	}
	var at []task.Offset
	for _, topic := range t.Topics() {
		o, ok := d.committed[place{topic, p}]
		if !ok {
			o = task.Offset{Topic: topic, Partition: p, Epoch: -1, New: true}
		}
		at = append(at, o)
	}
	t.Recall(at)
	for _, s := range t.Stores() {
		log := d.logs[place{s.Restored(), p}]
		if s.Source != "" {
			log = log[:d.committed[place{s.Source, p}].Offset] // the rest is processed yet
		}
		t.Restore(s.Name, slices.Clone(d.rest(t, s, log)))
	}
	if err := t.Init(d.now, at); err != nil {
		d.fail(err)
		return
	}
	for _, o := range at {
		log := d.logs[place{o.Topic, p}]
		t.Add(o.Topic, append([]task.Input(nil), log[o.Offset:]...))
		t.SetEnd(o.Topic, int64(len(log)))
	}
}

// Close ends the topology before the test does, and frees what it holds: for tests that make many drivers. An error that
// the test never asked for fails it. Closing twice is closing once; nothing else may be called afterwards.
func (d *Driver) Close() {
	for _, t := range d.tasks {
		if err := t.Close(); err != nil && d.err == nil {
			d.fail(err)
		}
	}
	d.stop()
	if d.err != nil && !d.asked {
		d.t.Errorf("streamtest: the topology stopped: %v", d.err)
	}
	*d = Driver{t: d.t, stop: func() {}}
}

// fail stops the topology.
func (d *Driver) fail(err error) {
	if d.err == nil {
		d.err = stream.TaskFailure(opt.Seal{}, err)
		d.script.linef("! %v", d.err)
	}
}

// settle lets the tasks work until nothing is left, and says whether there was anything.
func (d *Driver) settle() (did bool) {
	for again := true; again; did = did || again {
		again = false
		for _, t := range d.tasks {
			for d.err == nil && d.step(t) {
				again = true
			}
		}
		again = d.err == nil && (again || d.answer())
	}
	return did
}

// step processes one record of a task, and commits if that is how the driver commits.
func (d *Driver) step(t *task.Task) bool {
	did, err := t.Process(d.now)
	d.dispatch(t)
	if err != nil {
		d.fail(err)
		return false
	}
	if did {
		d.maybeCommit(t.CommitAsked())
	}
	return did
}

// dispatch puts what a task sends where it belongs.
func (d *Driver) dispatch(t *task.Task) {
	for _, o := range t.Take() {
		p := o.Partition
		if p == task.ByKey {
			p = 0
			if o.Key != nil {
				p = task.Partition(o.Key, d.n)
			}
		}
		in := task.Input{Topic: o.Topic, Partition: p, Epoch: -1, Time: o.Time, Key: o.Key, Value: o.Value, Headers: o.Headers}
		d.deliver(in, d.internal(o.Topic))
	}
}

func (d *Driver) internal(topic string) bool {
	for _, n := range d.prog.Plan.Nodes {
		if n.Internal && d.prog.Plan.Topic(n.Topics[0], true) == topic {
			return true
		}
	}
	for _, s := range d.prog.Stores {
		if s.Changelog == topic {
			return true
		}
	}
	return false
}

// deliver appends a record to its topic and hands it to whom it concerns.
func (d *Driver) deliver(in task.Input, internal bool) {
	at := place{in.Topic, in.Partition}
	in.Offset = int64(len(d.logs[at]))
	d.logs[at] = append(d.logs[at], in)
	mark := ">"
	if internal {
		mark = "."
	} else {
		d.unread[in.Topic] = append(d.unread[in.Topic], in)
	}
	d.keep(in, internal)
	d.script.record(mark, in)
	d.feed(in)
}

// feed gives a record to its task, if any reads the topic.
func (d *Driver) feed(in task.Input) {
	if d.global.Reads(in.Topic) {
		d.update(in)
		return
	}
	if t := d.tasks[in.Partition]; d.reads(t, in.Topic) {
		t.Add(in.Topic, []task.Input{in})
		t.SetEnd(in.Topic, in.Offset+1)
	}
}

// reads says whether a task reads a topic, now that there is one of that name.
func (d *Driver) reads(t *task.Task, topic string) bool {
	return d.sources[topic] || !d.internal(topic) && t.Open(topic)
}

// pipe is the way in.
func (d *Driver) pipe(in task.Input) {
	d.t.Helper()
	if d.err != nil {
		d.t.Fatalf("streamtest: the topology stopped before: %v", d.err)
	}
	if !d.global.Reads(in.Topic) && !d.reads(d.tasks[0], in.Topic) {
		d.t.Fatalf("streamtest: the topology does not read the topic %q", in.Topic)
	}
	in.Epoch = -1
	if in.Key != nil {
		in.Partition = task.Partition(in.Key, d.n)
	}
	at := place{in.Topic, in.Partition}
	in.Offset = int64(len(d.logs[at]))
	d.logs[at] = append(d.logs[at], in)
	d.script.record("<", in)
	d.feed(in)
	d.settle()
}

// Advance moves the wall clock and fires what is due.
func (d *Driver) Advance(by time.Duration) {
	d.now = d.now.Add(by)
	d.script.linef("+ %s", by)
	for _, t := range d.tasks {
		if d.err != nil {
			return
		}
		ran, err := t.Punctuate(d.now)
		d.dispatch(t)
		if err != nil {
			d.fail(err)
			return
		}
		if ran {
			d.maybeCommit(t.CommitAsked())
		}
	}
	d.settle()
	if d.config.CommitInterval > 0 {
		d.maybeCommit(false)
	}
}

// Now is the wall clock.
func (d *Driver) Now() time.Time { return d.now }

func (d *Driver) maybeCommit(asked bool) {
	if asked || d.config.CommitInterval == 0 || d.now.Sub(d.lastCommit) >= d.config.CommitInterval {
		d.commit()
	}
}

// Commit commits, and processes what leaves the caches by that.
func (d *Driver) Commit() {
	d.script.linef("commit")
	for !d.commit() && d.settle() {
		continue // slow work stood in its way
	}
	d.settle()
}

// commit says whether it did, or is none to be expected any more.
func (d *Driver) commit() bool {
	if d.err != nil {
		return true
	}
	if !d.whole() {
		return false
	}
	d.lastCommit = d.now
	for _, t := range d.tasks {
		err := t.Flush(d.now)
		d.dispatch(t)
		if err != nil {
			d.fail(err)
			return true
		}
	}
	if !d.whole() {
		return false // what left the caches has begun calls
	}
	for _, t := range d.tasks {
		offsets := t.Offsets()
		for _, o := range offsets {
			d.committed[place{o.Topic, o.Partition}] = o
		}
		t.Committed(offsets)
		if err := d.save(t); err != nil {
			d.fail(err)
			return true
		}
	}
	return true
}

// Crash loses what the process had in memory and starts again from changelogs and committed offsets. What had been sent
// since the last commit stays sent, and its records are processed again: that is what at-least-once says.
func (d *Driver) Crash() {
	d.script.linef("crash")
	d.stop()
	d.err = nil
	for _, i := range d.instances {
		if err := i.die(); err != nil {
			d.t.Fatal(err)
		}
	}
	d.begin()
}

// Err is what stopped the topology, or nil; it does not fail the test.
func (d *Driver) Err() error {
	d.asked = true
	return d.err
}

// Transcript is everything that went in and out so far, for golden files: records piped (<), sent (>) and sent to internal
// topics (.), and what the test did beside that.
func (d *Driver) Transcript() string { return d.script.b.String() }

// Store opens a store. With several partitions it is all of them as one.
func (d *Driver) Store[S, R any](h state.Handle[S, R]) S {
	d.t.Helper()
	spec, ok := d.prog.Stores[h.Name()]
	if !ok {
		d.t.Fatalf("streamtest: the topology has no store %q", h.Name())
	}
	if s, ok := d.global.Store(h.Name()); ok {
		return d.globalStore[S](spec, s)
	}
	all := &stores{n: d.n, shape: spec.Shape, Check: func() error { return nil }}
	for _, t := range d.tasks {
		s, _ := t.Store(h.Name())
		all.tasks = append(all.tasks, s)
		all.Parts = append(all.Parts, s)
	}
	face, ok := spec.Opener.Open(all).(S)
	if !ok {
		d.t.Fatalf("streamtest: the store %q is a %T", h.Name(), spec.Opener.Open(all))
	}
	return face
}

// stores is one store in all tasks.
type stores struct {
	store.Union
	tasks []*task.Store
	n     int32
	shape *store.Shape // of a windowed store
}

// Set writes to the key's partition.
func (s *stores) Set(w store.Write) error {
	key := w.Key
	if s.shape != nil {
		key = s.shape.Key(key)
	}
	return s.tasks[task.Partition(key, s.n)].Set(w)
}

// Now is the time of the last record.
func (s *stores) Now() int64 { return s.tasks[0].Now() }
