package crash

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// Outcome is a fault and how the workers bore it.
type Outcome struct {
	Number  int   `json:"number"`
	Kind    Kind  `json:"kind"`
	Victims []int `json:"victims,omitempty"`
	// Length is how long the victims were away, or the network, or the broker.
	Length time.Duration `json:"length"`
	// Before is how many records had come out since the fault before was over.
	Before int64 `json:"before"`
	// During is how many came out while the victims were away and until the recovery.
	During int64 `json:"during"`
	// Allows says whether the fault lets anything go on: somebody was left, for long enough to take over.
	Allows bool `json:"allows"`
	// Recovery is the time from the fault until the output was at full coverage again.
	Recovery time.Duration `json:"recovery"`
	// Return is the same from the moment on at which a stopped process goes on. 0: not a stop.
	Return time.Duration `json:"return,omitempty"`
	// Hanging is how many markers of transactions the broker had lost, and the rig wrote in its place.
	Hanging int `json:"hanging,omitempty"`
	// Silence is the longest time in which no ordinary record came out.
	Silence time.Duration `json:"silence"`
}

// leastBefore is how many records must come out between two faults: a run in which nothing goes on would show nothing.
const leastBefore = 300

// inject waits for progress, does what the schedule says and waits for the recovery.
func (r *rig) inject(ctx context.Context, number int, f fault) (Outcome, error) {
	out := Outcome{Number: number, Kind: f.kind, Victims: f.victims}
	from := r.watch.output()
	if err := r.progress(ctx, from+leastBefore); err != nil {
		return out, fmt.Errorf("crash: too little progress before fault %d (%s): %w", number, f.kind, err)
	}
	if err := pause(ctx, f.gap); err != nil {
		return out, err
	}
	r.watch.quiet()
	start, at := time.Now(), r.watch.output()
	out.Before = at - from
	w, err := r.strike(ctx, f)
	if err != nil {
		return out, fmt.Errorf("crash: fault %d (%s): %w", number, f.kind, err)
	}
	out.Length, out.During = time.Since(start), r.watch.output()-at
	if out.Hanging, err = r.awaitRecovery(ctx, f, w); err != nil {
		return out, fmt.Errorf("crash: no recovery from fault %d (%s of %v at %s): %w", number, f.kind, f.victims, start.Format(time.TimeOnly), err)
	}
	out.Recovery = w.at().Sub(start)
	if f.kind == Stop {
		back := start.Add(out.Length)
		again := r.mark(ctx)
		if err := r.through(ctx, again); err != nil {
			return out, fmt.Errorf("crash: no recovery from the return of a stopped process (fault %d, %v, at %s): %w", number, f.victims, back.Format(time.TimeOnly), err)
		}
		out.Return = again.at().Sub(back)
	} else {
		out.During = r.watch.output() - at
	}
	out.Silence = r.watch.quiet()
	return out, r.judgeProgress(f, &out)
}

// awaitRecovery waits for a marker to come through. After a kill of the broker it writes what that has lost of transactions.
func (r *rig) awaitRecovery(ctx context.Context, f fault, w *wait) (hanging int, err error) {
	if f.kind != Crash || r.o.Guarantee != ExactlyOnce {
		return 0, r.through(ctx, w)
	}
	if r.mender == nil {
		if r.mender, err = newMender(r.server.Addr()); err != nil {
			return 0, err
		}
	}
	mending, stop := context.WithCancel(ctx)
	var lost error
	var beside sync.WaitGroup
	beside.Go(func() { hanging, lost = r.mender.keep(mending) })
	err = r.through(ctx, w)
	stop()
	beside.Wait()
	if err != nil {
		err = errors.Join(err, lost)
	}
	return hanging, err
}

// judgeProgress fails a fault during which the others should have gone on, and have not.
func (r *rig) judgeProgress(f fault, out *Outcome) error {
	switch f.kind {
	case Crash, Bounce:
		return nil // there is nobody to write to
	case Stop: // time for the group to give the stopped up, for its transaction to be aborted, and for restoring
		out.Allows = len(f.victims) < r.o.Workers && out.Length > r.o.Session+r.o.TransactionTimeout+15*time.Second
	default:
		out.Allows = len(f.victims) < r.o.Workers
	}
	if out.Allows && out.During == 0 {
		return fmt.Errorf("crash: no progress during fault %d (%s of %v, for %s), though others were left", out.Number, f.kind, f.victims, out.Length)
	}
	return nil
}

// strike does a fault from its beginning to its end. The marker is written right after the beginning.
func (r *rig) strike(ctx context.Context, f fault) (*wait, error) {
	switch f.kind {
	case Kill:
		return r.strikeKill(ctx, f)
	case Stop:
		return r.strikeStop(ctx, f)
	case Restart:
		w := r.mark(ctx)
		if err := r.fleet.stop(ctx, f.victims[0], r.o.Patience); err != nil {
			return nil, err
		}
		return w, r.fleet.start(f.victims[0])
	case Crash, Bounce:
		return r.strikeBroker(ctx, f)
	default:
		return r.strikeNetwork(ctx, f)
	}
}

func (r *rig) strikeKill(ctx context.Context, f fault) (*wait, error) {
	for _, i := range f.victims {
		if err := r.fleet.kill(i); err != nil {
			return nil, err
		}
	}
	w := r.mark(ctx)
	if err := pause(ctx, f.length); err != nil {
		return nil, err
	}
	for _, i := range f.victims {
		if err := r.fleet.start(i); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (r *rig) strikeStop(ctx context.Context, f fault) (*wait, error) {
	if err := r.fleet.signal(f.victims[0], syscall.SIGSTOP); err != nil {
		return nil, err
	}
	w := r.mark(ctx)
	if err := pause(ctx, f.length); err != nil {
		return nil, err
	}
	return w, r.fleet.signal(f.victims[0], syscall.SIGCONT)
}

func (r *rig) strikeBroker(ctx context.Context, f fault) (*wait, error) {
	if f.kind == Crash {
		if err := r.server.Kill(); err != nil {
			return nil, err
		}
	} else if err := r.stopServer(ctx); err != nil {
		return nil, err
	}
	w := r.mark(ctx)
	if err := pause(ctx, f.length); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Patience)
	defer cancel()
	return w, r.server.Start(ctx)
}

func (r *rig) strikeNetwork(ctx context.Context, f fault) (*wait, error) {
	p := r.proxies[f.victims[0]]
	if f.kind == Cut {
		p.cut()
		return r.mark(ctx), nil
	}
	p.stall()
	defer p.resume()
	w := r.mark(ctx)
	return w, pause(ctx, f.length)
}

// pause lets time pass.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
