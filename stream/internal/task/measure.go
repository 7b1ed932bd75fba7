package task

import (
	"cmp"
	"maps"
	"slices"

	"github.com/millrun/millrun/stream/internal/plan"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/metrics"
	"github.com/millrun/millrun/stream/serde"
)

// Flow is what has passed a source or a sink of one topic since the last call of Task.Counts. Sources and sinks count into
// it, as plain numbers of the task's goroutine.
type Flow struct {
	Node, Topic string
	Out         bool // of a sink
	Records     int64
	Bytes       int64                // of keys, values and headers
	Age         metrics.Distribution // of records, in milliseconds: the wall clock less the record's time (KIP-613)
}

// flowKey names a Flow.
type flowKey struct{ node, topic string }

// Flow finds or makes the numbers of a source's or a sink's topic.
func (t *Task) Flow(node, topic string, out bool) *Flow {
	key := flowKey{node, topic}
	f, ok := t.flows[key]
	if !ok {
		f = &Flow{Node: node, Topic: topic, Out: out}
		t.flows[key] = f
	}
	return f
}

// pass counts a record of which the wall clock is now and the time is at; the latter is negative if there is none.
func (f *Flow) pass(key, value []byte, headers serde.Headers, now, at int64) {
	f.Records++
	f.Bytes += int64(len(key) + len(value))
	for i := range headers {
		f.Bytes += int64(len(headers[i].Key) + len(headers[i].Value))
	}
	if at >= 0 {
		f.Age.Add(float64(now - at))
	}
}

// Sent counts a record that a sink has made.
func (t *Task) Sent(f *Flow, o *Output) { f.pass(o.Key, o.Value, o.Headers, t.now.UnixMilli(), o.Time) }

// taken counts a record that is about to be processed: what has passed its source, and how late it is by the task's time.
func (t *Task) taken(q *queue, in *Input) {
	q.flow.pass(in.Key, in.Value, in.Headers, t.now.UnixMilli(), q.at)
	t.counts.Lateness.Add(float64(max(0, t.time-q.at)))
	if t.program.MaxIdle >= 0 && len(t.filled) < len(t.queues) {
		t.counts.Enforced++
	}
}

// Node is what a node has counted since the last call of Task.Counts.
type Node struct {
	Name    string
	Passed  int64 // records it was given; counted only where the program says Detailed
	Emitted int64 // that it had held back and has let go
}

// Passes is where the records that a node is given are counted; nil if nobody wants to know.
func (a *Assembly) Passes(n *plan.Node) *int64 {
	if !a.Task.program.Detailed {
		return nil
	}
	return &a.Task.node(n).Passed
}

// Emits is where a node counts what it lets go that it had held back.
func (a *Assembly) Emits(n *plan.Node) *int64 { return &a.Task.node(n).Emitted }

func (t *Task) node(n *plan.Node) *Node {
	c, ok := t.nodes[n.Index]
	if !ok {
		c = &Node{Name: n.Name}
		t.nodes[n.Index] = c
	}
	return c
}

// counted hands out what flows and nodes have counted and sets them back.
func (t *Task) counted(c *Counts) {
	for _, f := range t.flows {
		if f.Records > 0 {
			c.Flows = append(c.Flows, *f)
			*f = Flow{Node: f.Node, Topic: f.Topic, Out: f.Out}
		}
	}
	for _, i := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[i]
		c.Nodes = append(c.Nodes, *n)
		*n = Node{Name: n.Name}
	}
	for _, s := range t.ordered {
		c.Stores = append(c.Stores, StoreCounts{s.spec.Name, s.reads, s.writes})
		s.reads, s.writes = 0, 0
	}
	slices.SortFunc(c.Flows, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Topic, b.Topic))
	})
}

// StoreCounts is what was done with a store since the last call of Task.Counts.
type StoreCounts struct {
	Name          string
	Reads, Writes int64 // of single keys
}

// Size is how much a store holds back, or has in memory.
type Size struct {
	Store string
	Rows  int64
	Bytes int64 // of a buffer; -1 where nobody counts them
}

// Sizes are those of the stores that know without looking: buffers, and stores in memory.
func (t *Task) Sizes() (out []Size) {
	for _, s := range t.ordered {
		if s.spec.Kind == store.Kept {
			if b, ok := s.Face().(interface {
				Len() int64
				Size() int64
			}); ok {
				out = append(out, Size{s.spec.Name, b.Len(), b.Size()})
			}
			continue
		}
		if s.home != nil {
			continue
		}
		if n, err := s.rows.Len(); err == nil {
			out = append(out, Size{s.spec.Name, n, -1})
		}
	}
	return out
}

// Waiting is how many records of all topics wait.
func (t *Task) Waiting() (n int) {
	for _, q := range t.queues {
		n += q.n
	}
	return n
}

// Lags visits the partitions whose end is known, with how many offsets lie between what was processed and there.
func (t *Task) Lags(visit func(topic string, partition int32, lag int64)) {
	for _, q := range t.queues {
		if at := q.position().offset; q.seen != unknown && at != unknown {
			visit(q.topic, q.partition, max(0, max(q.seen, q.next)-at))
		}
	}
}
