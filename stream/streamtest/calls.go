package streamtest

import (
	"context"
	"slices"

	"github.com/millrun/millrun/stream/internal/task"
)

// CallOrder lets next decide which of n calls of MapAsync is done next, from 0, the oldest: tests try other orders by it. A
// negative answer leaves them all under way until the test does something else. Default: the oldest.
//
// A Driver makes calls one after the other, on the test's goroutine, once no record is left to take. Pauses between attempts
// pass by Advance. A Timeout is one of real time, for functions that wait for their context to end.
func CallOrder(next func(n int) int) Option { return option(func(s *settings) { s.next = next }) }

// call is slow work that a task has handed out.
type call struct {
	of   *task.Task
	call *task.Call
}

// answer makes one call that is under way, and says whether it did.
func (d *Driver) answer() bool {
	d.calls = slices.DeleteFunc(d.calls, func(c call) bool { return d.tasks[c.of.ID().Partition] != c.of })
	for _, t := range d.tasks {
		for _, c := range t.Calls(d.now) {
			d.calls = append(d.calls, call{t, c})
		}
	}
	if len(d.calls) == 0 {
		return false
	}
	i := 0
	if d.next != nil {
		i = d.next(len(d.calls))
	}
	if i < 0 || i >= len(d.calls) {
		return false
	}
	c := d.calls[i]
	d.calls = slices.Delete(d.calls, i, i+1)
	c.of.Resolve(d.now, c.call, d.run(c.call))
	return true
}

func (d *Driver) run(c *task.Call) task.Result {
	ctx := d.ctx
	if limit := c.Timeout(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return c.Run(ctx)
}

// whole says whether a commit would cover what the tasks have done. Those that stand in its way take no more records until it
// would.
func (d *Driver) whole() bool {
	all := true
	for _, t := range d.tasks {
		if t.Whole() {
			t.Hold(task.Flowing)
		} else {
			t.Hold(task.Finishing)
			all = false
		}
	}
	return all
}
