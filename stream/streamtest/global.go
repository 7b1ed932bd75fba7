package streamtest

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/millrun/millrun/stream/internal/store"
	"github.com/millrun/millrun/stream/internal/task"
)

// Global stores in the driver: whole before any task starts, and a record is in its store as soon as it was piped.

// load makes the global stores out of their topics.
func (d *Driver) load() {
	var err error
	d.global, err = task.NewGlobal(d.prog, d.now, task.Env{
		Context: d.ctx, Partitions: func(string) int32 { return d.n }, Log: slog.New(slog.NewTextHandler(d.t.Output(), nil)),
	})
	if err != nil {
		d.fail(err)
		return
	}
	if d.global == nil {
		return
	}
	for _, at := range slices.SortedFunc(maps.Keys(d.logs), byPlace) {
		if d.global.Reads(at.topic) {
			for _, in := range d.logs[at] {
				d.update(in)
			}
		}
	}
	d.prog.Globals.Serve(d.global)
}

func byPlace(a, b place) int {
	return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}

// update puts a record into its global store.
func (d *Driver) update(in task.Input) {
	if err := d.global.Apply(d.now, in.Topic, []task.Input{in}); err != nil {
		d.fail(err)
	}
}

// globalStore opens a global store.
func (d *Driver) globalStore[S any](spec *task.StoreSpec, s *task.Store) S {
	d.t.Helper()
	all := &stores{n: 1, tasks: []*task.Store{s}, Parts: []store.Reader{s}, Check: func() error { return nil }}
	face, ok := spec.Opener.Open(all).(S)
	if !ok {
		d.t.Fatalf("streamtest: the store %q is a %T", spec.Name, spec.Opener.Open(all))
	}
	return face
}
