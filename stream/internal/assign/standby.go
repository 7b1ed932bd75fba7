package assign

import "slices"

// standbys finds places for the copies of stateful tasks: first their processes, then the consumers there.
func (a *board) standbys() {
	if a.c.Standbys <= 0 {
		return
	}
	total := 0
	for t := range a.tasks {
		if a.wants(t) {
			total += min(a.c.Standbys, len(a.processes)-1)
		}
	}
	count := make([]int, len(a.processes))
	for t := range a.tasks {
		if !a.wants(t) {
			continue
		}
		for range a.c.Standbys {
			if p := a.copyTo(t, total, count); p >= 0 {
				a.copies[t] = append(a.copies[t], p)
				count[p]++
			} else {
				a.short++
			}
		}
	}
	for p := range a.processes {
		a.seatCopies(p, count[p])
	}
}

func (a *board) wants(t int) bool { return a.tasks[t].Stateful && a.place[t] >= 0 }

// copyTo chooses the process for one more copy of a task: elsewhere in the sense of the rack tags, then one that is not full,
// then one that has the copy already or is least behind.
func (a *board) copyTo(t, total int, count []int) int {
	taken := append([]int{a.consumers[a.place[t]].process}, a.copies[t]...)
	var candidates []int
	for p := range a.processes {
		warming := a.warm[t] >= 0 && a.consumers[a.warm[t]].process == p
		if !warming && !slices.Contains(taken, p) && len(a.ableIn(p, t)) > 0 {
			candidates = append(candidates, p)
		}
	}
	best := a.least(candidates, func(p int) []int64 {
		o := a.processes[p]
		full, fresh := int64(0), int64(1)
		if quota := (total*len(o.consumers) + len(a.consumers) - 1) / len(a.consumers); count[p] >= quota {
			full = 1
		}
		if o.held[a.tasks[t].ID] {
			fresh = 0
		}
		return []int64{int64(a.clashes(p, taken)), full, fresh, a.lag(p, t), int64((o.load + o.copies + count[p]) * 1000 / len(o.consumers))}
	})
	if best >= 0 && a.clashes(best, taken) > 0 {
		a.near++
	}
	return best
}

func (a *board) ableIn(p, t int) (out []int) {
	for _, c := range a.processes[p].consumers {
		if a.able(c, t) {
			out = append(out, c)
		}
	}
	return out
}

// clashes counts the rack tags that a process has in common with those that hold a copy already.
func (a *board) clashes(p int, taken []int) (n int) {
	for _, tag := range a.c.RackAware {
		for _, o := range taken {
			v, ok := a.processes[p].tags[tag]
			if w, also := a.processes[o].tags[tag]; ok && also && v == w {
				n++
			}
		}
	}
	return n
}

// seatCopies shares the copies of a process among its consumers; who had one keeps it as far as that is fair.
func (a *board) seatCopies(p, n int) {
	o := a.processes[p]
	fair := (n + len(o.consumers) - 1) / len(o.consumers)
	seats := map[int]int{}
	for t := range a.tasks {
		if !slices.Contains(a.copies[t], p) {
			continue
		}
		id := a.tasks[t].ID
		c := a.least(a.ableIn(p, t), func(c int) []int64 {
			full, fresh := int64(0), int64(1)
			if seats[c] >= fair {
				full = 1
			}
			if m := a.consumers[c]; slices.Contains(m.Standby, id) || slices.Contains(m.Active, id) {
				fresh = 0
			}
			return []int64{full, fresh, int64(a.consumers[c].load + a.consumers[c].copies + seats[c])}
		})
		seats[c]++
		a.standby[t] = append(a.standby[t], c)
	}
}
