package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sort"
	"text/tabwriter"
	"time"

	"github.com/millrun/millrun/bench/internal/work"
)

// A result is one run, as kept in the results file.
type result struct {
	Time      time.Time      `json:"time"`
	Peer      string         `json:"peer"`
	Workload  string         `json:"workload"`
	Guarantee string         `json:"guarantee"`
	Store     string         `json:"store"`
	Threads   int            `json:"threads"`
	Records   int            `json:"records"`
	Outputs   int            `json:"outputs"`
	WallS     float64        `json:"wall_s"`
	RateTotal float64        `json:"rec_per_s_total"`
	RateMid   float64        `json:"rec_per_s_steady"`
	CPUS      float64        `json:"cpu_s"`
	CPUPerM   float64        `json:"cpu_s_per_m"`
	CPUMid    float64        `json:"cpu_s_per_m_steady"`
	RestCPUS  float64        `json:"rest_cpu_s"`
	RSSMiB    float64        `json:"rss_mib"`
	Verified  bool           `json:"verified"`
	Fault     string         `json:"fault,omitempty"`
	Note      string         `json:"note,omitempty"`
	Reported  map[string]any `json:"reported,omitempty"`
}

func newResult(p peerSpec, w work.Workload, r *runner) result {
	return result{Time: time.Now().UTC().Truncate(time.Second), Peer: p.Name, Workload: w.Name, Guarantee: w.Guarantee,
		Store: p.Store, Threads: r.threads, Note: r.note}
}

func (res result) failed(p peerSpec, w work.Workload, err error) result {
	res.Time, res.Peer, res.Workload, res.Fault = time.Now().UTC().Truncate(time.Second), p.Name, w.Name, err.Error()
	return res
}

// finish derives the figures of a run. The steady part lies between 20 % and 90 % of all outputs.
func (res result) finish(o observed, w work.Workload, err error) result {
	res.Records, res.Verified = w.Until, err == nil
	if err != nil {
		res.Fault = err.Error()
	}
	m := float64(w.Until) / 1e6
	res.WallS, res.CPUS, res.RSSMiB, res.Reported = o.wall.Seconds(), o.cpu, o.rssMiB, o.line
	res.CPUPerM, res.RestCPUS = o.cpu/m, o.rest
	if o.wall > 0 {
		res.RateTotal = float64(w.Until) / o.wall.Seconds()
	}
	begin, cpuBegin, ok1 := o.reach(0.2)
	end, cpuEnd, ok2 := o.reach(0.9)
	if w.Name != "W6" && ok1 && ok2 && end > begin {
		res.RateMid = 0.7 * float64(w.Until) / (end - begin).Seconds()
		res.CPUMid = (cpuEnd - cpuBegin) / (0.7 * m)
	}
	return res
}

func (res result) short() string {
	s := fmt.Sprintf("%s %s: %.0f rec/s, steady %.0f, %.2f CPU-s/M, steady %.2f, %.0f MiB, exact %v",
		res.Peer, res.Workload, res.RateTotal, res.RateMid, res.CPUPerM, res.CPUMid, res.RSSMiB, res.Verified)
	if res.Fault != "" {
		s += ": " + res.Fault
	}
	return s
}

func tableMain(argv []string) error {
	fs := flag.NewFlagSet("table", flag.ExitOnError)
	file := fs.String("results", "results/raw.jsonl", "results file")
	_ = fs.Parse(argv) // ExitOnError
	all, err := readResults(*file)
	if err != nil {
		return err
	}
	printTable(os.Stdout, all)
	return nil
}

// readResults reads a results file.
func readResults(file string) ([]result, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []result
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var res result
		if err := json.Unmarshal(lines.Bytes(), &res); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, res)
	}
	return all, lines.Err()
}

// printTable writes the median of each peer on each workload.
func printTable(to io.Writer, all []result) {
	groups := make(map[[3]string][]result)
	for _, res := range all {
		peer := res.Peer
		if res.Threads > 1 {
			peer += fmt.Sprintf(" ×%d threads", res.Threads)
		}
		k := [3]string{res.Workload, peer, fmt.Sprintf("%.1fM", float64(res.Records)/1e6)}
		groups[k] = append(groups[k], res)
	}
	order := slices.SortedFunc(maps.Keys(groups), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) })
	w := tabwriter.NewWriter(to, 0, 0, 1, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "| workload\t| peer\t| records\t| runs\t| rec/s total\t| rec/s steady\t| CPU-s/M\t| CPU-s/M steady\t| peak MiB\t| outputs\t| exact\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, k := range order {
		runs := groups[k]
		mid := func(f func(result) float64) float64 {
			var v []float64
			for _, res := range runs {
				v = append(v, f(res))
			}
			sort.Float64s(v)
			return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
		}
		exact := "yes"
		for _, res := range runs {
			if !res.Verified {
				exact = "NO"
			}
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %d\t| %.0f\t| %s\t| %.2f\t| %s\t| %.0f\t| %.0f\t| %s\t|\n", k[0], k[1], k[2], len(runs),
			mid(func(r result) float64 { return r.RateTotal }),
			orDash("%.0f", mid(func(r result) float64 { return r.RateMid })),
			mid(func(r result) float64 { return r.CPUPerM }),
			orDash("%.2f", mid(func(r result) float64 { return r.CPUMid })),
			mid(func(r result) float64 { return r.RSSMiB }),
			mid(func(r result) float64 { return float64(r.Outputs) }), exact)
	}
}

func orDash(format string, v float64) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf(format, v)
}
