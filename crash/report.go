package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report is what a run has shown.
type Report struct {
	Command   string        `json:"command"`
	Guarantee string        `json:"guarantee"`
	Protocol  string        `json:"protocol"`
	Store     string        `json:"store"`
	Seed      uint64        `json:"seed"`
	Elapsed   time.Duration `json:"elapsed"`
	// Faults are those that were injected, in their order.
	Faults []Outcome `json:"faults"`
	// Deserters are workers that ended by themselves.
	Deserters []string `json:"deserters"`
	// Verdict is the checker's, nil when it was not asked.
	Verdict *Verdict `json:"verdict"`
}

func newReport(o *Options) *Report {
	return &Report{Command: o.Command(), Guarantee: o.Guarantee, Protocol: o.Protocol, Store: o.Store, Seed: o.Seed, Deserters: []string{}}
}

// Fault is why the run has failed, nil if it has not.
func (r *Report) Fault() error {
	var errs []error
	if v := r.Verdict; v == nil {
		errs = append(errs, errors.New("crash: the checker was not asked"))
	} else if v.Lost+v.Doubled+v.Strange > 0 {
		errs = append(errs, fmt.Errorf("crash: %d lost, %d doubled, %d strange:\n%s", v.Lost, v.Doubled, v.Strange, strings.Join(v.Complaints, "\n")))
	}
	if len(r.Deserters) > 0 {
		errs = append(errs, fmt.Errorf("crash: workers ended by themselves:\n%s", strings.Join(r.Deserters, "\n")))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w\nrepeat by: %s", err, r.Command)
	}
	return nil
}

// count is how many processes were struck by the kinds.
func (r *Report) count(kinds ...Kind) (n int) {
	for _, f := range r.Faults {
		if slices.Contains(kinds, f.Kind) {
			n += max(1, len(f.Victims))
		}
	}
	return n
}

// of are a figure of the faults of some kinds, sorted.
func (r *Report) of(figure func(Outcome) time.Duration, kinds ...Kind) (all []time.Duration) {
	for _, f := range r.Faults {
		if d := figure(f); slices.Contains(kinds, f.Kind) && d > 0 {
			all = append(all, d)
		}
	}
	slices.Sort(all)
	return all
}

// quantile is the smallest of sorted figures that a share q of them does not exceed, 0 if there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(float64(len(sorted))*q+0.999999) - 1
	return sorted[max(0, min(i, len(sorted)-1))]
}

func recovery(o Outcome) time.Duration { return o.Recovery }
func silence(o Outcome) time.Duration  { return o.Silence }
func homeward(o Outcome) time.Duration { return o.Return }

// Kinds are all kinds, as the table has them.
func Kinds() []Kind { return []Kind{Kill, Stop, Restart, Crash, Bounce, Cut, Stall} }

// hanging is how many markers the broker had lost.
func (r *Report) hanging() (n int) {
	for _, f := range r.Faults {
		n += f.Hanging
	}
	return n
}

// Table writes the report for people.
func (r *Report) Table(w io.Writer) {
	fmt.Fprintf(w, "%s, %s, %s stores, seed %d, %s\n", r.Guarantee, r.Protocol, r.Store, r.Seed, r.Elapsed.Round(time.Second))
	fmt.Fprintf(w, "%-8s %5s %9s %9s %9s %9s %9s %14s\n", "fault", "times", "p50", "p99", "return50", "return99", "silence99", "during, least")
	for _, k := range Kinds() {
		if r.count(k) > 0 {
			r.row(w, string(k), k)
		}
	}
	r.row(w, "all", Kinds()...)
	if n := r.hanging(); n > 0 {
		fmt.Fprintf(w, "%d markers of transactions that the broker had lost when it was killed were written in its place, as it had decided\n", n)
	}
	if v := r.Verdict; v != nil {
		fmt.Fprintf(w, "%d records in: %d lost, %d doubled, %d strange; workers that ended by themselves: %d\n", v.Left+v.Right, v.Lost, v.Doubled, v.Strange, len(r.Deserters))
		for _, t := range []struct {
			name string
			Tally
		}{{"counts", v.Counts}, {"windows", v.Windows}, {"joined", v.Joined}} {
			fmt.Fprintf(w, "  %-8s %8d expected, %8d out, %d of them again, excess %.3f %%, fell back %d times\n", t.name, t.Expected, t.Records, t.again(), t.Excess, t.Fell)
		}
	}
}

func (r *Report) row(w io.Writer, name string, kinds ...Kind) {
	rec, back, still := r.of(recovery, kinds...), r.of(homeward, kinds...), r.of(silence, kinds...)
	least := int64(-1)
	for _, f := range r.Faults {
		if slices.Contains(kinds, f.Kind) && f.Allows && (least < 0 || f.During < least) {
			least = f.During
		}
	}
	during := "-"
	if least >= 0 {
		during = fmt.Sprint(least)
	}
	fmt.Fprintf(w, "%-8s %5d %9s %9s %9s %9s %9s %14s\n", name, r.count(kinds...), short(quantile(rec, 0.5)), short(quantile(rec, 0.99)),
		short(quantile(back, 0.5)), short(quantile(back, 0.99)), short(quantile(still, 0.99)), during)
}

// line is the report as one line of JSON.
type line struct {
	*Report

	Kills   int           `json:"kills"`
	Stops   int           `json:"stops"`
	Bounces int           `json:"bounces"`
	Cuts    int           `json:"cuts"`
	P50     time.Duration `json:"recovery_p50"`
	P99     time.Duration `json:"recovery_p99"`
}

// JSON writes the report as one line; durations are nanoseconds.
func (r *Report) JSON(w io.Writer) error {
	all := r.of(recovery, Kinds()...)
	return json.NewEncoder(w).Encode(line{Report: r, Kills: r.count(Kill), Stops: r.count(Stop), Bounces: r.count(Crash, Bounce),
		Cuts: r.count(Cut, Stall), P50: quantile(all, 0.5), P99: quantile(all, 0.99)})
}
