package crash

import "time"

// Kind is a kind of fault.
type Kind string

// The kinds of fault.
const (
	Kill    Kind = "kill"    // SIGKILL of workers, started again soon
	Stop    Kind = "stop"    // SIGSTOP of a worker, SIGCONT after a while
	Restart Kind = "restart" // SIGTERM of a worker, started again at once
	Crash   Kind = "crash"   // kill -9 of the broker, started again
	Bounce  Kind = "bounce"  // SIGTERM of the broker, started again
	Cut     Kind = "cut"     // all connections of a worker are closed at once
	Stall   Kind = "stall"   // no byte of a worker passes for a while, then all its connections are closed
)

// fault is one step of the schedule.
type fault struct {
	kind    Kind
	victims []int         // workers
	length  time.Duration // of a stop or stall; how long a killed process stays away
	gap     time.Duration // before it
}

// schedule is what the seed decides.
func schedule(o *Options) []fault {
	d := newDice(o.Seed, "faults")
	var all []fault
	for left := o.Kills; left > 0; {
		n := min(left, 1+[]int{0, 0, 0, 1, 1, o.Workers - 1}[d.number(6)], o.Workers)
		all = append(all, fault{kind: Kill, victims: d.perm(o.Workers)[:n], length: d.between(0, 2*time.Second)})
		left -= n
	}
	one := func() []int { return []int{d.number(o.Workers)} }
	for range o.Stops {
		all = append(all, fault{kind: Stop, victims: one(), length: d.between(o.StopMin, o.StopMax)})
	}
	for i := range o.Bounces {
		all = append(all, fault{kind: []Kind{Crash, Bounce}[i%2], length: d.between(0, 3*time.Second)})
	}
	// Without transactions, a network that stands still for longer than a session lets a process write older counts over newer ones
	// when it comes back: no broker fences it (docs/track-record.md).
	longest := 15 * time.Second
	if o.Guarantee != ExactlyOnce {
		longest = min(longest, o.Session*2/3)
	}
	for i := range o.Cuts {
		all = append(all, fault{kind: []Kind{Cut, Stall}[i%2], victims: one(), length: d.between(time.Second, longest)})
	}
	for range o.Restarts {
		all = append(all, fault{kind: Restart, victims: one()})
	}
	mixed := make([]fault, 0, len(all))
	for _, i := range d.perm(len(all)) {
		f := all[i]
		f.gap = d.between(0, 2*time.Second)
		mixed = append(mixed, f)
	}
	return mixed
}
