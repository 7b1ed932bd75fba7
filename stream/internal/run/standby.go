package run

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/millrun/millrun/stream/internal/statedir"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// Copies: the stores of a task that is at work elsewhere, or is to move here, kept up to date from their changelogs. They are
// Kafka Streams' standby tasks and warm-ups. The restorer reads for them; here is which there are.

// Times of copies.
const (
	limitAge   = time.Second      // how long it is believed that a source is not processed any further
	retiredAge = 15 * time.Second // how long a copy in memory is kept that the group does not want: its task may be on its way here
)

// stand is told of which tasks the group wants copies to be kept here, and returns of which they are: tasks without state have
// none. The loop makes them.
func (t *thread) stand(ids []task.ID) []task.ID {
	clear(t.wanted)
	subs := t.e.o.Program.Plan.Subs
	for _, id := range ids {
		if id.Sub >= 0 && id.Sub < len(subs) && t.e.stateful(subs[id.Sub]) {
			t.wanted[id] = true
		}
	}
	return slices.Collect(maps.Keys(t.wanted))
}

// keepCopies makes the copies that the group wants and ends the others. Those on disk end at once, since another thread may
// wait for the directory.
func (t *thread) keepCopies() error {
	for id, a := range t.copies {
		switch {
		case t.wanted[id]:
			a.retired = time.Time{}
		case a.dir == nil && a.retired.IsZero():
			a.retired = time.Now()
			t.restore.forget(a)
		case a.dir != nil || time.Since(a.retired) > retiredAge:
			t.end(a)
		}
	}
	for id := range t.wanted {
		if t.tasks[id] != nil || t.copies[id] != nil || t.suspended[id] != nil || t.gained[id] != nil {
			continue
		}
		a, err := t.build(id)
		if errors.Is(err, statedir.ErrHeld) {
			continue // another thread of ours is about to let go of it
		}
		if err != nil {
			return err
		}
		a.copy = true
		t.copies[id] = a
	}
	return nil
}

// end ends a copy.
func (t *thread) end(a *active) {
	delete(t.copies, a.id)
	t.giveUp(t.drop(map[task.ID]*active{a.id: a}))
}

// discard ends a copy that cannot be followed up any more. If it is still wanted, another one begins empty.
func (t *thread) discard(a *active, why error) {
	t.log.Warn("a copy does not fit its changelog; it begins anew", "task", a.id.String(), "why", why)
	t.end(a)
}

// demote makes copies of suspended tasks that the group wants to be kept: what was committed is what the changelogs hold.
func (t *thread) demote() {
	for id, a := range t.suspended {
		if !t.wanted[id] || !a.task.Recyclable() || !known(a) {
			continue
		}
		delete(t.suspended, id)
		a.cancel()
		t.unfollow(a)
		env, cancel := t.env(a)
		made, err := a.task.Recycle(env)
		t.giveUp(err)
		if made == nil {
			cancel()
			t.giveUp(t.vacate(a))
			continue
		}
		a.task, a.cancel, a.copy = made, cancel, true
		t.unrestored(a)
		t.copies[id] = a
	}
}

// known says whether it is known of all stores of a task what they are worth.
func known(a *active) bool {
	for _, spec := range a.task.Stores() {
		if m, ok := a.mark(spec.Name); spec.Restored() != "" && (!ok || m.Position == store.NoPosition) {
			return false
		}
	}
	return true
}

// look asks how far the sources are processed that copies are made of: a copy never knows more than the task has committed.
func (r *restorer) look(ctx context.Context) {
	if len(r.t.copies) == 0 || time.Since(r.asked) < limitAge || r.busy() {
		return
	}
	var at []part
	for _, a := range r.t.copies {
		if !a.retired.IsZero() {
			continue
		}
		for _, spec := range a.task.Stores() {
			if spec.Source != "" {
				at = append(at, part{spec.Source, a.id.Partition})
			}
		}
		if r.t.e.o.ExactState {
			at = append(at, r.t.inputs(a)...)
		}
	}
	if len(at) == 0 {
		return
	}
	r.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	found, err := r.t.askCommitted(ctx, identity{}, at)
	if err != nil {
		r.t.log.Debug("how far sources are processed is not known", "error", err) // of some: asked again
	}
	if r.limits == nil {
		r.limits = map[part]int64{}
	}
	for p, o := range found {
		r.limits[p] = max(r.limits[p], o.Offset)
	}
	r.learn(found)
}

// yield lets copies wait as long as a task does.
func (r *restorer) yield() {
	busy := r.busy()
	if !busy && !r.idle {
		return
	}
	parts := map[string][]int32{}
	for at, j := range r.jobs {
		if j.a.copy {
			parts[at.topic] = append(parts[at.topic], at.partition)
		}
	}
	if r.idle = busy; len(parts) == 0 {
		return
	}
	if busy {
		r.cl.PauseFetchPartitions(parts)
	} else {
		r.cl.ResumeFetchPartitions(parts)
	}
}
