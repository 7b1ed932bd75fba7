package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/millrun/millrun/stream/internal/statedir"
	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// What a thread does with stores that outlive the process: each has a directory below that of its task, and holds what its
// changelog held at the position of some commit.

// unsavedMost is how many bytes of changes the stores of a thread may hold in memory before it commits (KIP-892 has the same
// bound for what is not committed).
const unsavedMost = 64 << 20

// claim takes the directory of a task, if one of its stores is on disk. It fails with statedir.ErrHeld while another thread of
// this instance still has it.
func (e *Engine) claim(id task.ID) (*statedir.Task, error) {
	if e.dir == nil {
		return nil, nil
	}
	for _, s := range e.o.Program.Plan.Subs[id.Sub].Stores {
		if spec := e.o.Program.Stores[s.Name]; spec != nil && spec.OnDisk {
			dir, err := e.dir.Claim(id.String())
			if err == nil {
				e.left.remove(id)
			}
			return dir, err
		}
	}
	return nil, nil
}

// home opens what a store keeps its rows in. One that cannot be read any more begins empty: its rows come back from the
// changelog.
func (t *thread) home(id task.ID, dir *statedir.Task) func(name string) (store.Home, error) {
	return func(name string) (store.Home, error) {
		path, shape := filepath.Join(dir.Path(), name), t.e.o.Program.Stores[name].Shape
		h, err := t.e.o.Program.Disk.Open(path, shape)
		if !errors.Is(err, store.ErrDamaged) {
			return h, err
		}
		t.log.Warn("a store on disk is damaged: it is removed and restored from its changelog", "task", id.String(), "store", name, "error", err)
		t.e.o.Metrics.Add("millrun_stream_stores_wiped_total", 1, t.labels("task", id.String(), "reason", "damaged")...)
		if err := t.e.o.Program.Disk.Remove(path); err != nil {
			return nil, err
		}
		return t.e.o.Program.Disk.Open(path, shape)
	}
}

// progress is how far the changelogs of a thread's stores on disk are acknowledged: the offset behind the last record.
// It belongs to the thread; the cells are written by promises.
type progress map[part]*atomic.Int64

// follow notes the changelogs of a task's stores on disk, and of others where they may become those of a copy.
func (t *thread) follow(a *active) {
	for _, spec := range a.task.Stores() {
		if (spec.OnDisk || t.e.copies) && spec.Source == "" && spec.Changelog != "" {
			at := part{spec.Changelog, a.id.Partition}
			t.producer.logs[at] = new(atomic.Int64)
			t.producer.logs[at].Store(store.NoPosition)
		}
	}
}

// unfollow forgets them.
func (t *thread) unfollow(a *active) {
	for _, spec := range a.task.Stores() {
		delete(t.producer.logs, part{spec.Changelog, a.id.Partition})
	}
}

// restored makes what was restored of a store lasting, which is worth everything in its topic before an offset.
func (t *thread) restored(a *active, name string, position int64) error {
	spec := t.e.o.Program.Stores[name]
	if cell := t.producer.logs[part{spec.Changelog, a.id.Partition}]; cell != nil {
		cell.Store(position)
	}
	a.at[name] = store.Mark{Topic: t.e.partitions.topicID(spec.Restored()), Position: position}
	if t.lacks(a, name) {
		return nil
	}
	return a.task.Save(name, t.e.partitions.topicID(spec.Restored()), position)
}

// save makes what the stores of a task hold lasting, after a commit of these offsets.
func (t *thread) save(a *active, committed []task.Offset) error {
	for _, spec := range a.task.Stores() {
		if !spec.OnDisk && !t.e.copies {
			continue
		}
		position := t.worth(a, spec, committed)
		if position == store.NoPosition {
			continue
		}
		a.at[spec.Name] = store.Mark{Topic: t.e.partitions.topicID(spec.Restored()), Position: position}
		if !spec.OnDisk {
			continue
		}
		t.e.fail.At("save-before")
		if t.e.fail.Planted("position-ahead") {
			position += 3
		}
		if err := a.task.Save(spec.Name, t.e.partitions.topicID(spec.Restored()), position); err != nil {
			return err
		}
		t.e.fail.At("save-after")
	}
	return nil
}

// worth is the position in its topic that a store is worth after a commit.
func (t *thread) worth(a *active, spec *task.StoreSpec, committed []task.Offset) int64 {
	switch {
	case spec.Source != "":
		for _, o := range committed {
			if o.Topic == spec.Source {
				return o.Offset
			}
		}
	case spec.Changelog == "":
		return 0 // whoever has the directory has all there is
	default:
		if cell := t.producer.logs[part{spec.Changelog, a.id.Partition}]; cell != nil {
			return cell.Load()
		}
	}
	return store.NoPosition
}

// unsaved says whether the stores hold so many changes in memory that a commit should come early.
func (t *thread) unsaved() bool {
	if t.e.dir == nil {
		return false
	}
	var n int64
	for _, a := range t.tasks {
		n += a.task.Unsaved()
	}
	return n > unsavedMost
}

// fits says whether a store on disk can go on from the position it is worth: its changelog is still the same one and has
// everything from there on.
func (t *thread) fits(spec *task.StoreSpec, m store.Mark, start, end int64) error {
	id := t.e.partitions.topicID(spec.Restored())
	switch {
	case m.Topic != id && m.Topic != [16]byte{} && id != [16]byte{}:
		return fmt.Errorf("topic %s was made anew", spec.Restored())
	case m.Position > end:
		return fmt.Errorf("the store is at offset %d, and topic %s ends at %d", m.Position, spec.Restored(), end)
	case m.Position < start:
		return fmt.Errorf("the store is at offset %d, and topic %s begins at %d", m.Position, spec.Restored(), start)
	}
	return nil
}

// wiping tells that a task loses what it has on disk, and why.
func (t *thread) wiping(a *active, reason string, why any) {
	a.wipe = true
	t.log.Warn("stores on disk are of no use: the task's are wiped and restored from the beginning of their topics",
		"task", a.id.String(), "reason", reason, "why", why)
	t.e.o.Metrics.Add("millrun_stream_stores_wiped_total", 1, t.labels("task", a.id.String(), "reason", reason)...)
}

// rebuild begins a task anew that is not running yet, without what it has on disk.
func (t *thread) rebuild(a *active) error {
	topics := a.partitions
	fetched := map[part]task.Offset{}
	for topic := range topics {
		at := part{topic, a.id.Partition}
		if o, ok := t.fetched[at]; ok {
			fetched[at] = o
		}
	}
	delete(t.tasks, a.id)
	err := t.drop(map[task.ID]*active{a.id: a})
	maps.Copy(t.fetched, fetched)
	err = errors.Join(err, t.regain(a.id, slices.Collect(maps.Keys(topics))))
	t.readAgain(a.id, maps.Keys(topics))
	return err
}

// vacate gives the directory of a task back that has closed.
func (t *thread) vacate(a *active) error {
	if a.dir == nil {
		return nil
	}
	var errs []error
	for _, spec := range a.task.Stores() {
		if a.wipe && spec.OnDisk {
			errs = append(errs, t.e.o.Program.Disk.Remove(filepath.Join(a.dir.Path(), spec.Name)))
		}
	}
	if sum := worthOf(a); sum > 0 && !a.wipe {
		t.e.left.put(a.id, sum)
	}
	a.dir.Release()
	return errors.Join(errs...)
}

// mend begins tasks anew from the last commit after a store on disk could not be read; that one is wiped.
func (t *thread) mend(ctx context.Context, err error) error {
	failed, ok := errors.AsType[*task.Error](err)
	if !ok || t.tasks[failed.Task] == nil || t.tasks[failed.Task].dir == nil {
		return err
	}
	a := t.tasks[failed.Task]
	t.wiping(a, "damaged", err)
	if !a.running {
		return t.rebuild(a)
	}
	return t.undo(ctx)
}
