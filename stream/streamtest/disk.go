package streamtest

import (
	"path"
	"strconv"

	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// What instances keep on disk, if the configuration's Stores say so: a directory for each instance and partition, on a file system
// in memory. A crash loses what came after the last commit.

// home opens a store of a task in its owner's directory.
func (d *Driver) home(p int32) func(name string) (store.Home, error) {
	if d.prog.Disk == nil {
		return nil
	}
	owner := d.owners[p]
	return func(name string) (store.Home, error) {
		if owner.disk == nil {
			owner.disk = d.prog.Disk.InMemory()
		}
		h, err := owner.disk.Open(path.Join(strconv.Itoa(int(p)), name), d.prog.Stores[name].Shape)
		if err == nil {
			owner.homes = append(owner.homes, h)
		}
		return h, err
	}
}

// die loses what an instance has in memory.
func (i *instance) die() error {
	var failed error
	for _, h := range i.homes {
		if err := h.Close(); err != nil && failed == nil {
			failed = err
		}
	}
	i.homes = nil
	return failed
}

// rest is what a store lacks of its topic.
func (d *Driver) rest(t *task.Task, s *task.StoreSpec, log []task.Input) []task.Input {
	if m, ok := t.Mark(s.Name); ok {
		return log[min(int(m.Position), len(log)):]
	}
	return log
}

// save makes what a task's stores hold last as of a commit: everything sent is in the topics.
func (d *Driver) save(t *task.Task) error {
	for _, s := range t.Stores() {
		at := place{s.Restored(), t.ID().Partition}
		position := int64(len(d.logs[at]))
		if s.Source != "" {
			position = d.committed[at].Offset
		}
		if err := t.Save(s.Name, [16]byte{}, position); err != nil {
			return err
		}
	}
	return nil
}
