package streamtest

import (
	"log/slog"
	"maps"
	"slices"

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
	if a.topic != b.topic {
		return map[bool]int{true: -1, false: 1}[a.topic < b.topic]
	}
	return int(a.partition - b.partition)
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
	all := &stores{n: 1, tasks: []*task.Store{s}, Union: store.Union{Parts: []store.Reader{s}, Check: func() error { return nil }}}
	face, ok := spec.Opener.Open(all).(S)
	if !ok {
		d.t.Fatalf("streamtest: the store %q is a %T", spec.Name, spec.Opener.Open(all))
	}
	return face
}
