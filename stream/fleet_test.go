package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/opt"
	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// fleet runs a topology as many instances would: a task for each sub-topology and partition, records of each partition in
// their order, and everything else in any order the test likes.
type fleet struct {
	prog      *task.Program
	widths    map[string]int32
	logs      map[string][][]task.Input // by topic and partition
	tasks     []*running
	committed map[slot]task.Offset
}

// slot is a partition of a topic.
type slot struct {
	topic     string
	partition int32
}

// running is a task and how far it has read.
type running struct {
	*task.Task
	sub  *plan.Sub
	read map[string]int
	stop context.CancelFunc
}

// newFleet makes the tasks; widths are the partitions of the user's topics.
func newFleet(t testing.TB, b *stream.Builder, c stream.Config, widths map[string]int32) *fleet {
	t.Helper()
	prog, err := stream.Assemble(opt.Seal{}, b, c)
	if err != nil {
		t.Fatal(err)
	}
	w := &fleet{prog: prog, widths: widths, logs: map[string][][]task.Input{}, committed: map[slot]task.Offset{}}
	topics, err := prog.Plan.Internal(w.widths, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		w.widths[topic.Name] = topic.Partitions
	}
	for topic, n := range w.widths {
		w.logs[topic] = make([][]task.Input, n)
	}
	for _, sub := range prog.Plan.Subs {
		for p := range prog.Plan.Tasks(sub, w.widths) {
			r := &running{sub: sub}
			w.tasks = append(w.tasks, r)
			if err := w.start(r, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(w.close)
	return w
}

// close frees what the fleet holds, too: a model makes thousands.
func (w *fleet) close() {
	for _, r := range w.tasks {
		r.stop()
	}
	*w = fleet{}
}

// start makes a task from changelogs and committed offsets.
func (w *fleet) start(r *running, partition int32) error {
	ctx, stop := context.WithCancel(context.Background())
	made, err := task.New(w.prog, task.ID{Sub: r.sub.ID, Partition: partition}, []*plan.Sub{r.sub}, task.Env{
		Context: ctx, Cache: &store.Budget{Max: w.prog.CacheBytes}, Log: slog.New(slog.DiscardHandler),
		Partitions: func(topic string) int32 { return w.widths[topic] },
	})
	if err != nil {
		stop()
		return err
	}
	r.Task, r.stop, r.read = made, stop, map[string]int{}
	var at []task.Offset
	for _, topic := range made.Topics() {
		o, ok := w.committed[slot{topic, partition}]
		if !ok {
			o = task.Offset{Topic: topic, Partition: partition, Epoch: -1, New: true}
		}
		at = append(at, o)
		r.read[topic] = int(o.Offset)
	}
	made.Recall(at)
	for _, s := range made.Stores() {
		if s.Changelog != "" {
			made.Restore(s.Name, slices.Clone(w.logs[s.Changelog][partition]))
		}
	}
	if err := made.Init(instant, at); err != nil {
		return err
	}
	w.take(r)
	return nil
}

var instant = time.UnixMilli(1_000_000)

// write appends a record to a topic.
func (w *fleet) write(in task.Input) {
	log := w.logs[in.Topic]
	in.Offset, in.Epoch = int64(len(log[in.Partition])), -1
	log[in.Partition] = append(log[in.Partition], in)
}

// pipe writes to one of the user's topics; nil deletes.
func (w *fleet) pipe(topic, key string, value []byte, at int64) {
	w.write(task.Input{Topic: topic, Partition: task.Partition([]byte(key), w.widths[topic]), Time: at, Key: []byte(key), Value: value})
}

// ways are the tasks and topics that have something to read, in an order that is always the same.
func (w *fleet) ways() []way {
	var out []way
	for _, r := range w.tasks {
		for _, topic := range slices.Sorted(maps.Keys(r.read)) {
			if p := r.ID().Partition; p < w.widths[topic] && r.read[topic] < len(w.logs[topic][p]) {
				out = append(out, way{r, topic})
			}
		}
	}
	return out
}

// way is a topic's partition that a task may read next.
type way struct {
	to    *running
	topic string
}

// deliver lets a task process one record.
func (w *fleet) deliver(x way) error {
	log := w.logs[x.topic][x.to.ID().Partition]
	at := x.to.read[x.topic]
	x.to.read[x.topic]++
	x.to.Add(x.topic, log[at:at+1:at+1])
	if did, err := x.to.Process(instant); err != nil || !did {
		return fmt.Errorf("%s of %s was not processed: %v, %w", x.topic, x.to.ID(), did, err)
	}
	w.take(x.to)
	return nil
}

func (w *fleet) take(r *running) {
	for _, o := range r.Take() {
		p := o.Partition
		if p == task.ByKey {
			p = task.Partition(o.Key, w.widths[o.Topic])
		}
		w.write(task.Input{Topic: o.Topic, Partition: p, Time: o.Time, Key: o.Key, Value: o.Value, Headers: o.Headers})
	}
}

// commit is one task's.
func (w *fleet) commit(r *running) error {
	if err := r.Flush(instant); err != nil {
		return err
	}
	w.take(r)
	offsets := r.Offsets()
	for _, o := range offsets {
		w.committed[slot{o.Topic, o.Partition}] = o
	}
	r.Committed(offsets)
	return nil
}

// crash loses a task's memory. What it had sent stays sent.
func (w *fleet) crash(r *running) error {
	r.stop()
	return w.start(r, r.ID().Partition)
}

// latest is a topic as a table: the last value of each key.
func (w *fleet) latest(topic string) map[string]string {
	out := map[string]string{}
	for _, log := range w.logs[topic] {
		for _, in := range log {
			if in.Value == nil {
				delete(out, string(in.Key))
			} else {
				out[string(in.Key)] = string(in.Value)
			}
		}
	}
	return out
}

// writeTo is pipe for a topic that is not partitioned by Kafka's rule.
func (w *fleet) writeTo(topic string, partition int32, key, value string) {
	w.write(task.Input{Topic: topic, Partition: partition, Key: []byte(key), Value: []byte(value)})
}
