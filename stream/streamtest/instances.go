package streamtest

import "github.com/millrun/millrun/stream/internal/store"

// instance is a process of the application: it owns some of the tasks, and a cache.
type instance struct {
	cache store.Budget
	dead  bool
	disk  store.Backend // nil as long as no store is on disk
	homes []store.Home  // that were opened in it
}

// WithInstances runs the tasks in n instances; partition p begins in instance p modulo n. Default: 1.
func WithInstances(n int) Option { return option(func(s *settings) { s.instances = n }) }

// CrashInstance loses what instance i, counted from 0, had in memory. The others take its tasks over and go on from
// changelogs and committed offsets; what it had sent since its last commit stays sent. The last instance cannot crash: that
// is Crash.
func (d *Driver) CrashInstance(i int) {
	d.t.Helper()
	if i < 0 || i >= len(d.instances) || d.instances[i].dead || d.alive() < 2 {
		d.t.Fatalf("streamtest: instance %d cannot crash: %d of %d are alive", i, d.alive(), len(d.instances))
	}
	d.script.linef("instance %d crashes", i)
	gone := d.instances[i]
	gone.dead = true
	if err := gone.die(); err != nil {
		d.t.Fatal(err)
	}
	for p, owner := range d.owners {
		if owner == gone {
			d.move(int32(p))
		}
	}
	d.settle()
}

// AddInstance starts another instance and returns its number. After a commit it takes over as many tasks as are its share,
// and restores their stores.
func (d *Driver) AddInstance() int {
	d.t.Helper()
	n := len(d.instances)
	d.script.linef("instance %d joins", n)
	d.commit()
	d.instances = append(d.instances, &instance{cache: store.Budget{Max: d.prog.CacheBytes}})
	for share := len(d.tasks) / d.alive(); share > 0; share-- {
		p := d.busiest()
		if err := d.tasks[p].Close(); err != nil {
			d.fail(err)
			return n
		}
		d.move(p)
	}
	d.settle()
	return n
}

// move begins a task anew in the instance that has the fewest.
func (d *Driver) move(p int32) {
	d.owners[p] = nil
	d.owners[p] = d.freest()
	d.tasks[p] = d.make(p)
	d.restore(d.tasks[p])
}

func (d *Driver) alive() (n int) {
	for _, i := range d.instances {
		if !i.dead {
			n++
		}
	}
	return n
}

// freest is the living instance with the fewest tasks.
func (d *Driver) freest() (out *instance) {
	owned := d.owned()
	for _, i := range d.instances {
		if !i.dead && (out == nil || owned[i] < owned[out]) {
			out = i
		}
	}
	return out
}

// busiest is the last task of the instance with the most.
func (d *Driver) busiest() (out int32) {
	owned := d.owned()
	for p, i := range d.owners {
		if owned[i] >= owned[d.owners[out]] {
			out = int32(p)
		}
	}
	return out
}

func (d *Driver) owned() map[*instance]int {
	out := map[*instance]int{}
	for _, i := range d.owners {
		if i != nil {
			out[i]++
		}
	}
	return out
}
