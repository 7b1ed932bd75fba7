// Package assign decides which member of a consumer group works on which task, and reads and writes what members tell each
// other about it, in Kafka Streams' bytes. It is pure: the same question has the same answer on every member, whenever it is
// asked.
package assign

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/millrun/millrun/stream/internal/task"
)

// Unknown is the lag of a process that has nothing of a task.
const Unknown = math.MaxInt64

// Process is the identity of a process: its members share local state.
type Process [16]byte

// Member is a consumer of the group, that is a stream thread, as the leader of the group sees it.
type Member struct {
	ID         string
	Process    Process
	Generation int32             // in which Active was assigned; the newer of two claims counts
	Active     []task.ID         // held at this moment
	Standby    []task.ID         // standbys and warm-ups held at this moment
	Lags       map[task.ID]int64 // records between the process's stores and the end of their changelogs; absent: Unknown
	Tags       map[string]string // of the process: zone, cluster and the like
	Refuses    map[int]bool      // sub-topologies this member cannot run, because it runs another version of the program
}

// Task is work to be shared out.
type Task struct {
	ID       task.ID
	Stateful bool // has a changelog, so that lags, standbys and warm-ups mean something
}

// Config is what the application chose.
type Config struct {
	Standbys    int      // copies of each stateful task beside the active one
	Warmups     int      // of the whole group at a time; at least 1
	RecoveryLag int64    // up to this lag a process counts as caught up
	RackAware   []string // tags in which the copies of a task should differ
}

// Share is the part of a member. A task is in one of the lists at most, but for a copy that is kept while its process awaits
// the task.
type Share struct {
	Active  []task.ID // to work on now
	Awaited []task.ID // its own as soon as their present owners have given them up
	Standby []task.ID // copies to keep
	Warmup  []task.ID // copies to make, so that the task can move here
}

// Result is an assignment. In each list tasks are in order.
type Result struct {
	Shares   map[string]*Share // by member; every member has one
	FollowUp bool              // somebody awaits a task: rebalance again as soon as its owner has given it up
	Probing  bool              // an active task is not where it should be for good: look again when lags may have shrunk
	Idle     []task.ID         // tasks that no member can run
	Short    int               // standbys that are missing because there are too few processes
	Near     int               // standbys that share a rack tag with another copy of their task, because there is no other place
}

// Assign shares the tasks out. Active tasks are balanced over members and stay where they are as far as balance allows; one
// whose new process has to catch up first runs on where it is, while the new process warms up. Standbys are on other
// processes than their active, and differ in the rack tags if possible. A task that moves between members is given to the
// new one only once the old one has given it up.
func Assign(c Config, members []Member, tasks []Task) Result {
	a := newBoard(c, members, tasks)
	a.keep()
	a.fill()
	a.level()
	target := slices.Clone(a.place)
	a.catchUp(target)
	a.standbys()
	return a.result(target)
}

// consumer is a member at the board.
type consumer struct {
	Member
	process int // index of its process
	load    int // active tasks
	copies  int // standbys and warm-ups
	subs    map[int]int
}

// process is what the members with one process id have in common.
type process struct {
	id        Process
	consumers []int
	lags      map[task.ID]int64
	held      map[task.ID]bool // copies of any kind
	tags      map[string]string
	load      int
	copies    int
}

// board is the state of a decision.
type board struct {
	c         Config
	tasks     []Task
	consumers []*consumer
	processes []*process
	owner     []int   // of each task before; -1: nobody
	place     []int   // of each task now; -1: nobody
	warm      []int   // consumer that warms each task up; -1: none
	copies    [][]int // processes with a standby of each task
	standby   [][]int // consumers with a standby of each task
	short     int
	near      int
}

func newBoard(c Config, members []Member, tasks []Task) *board {
	a := &board{c: c, tasks: slices.Clone(tasks)}
	slices.SortFunc(a.tasks, func(x, y Task) int { return compare(x.ID, y.ID) })
	a.tasks = slices.CompactFunc(a.tasks, func(x, y Task) bool { return x.ID == y.ID })
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(x, y Member) int {
		return cmp.Or(slices.Compare(x.Process[:], y.Process[:]), cmp.Compare(x.ID, y.ID))
	})
	for i, m := range sorted {
		if i == 0 || sorted[i-1].Process != m.Process {
			a.processes = append(a.processes, &process{id: m.Process, lags: map[task.ID]int64{}, held: map[task.ID]bool{}, tags: map[string]string{}})
		}
		a.seat(m)
	}
	n := len(a.tasks)
	a.owner, a.place, a.warm = filled(n), filled(n), filled(n)
	a.copies, a.standby = make([][]int, n), make([][]int, n)
	return a
}

// seat adds a member to the process that came last.
func (a *board) seat(m Member) {
	p := a.processes[len(a.processes)-1]
	p.consumers = append(p.consumers, len(a.consumers))
	a.consumers = append(a.consumers, &consumer{Member: m, process: len(a.processes) - 1, subs: map[int]int{}})
	for id, lag := range m.Lags {
		if old, ok := p.lags[id]; !ok || lag < old {
			p.lags[id] = lag
		}
	}
	for _, id := range slices.Concat(m.Active, m.Standby) {
		p.held[id] = true
	}
	maps.Copy(p.tags, m.Tags)
}

func filled(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = -1
	}
	return out
}

func compare(x, y task.ID) int {
	return cmp.Or(cmp.Compare(x.Sub, y.Sub), cmp.Compare(x.Partition, y.Partition))
}

// lag is how far a process is behind with a task. A task without state is nowhere behind.
func (a *board) lag(p, t int) int64 {
	if !a.tasks[t].Stateful {
		return 0
	}
	if lag, ok := a.processes[p].lags[a.tasks[t].ID]; ok {
		return max(lag, 0)
	}
	return Unknown
}

// able says whether a consumer can run a task.
func (a *board) able(c, t int) bool { return !a.consumers[c].Refuses[a.tasks[t].ID.Sub] }

// put moves a task to a consumer.
func (a *board) put(t, c int) {
	if old := a.place[t]; old >= 0 {
		o := a.consumers[old]
		o.load--
		o.subs[a.tasks[t].ID.Sub]--
		a.processes[o.process].load--
	}
	a.place[t] = c
	n := a.consumers[c]
	n.load++
	n.subs[a.tasks[t].ID.Sub]++
	a.processes[n.process].load++
}

// keep leaves every task where it is.
func (a *board) keep() {
	at := make(map[task.ID]int, len(a.tasks))
	for i, t := range a.tasks {
		at[t.ID] = i
	}
	for i, c := range a.consumers {
		for _, id := range c.Active {
			t, ok := at[id]
			if !ok || !a.able(i, t) {
				continue
			}
			if old := a.owner[t]; old >= 0 && a.consumers[old].Generation >= c.Generation {
				continue
			}
			a.owner[t] = i
		}
	}
	for t, c := range a.owner {
		if c >= 0 {
			a.put(t, c)
		}
	}
}

// fill gives the tasks that nobody has: to a process that is caught up if it is not full, else to whom has least.
func (a *board) fill() {
	full := 0
	if len(a.consumers) > 0 {
		full = (len(a.tasks) + len(a.consumers) - 1) / len(a.consumers)
	}
	for t := range a.tasks {
		if a.place[t] >= 0 {
			continue
		}
		best := a.least(a.all(t), func(c int) []int64 {
			o := a.consumers[c]
			behind := int64(1)
			if a.tasks[t].Stateful && a.lag(o.process, t) <= a.c.RecoveryLag && o.load < full {
				behind = 0
			}
			p := a.processes[o.process]
			return []int64{behind, int64(o.load), int64(p.load * 1000 / len(p.consumers)), a.fresh(c, t), int64(o.subs[a.tasks[t].ID.Sub]), a.lag(o.process, t)}
		})
		if best >= 0 {
			a.put(t, best)
		}
	}
}

// fresh is 0 for a consumer that has a copy of a task, which it can go on with.
func (a *board) fresh(c, t int) int64 {
	if slices.Contains(a.consumers[c].Standby, a.tasks[t].ID) {
		return 0
	}
	return 1
}

// all are the consumers that can run a task.
func (a *board) all(t int) []int {
	var out []int
	for c := range a.consumers {
		if a.able(c, t) {
			out = append(out, c)
		}
	}
	return out
}

// least is the candidate with the smallest score, the first one of equals; -1 if there is none.
func (*board) least(candidates []int, score func(int) []int64) int {
	best, least := -1, []int64(nil)
	for _, c := range candidates {
		if s := score(c); best < 0 || slices.Compare(s, least) < 0 {
			best, least = c, s
		}
	}
	return best
}

// level moves tasks from who has most to who has least until nobody has two more than another.
func (a *board) level() {
	for {
		t, c := a.move()
		if t < 0 {
			return
		}
		a.put(t, c)
	}
}

// move finds the next task to move, and where to: -1 if all is level.
func (a *board) move() (t, to int) {
	order := make([]int, len(a.consumers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(a.consumers[x].load, a.consumers[y].load) })
	for _, to := range order {
		for i := len(order) - 1; i >= 0 && a.consumers[order[i]].load-a.consumers[to].load >= 2; i-- {
			if t := a.choose(order[i], to); t >= 0 {
				return t, to
			}
		}
	}
	return -1, -1
}

// choose says which task should go from one consumer to another: one that was not there before, then one of which
// the new process has a copy or is making one, then one of a sub-topology of which the one has more than the other.
func (a *board) choose(from, to int) int {
	var candidates []int
	for t, c := range a.place {
		if c == from && a.able(to, t) {
			candidates = append(candidates, t)
		}
	}
	f, n := a.consumers[from], a.consumers[to]
	return a.least(candidates, func(t int) []int64 {
		settled, id := int64(0), a.tasks[t].ID
		if a.owner[t] == from {
			settled = 1
		}
		lag, fresh := a.lag(n.process, t), int64(1)
		if a.processes[n.process].held[id] {
			fresh = 0
		}
		return []int64{settled, fresh, -a.spread(id, n.process), int64(n.subs[id.Sub] - f.subs[id.Sub]), lag}
	})
}

// spread counts the processes with a copy of a task, if p is one of them: a task that is warmed up has more than others.
func (a *board) spread(id task.ID, p int) (n int64) {
	if !a.processes[p].held[id] {
		return 0
	}
	for _, o := range a.processes {
		if o.held[id] {
			n++
		}
	}
	return n
}

// catchUp lets tasks run where their state is, if it is not where they should be, and has them warmed up there.
func (a *board) catchUp(target []int) {
	var late []int
	for t, c := range target {
		if c < 0 || !a.tasks[t].Stateful {
			continue
		}
		most := int64(Unknown)
		for _, o := range a.all(t) {
			most = min(most, a.lag(a.consumers[o].process, t))
		}
		most = max(most, a.c.RecoveryLag)
		if a.lag(a.consumers[c].process, t) <= most {
			continue
		}
		late = append(late, t)
		a.put(t, a.stay(t, most))
	}
	slices.SortStableFunc(late, func(x, y int) int { // what is under way first
		return cmp.Compare(a.begun(x, target[x]), a.begun(y, target[y]))
	})
	for _, t := range late[:min(len(late), max(a.c.Warmups, 1))] {
		c := a.consumers[target[t]]
		if c.process == a.consumers[a.place[t]].process {
			continue
		}
		a.warm[t] = target[t]
		c.copies++
		a.processes[c.process].copies++
	}
}

func (a *board) begun(t, c int) int {
	if a.processes[a.consumers[c].process].held[a.tasks[t].ID] {
		return 0
	}
	return 1
}

// stay finds the consumer that works on a task until its own one has caught up.
func (a *board) stay(t int, most int64) int {
	var candidates []int
	for _, c := range a.all(t) {
		if a.lag(a.consumers[c].process, t) <= most {
			candidates = append(candidates, c)
		}
	}
	return a.least(candidates, func(c int) []int64 {
		moved := int64(1)
		if a.owner[t] == c {
			moved = 0
		}
		return []int64{moved, a.fresh(c, t), int64(a.consumers[c].load)}
	})
}

// result tells each member its part.
func (a *board) result(target []int) Result {
	r := Result{Shares: map[string]*Share{}, Short: a.short, Near: a.near}
	held := map[task.ID][]int{}
	for i, c := range a.consumers {
		r.Shares[c.ID] = &Share{}
		for _, id := range c.Active {
			held[id] = append(held[id], i)
		}
	}
	share := func(c int) *Share { return r.Shares[a.consumers[c].ID] }
	for t, c := range a.place {
		id := a.tasks[t].ID
		switch {
		case c < 0:
			r.Idle = append(r.Idle, id)
			continue
		case len(held[id]) == 0 || slices.Contains(held[id], c):
			share(c).Active = append(share(c).Active, id)
		default:
			share(c).Awaited = append(share(c).Awaited, id)
			r.FollowUp = true
			for _, o := range a.processes[a.consumers[c].process].consumers { // what it is made of must not go meanwhile
				if slices.Contains(a.consumers[o].Standby, id) && !slices.Contains(a.consumers[o].Active, id) {
					share(o).Standby = append(share(o).Standby, id)
					break
				}
			}
		}
		if target[t] != c {
			r.Probing = true
		}
		if w := a.warm[t]; w >= 0 {
			share(w).Warmup = append(share(w).Warmup, id)
		}
		for _, s := range a.standby[t] {
			share(s).Standby = append(share(s).Standby, id)
		}
	}
	return r
}
