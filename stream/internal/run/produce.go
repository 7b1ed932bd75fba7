package run

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream/internal/task"
)

// producer sends what tasks want sent, without waiting. It belongs to a thread; promises come on the client's goroutine.
type producer struct {
	e      *Engine
	cl     *kgo.Client
	turn   int32 // partition of the next records without a key
	failed atomic.Bool
	open   bool        // a transaction is under way
	acked  atomic.Bool // it has a record
	logs   progress    // of changelogs whose stores are on disk
	lost   error       // why a record was not sent, if nobody has settled that: nothing may be committed any more

	mu     sync.Mutex // guards faults
	faults []fault
}

// fault is a record that was not acknowledged.
type fault struct {
	source *task.Input
	node   string
	id     task.ID
	record *kgo.Record
	err    error
}

// batch remembers what its records stem from, for the case that they fail.
type batch struct {
	p       *producer
	id      task.ID
	records []kgo.Record
	sources []*task.Input
	nodes   []string
	lasts   []last
}

// last is the last record of a batch to a changelog whose store is on disk.
type last struct {
	topic  string
	record *kgo.Record
	cell   *atomic.Int64 // nil: the store is in memory
}

// log notes a record to a changelog, which has one partition for each task.
func (b *batch) log(r *kgo.Record) {
	for i := range b.lasts {
		if b.lasts[i].topic == r.Topic {
			b.lasts[i].record = r
			return
		}
	}
	b.lasts = append(b.lasts, last{r.Topic, r, b.p.logs[part{r.Topic, r.Partition}]})
}

// send takes the outputs over; the slice is the task's again when it returns.
func (p *producer) send(ctx context.Context, id task.ID, outs []task.Output) error {
	if len(outs) == 0 || p.lost != nil {
		return p.lost
	}
	if err := p.begin(); err != nil {
		return p.unsent(id, &outs[0], err)
	}
	b := &batch{p: p, id: id, records: make([]kgo.Record, len(outs)), sources: make([]*task.Input, len(outs)), nodes: make([]string, len(outs))}
	p.turn++ // keyless records of one batch go to one partition, those of the next to another
	promise, now := b.done, time.Now()
	for i := range outs {
		o, r := &outs[i], &b.records[i]
		partition := o.Partition
		if partition < 0 {
			n, err := p.e.size(ctx, o.Topic)
			if err != nil {
				return p.unsent(id, o, err)
			}
			partition = p.place(o.Key, n)
		}
		r.Topic, r.Partition, r.Key, r.Value = o.Topic, partition, o.Key, o.Value
		r.Timestamp = p.e.sentAt(o, now)
		for _, h := range o.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		b.sources[i], b.nodes[i] = o.Source, o.Node
		if o.Changelog && p.e.fail.Planted("changelog-elsewhere") {
			r.Partition = 0
		}
		if o.Changelog && len(p.logs) > 0 {
			b.log(r)
		}
	}
	for i := range b.records {
		// Nothing goes behind a record that was refused: its reader would take it for seen once it is sent again (package task, hops).
		if err := p.check(ctx); err != nil {
			return err
		}
		p.cl.Produce(ctx, &b.records[i], promise)
	}
	return nil
}

// unsent tells that a task's outputs were not sent, from one of them on.
func (p *producer) unsent(id task.ID, o *task.Output, err error) error {
	p.lost = &task.Error{Task: id, Node: o.Node, Op: "produce", Source: o.Source, Err: err}
	return p.lost
}

// place is the partition of a key, or any without one.
func (p *producer) place(key []byte, n int32) int32 {
	if key == nil {
		return p.turn & 0x7fffffff % n
	}
	return task.Partition(key, n)
}

// done is the promise of all records of a batch.
func (b *batch) done(r *kgo.Record, err error) {
	if err == nil || b.p.e.fail.Planted("unchecked-promise") {
		if !b.p.acked.Load() { // the line is shared with the thread: written once
			b.p.acked.Store(true)
		}
		for _, l := range b.lasts {
			if l.record == r && l.cell != nil {
				l.cell.Store(r.Offset + 1)
			}
		}
		return
	}
	f := fault{id: b.id, record: r, err: err}
	for i := range b.records {
		if &b.records[i] == r {
			f.source, f.node = b.sources[i], b.nodes[i]
		}
	}
	b.p.mu.Lock()
	b.p.faults = append(b.p.faults, f)
	b.p.mu.Unlock()
	b.p.failed.Store(true)
}

// check settles the records that failed so far, by the program's handler where the record itself is to blame. What
// else may be done about them, the thread settles.
func (p *producer) check(ctx context.Context) error {
	if !p.failed.Load() {
		return nil
	}
	p.failed.Store(false)
	p.mu.Lock()
	faults := p.faults
	p.faults = nil
	p.mu.Unlock()
	for _, f := range faults {
		if err := p.settle(ctx, f); err != nil {
			p.lost = err
			return err
		}
	}
	return nil
}

func (p *producer) settle(ctx context.Context, f fault) error {
	final := &task.Error{Task: f.id, Node: f.node, Op: string(task.Production), Source: f.source,
		Err: &trouble{sending, fmt.Errorf("to topic %q: %w", f.record.Topic, advised(p.e.app, f.err))}}
	handle := p.e.o.Program.Handlers[task.Production]
	if !recordsFault(f.err) || handle == nil {
		return final
	}
	failure := task.Failure{Stage: task.Production, Task: f.id, Node: f.node, Source: f.source,
		Time: f.record.Timestamp.UnixMilli(), Attempts: 1, Err: final.Err}
	answer := handle(ctx, failure)
	switch answer.Action {
	case task.Continue:
		return nil
	case task.DeadLetter:
		topic := answer.Topic
		if topic == "" {
			topic = p.e.o.Program.DeadLetter
		}
		if topic != "" && topic != f.record.Topic {
			return p.send(ctx, f.id, []task.Output{failure.DeadLetter(topic)})
		}
	case task.Fail, task.Retry:
	}
	return final
}
