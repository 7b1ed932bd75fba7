package assign_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrun/millrun/stream/internal/assign"
	"github.com/millrun/millrun/stream/internal/task"
)

// group is an application of which each member does at once what it is told.
type group struct {
	c       assign.Config
	members []assign.Member
	tasks   []assign.Task
}

func drawGroup(t *rapid.T) *group {
	g := &group{c: assign.Config{Standbys: rapid.IntRange(0, 2).Draw(t, "standbys"), Warmups: rapid.IntRange(1, 4).Draw(t, "warmups"), RecoveryLag: 100}}
	for sub := range rapid.IntRange(1, 4).Draw(t, "subs") {
		stateful := rapid.Bool().Draw(t, "stateful")
		for p := range rapid.IntRange(1, 12).Draw(t, "partitions") {
			g.tasks = append(g.tasks, assign.Task{ID: task.ID{Sub: sub, Partition: int32(p)}, Stateful: stateful})
		}
	}
	for p := range rapid.IntRange(1, 6).Draw(t, "processes") {
		for c := range rapid.IntRange(1, 3).Draw(t, "threads") {
			g.join(byte(p+1), c)
		}
	}
	return g
}

func (g *group) join(process byte, n int) {
	g.members = append(g.members, assign.Member{
		ID: fmt.Sprintf("m%d-%d", process, n), Process: assign.Process{process}, Lags: map[task.ID]int64{},
	})
}

// step assigns, and every member gives up, takes and catches up at once.
func (g *group) step(t *rapid.T) assign.Result {
	r := assign.Assign(g.c, g.members, g.tasks)
	g.sound(t, r)
	lags := map[assign.Process]map[task.ID]int64{}
	for i := range g.members {
		m := &g.members[i]
		s := r.Shares[m.ID]
		m.Active, m.Standby = s.Active, slices.Concat(s.Standby, s.Warmup)
		if lags[m.Process] == nil {
			lags[m.Process] = map[task.ID]int64{}
		}
		for id := range m.Lags { // what is on the disk stays there
			lags[m.Process][id] = min(g.c.RecoveryLag, m.Lags[id])
		}
		for _, id := range slices.Concat(m.Active, m.Standby) {
			lags[m.Process][id] = 0
		}
		m.Lags = lags[m.Process]
	}
	return r
}

func (g *group) settle(t *rapid.T) assign.Result {
	for range 4*len(g.tasks) + 10 {
		before := g.owners()
		copies := g.copies()
		r := g.step(t)
		if !r.FollowUp && !r.Probing && maps.Equal(before, g.owners()) && reflect.DeepEqual(copies, g.copies()) {
			return r
		}
	}
	t.Fatalf("no end of rebalances: %v", g.members)
	return assign.Result{}
}

func (g *group) owners() map[task.ID]string {
	out := map[task.ID]string{}
	for _, m := range g.members {
		for _, id := range m.Active {
			out[id] = m.ID
		}
	}
	return out
}

func (g *group) copies() map[string][]task.ID {
	out := map[string][]task.ID{}
	for _, m := range g.members {
		out[m.ID] = slices.Clone(m.Standby)
	}
	return out
}

// sound checks what holds for each assignment, whatever the lags are.
func (g *group) sound(t *rapid.T, r assign.Result) {
	active := map[task.ID]string{}
	where := map[task.ID]map[assign.Process]bool{}
	for _, m := range g.members {
		s := r.Shares[m.ID]
		for _, id := range slices.Concat(s.Active, s.Awaited) {
			if other, ok := active[id]; ok {
				t.Fatalf("%v has two owners: %s and %s", id, other, m.ID)
			}
			active[id] = m.ID
			where[id] = map[assign.Process]bool{m.Process: true}
		}
		for _, id := range s.Active {
			for _, o := range g.members {
				if o.ID != m.ID && slices.Contains(o.Active, id) && !slices.Contains(m.Active, id) {
					t.Fatalf("%v is given to %s while %s has it", id, m.ID, o.ID)
				}
			}
		}
	}
	warm := 0
	for _, m := range g.members {
		s := r.Shares[m.ID]
		warm += len(s.Warmup)
		for _, id := range slices.Concat(s.Standby, s.Warmup) {
			if slices.Contains(s.Standby, id) && slices.Contains(m.Standby, id) && slices.Contains(r.Shares[active[id]].Awaited, id) {
				continue // kept until the task comes
			}
			if where[id][m.Process] {
				t.Fatalf("two copies of %v in process %v", id, m.Process[0])
			}
			where[id][m.Process] = true
		}
	}
	if len(active) != len(g.tasks) {
		t.Fatalf("%d of %d tasks have an owner", len(active), len(g.tasks))
	}
	if warm > g.c.Warmups {
		t.Fatalf("%d warm-ups", warm)
	}
}

func (g *group) level(t *rapid.T) {
	least, most := len(g.tasks), 0
	for _, m := range g.members {
		least, most = min(least, len(m.Active)), max(most, len(m.Active))
	}
	if most-least > 1 {
		t.Fatalf("not balanced: from %d to %d", least, most)
	}
}

func moves(before, after map[task.ID]string) (n int) {
	for id, m := range after {
		if before[id] != m {
			n++
		}
	}
	return n
}

func TestAnAssignmentIsSoundWhateverTheMembersHave(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t)
		for i := range g.members {
			m := &g.members[i]
			for _, x := range g.tasks {
				switch rapid.IntRange(0, 5).Draw(t, "has") {
				case 0:
					m.Active = append(m.Active, x.ID)
				case 1:
					m.Standby = append(m.Standby, x.ID)
				case 2:
					m.Lags[x.ID] = rapid.SampledFrom([]int64{0, 99, 101, 5000, assign.Unknown}).Draw(t, "lag")
				}
			}
			m.Generation = int32(rapid.IntRange(1, 2).Draw(t, "generation"))
		}
		r := assign.Assign(g.c, g.members, g.tasks)
		g.sound(t, r)
		shuffled := rapid.Permutation(g.members).Draw(t, "members in another order")
		if again := assign.Assign(g.c, shuffled, rapid.Permutation(g.tasks).Draw(t, "tasks")); !reflect.DeepEqual(r, again) {
			t.Fatalf("the order of the members matters:\n%v\n%v", r, again)
		}
	})
}

func TestRebalancesEndBalancedAndMoveLittle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGroup(t)
		g.settle(t)
		g.level(t)
		before := g.owners()
		var most int // moves
		if len(g.members) > 1 && rapid.Bool().Draw(t, "a member leaves") {
			i := rapid.IntRange(0, len(g.members)-1).Draw(t, "which")
			most = len(g.members[i].Active)
			for _, x := range g.tasks {
				if x.Stateful && slices.Contains(g.members[i].Active, x.ID) {
					most++ // it runs where its state is, and something else may leave that place when it is settled
				}
			}
			g.members = slices.Delete(g.members, i, i+1)
		} else {
			g.join(byte(rapid.IntRange(1, 7).Draw(t, "process")), 9)
			most = (len(g.tasks) + len(g.members) - 1) / len(g.members)
		}
		r := g.settle(t)
		g.level(t)
		if n := moves(before, g.owners()); n > most {
			t.Fatalf("%d of %d tasks moved; %d would do", n, len(g.tasks), most)
		}
		processes := map[assign.Process]bool{}
		stateful := 0
		for _, m := range g.members {
			processes[m.Process] = true
		}
		for _, x := range g.tasks {
			if x.Stateful {
				stateful++
			}
		}
		if missing := max(g.c.Standbys-(len(processes)-1), 0) * stateful; r.Short != missing {
			t.Fatalf("%d standbys are missing; %d must", r.Short, missing)
		}
	})
}
