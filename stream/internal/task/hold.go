package task

import "slices"

// position is an offset with what a commit says beside it.
type position struct {
	offset int64
	epoch  int32
	time   int64 // the partition's time before that record
}

// held is a record that was taken from its queue and has calls under way. A commit says its offset at most.
type held struct {
	queue  *queue
	in     *Input
	before int64   // the partition's time without it
	calls  []*Call // that have not gone on yet, in the order they were begun
	traced int64   // how many of its results for repartition topics have gone on
}

// resolved says whether all its calls may go on.
func (h *held) resolved() bool {
	return !slices.ContainsFunc(h.calls, func(c *Call) bool { return c.state != resolved })
}

// barrier holds all queues where calls are under way that no record of a queue has caused: punctuations, and what leaves a
// cache. The cause is then anything since the last flush before them.
type barrier struct {
	calls []*Call // that have not gone on yet
	at    map[*queue]position
}

// Hold is what a task takes on.
type Hold uint8

// The holds.
const (
	Flowing   Hold = iota // everything
	Finishing             // no more records; all calls that were begun
	Leaving               // no more records, and only calls older than one that has run: what they did is not done again
)

// Hold lets the task take on less, or everything again. What is resolved still goes on by Process.
func (t *Task) Hold(h Hold) { t.holding = h }

// admits says whether a call may start.
func (t *Task) admits(c *Call) bool {
	return t.holding != Leaving || c.held == nil || c.held.in.Offset <= c.held.queue.bound()
}

// Finished says whether all calls that the task still takes on have gone on.
func (t *Task) Finished() bool {
	if len(t.barriers) > 0 {
		return false
	}
	for _, q := range t.queues {
		if len(q.held) > 0 && (t.holding != Leaving || q.held[0].in.Offset <= q.bound()) {
			return false
		}
	}
	return true
}

// Pending is how many calls were begun and have not gone on.
func (t *Task) Pending() (n int) {
	for _, a := range t.asyncs {
		n += a.open
	}
	return n
}

// Asynchronous says whether the task has operators of slow work.
func (t *Task) Asynchronous() bool { return len(t.asyncs) > 0 }

// Whole says whether a commit would cover exactly what the task has done: no record that it leaves out has left a trace. Only
// where results are ordered is that asked for; a task that is not whole is Held until it is.
func (t *Task) Whole() bool {
	if !t.program.Ordered {
		return true
	}
	if len(t.barriers) > 0 {
		return false
	}
	for _, q := range t.queues {
		if p := q.position(); q.effect != unknown && q.effect >= p.offset {
			return false
		}
	}
	return true
}

// bound is the offset up to which calls are worth finishing by a task that leaves: what has run, or left a trace.
func (q *queue) bound() int64 { return max(q.handed, q.effect) }

// effects counts what a commit makes last. Two equal results mean that nothing was done between.
func (t *Task) effects() int { return len(t.out) + t.changes }

// crowded says whether an operator has as much under way as it may.
func (t *Task) crowded() bool {
	for _, a := range t.asyncs {
		if a.open >= a.o.Window {
			return true
		}
	}
	return false
}

// hold is the record at work as one that holds its queue's position back; nil if no queue's record is at work.
func (t *Task) hold() *held {
	if t.held == nil && t.from != nil {
		t.held = &held{queue: t.from, in: t.from.peek(), before: t.before}
		t.from.held = append(t.from.held, t.held)
	}
	return t.held
}

// barred is the barrier for calls without a record.
func (t *Task) barred() *barrier {
	if t.barrier == nil {
		t.barrier = &barrier{at: map[*queue]position{}}
		for _, q := range t.queues {
			t.barrier.at[q] = q.safe
		}
		t.barriers = append(t.barriers, t.barrier)
	}
	return t.barrier
}

// flushed notes that whatever the records so far have caused is on its way.
func (t *Task) flushed() {
	if len(t.asyncs) == 0 {
		return
	}
	for _, q := range t.queues {
		q.safe = q.position()
	}
	t.barrier = nil
}

// release lets go what a call has held.
func (t *Task) release(c *Call) {
	c.state = gone
	c.async.open--
	if h := c.held; h != nil {
		i := slices.Index(h.calls, c)
		h.calls = slices.Delete(h.calls, i, i+1)
		q := h.queue
		for len(q.held) > 0 && len(q.held[0].calls) == 0 {
			q.held[0] = nil
			q.held = q.held[1:]
		}
		return
	}
	b := c.barrier
	i := slices.Index(b.calls, c)
	if b.calls = slices.Delete(b.calls, i, i+1); len(b.calls) > 0 {
		return
	}
	t.barriers = slices.DeleteFunc(t.barriers, func(o *barrier) bool { return o == b })
	if t.barrier == b {
		t.barrier = nil
	}
}

// at is what a commit says of a queue.
func (t *Task) at(q *queue) position {
	p := q.position()
	for _, b := range t.barriers {
		if safe, ok := b.at[q]; ok && safe.offset < p.offset {
			p = safe
		}
	}
	return p
}

// giveUp forgets all calls: their records will be processed again, here or elsewhere. Results that still come are dropped.
func (t *Task) giveUp() {
	over := func(calls []*Call) {
		for _, c := range calls {
			c.state = gone
		}
	}
	for _, q := range t.queues {
		for _, h := range q.held {
			over(h.calls)
		}
		q.held = nil
	}
	for _, b := range t.barriers {
		over(b.calls)
	}
	for _, a := range t.asyncs {
		a.ready, a.waiting, a.running, a.open = nil, nil, 0, 0
		clear(a.lanes)
	}
	t.resolved, t.barriers, t.barrier, t.holding = nil, nil, nil, Flowing
}
