package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// A figure is what a target is about.
type figure struct {
	name string
	of   func(result) float64
}

var (
	cpu    = figure{"CPU-s/M steady", func(r result) float64 { return r.CPUMid }}
	rate   = figure{"rec/s", func(r result) float64 { return r.RateTotal }}
	memory = figure{"peak MiB", func(r result) float64 { return r.RSSMiB }}
)

// A target compares a median of ours with a peer's, or with a fixed limit where there is no peer.
type target struct {
	workload, ours string
	figure         figure
	least          bool // the quotient is to be at least the limit, not at most
	limit          float64
	against        [2]string // workload and peer
}

// targets are what the library is to reach; see README.md.
var targets = []target{
	{workload: "W1", ours: "millrun-mem", figure: cpu, limit: 1.2, against: [2]string{"W1", "raw"}},
	{workload: "W2", ours: "millrun-mem", figure: cpu, limit: 0.6, against: [2]string{"W2", "ks-mem"}},
	{workload: "W3", ours: "millrun-mem", figure: cpu, limit: 0.6, against: [2]string{"W3", "ks-mem"}},
	{workload: "W4", ours: "millrun-mem", figure: cpu, limit: 0.6, against: [2]string{"W4", "ks-mem"}},
	{workload: "W2", ours: "millrun-disk", figure: cpu, limit: 0.6, against: [2]string{"W2", "ks-disk"}},
	{workload: "W7", ours: "millrun-disk", figure: cpu, limit: 0.6, against: [2]string{"W7", "ks-disk"}},
	{workload: "W5", ours: "millrun-mem", figure: cpu, limit: 1.2, against: [2]string{"W2", "millrun-mem"}},
	{workload: "W6", ours: "millrun-mem", figure: rate, least: true, limit: 1.5, against: [2]string{"W6", "ks-mem"}},
	{workload: "W6", ours: "millrun-disk", figure: rate, least: true, limit: 1.5, against: [2]string{"W6", "ks-disk"}},
	{workload: "W2", ours: "millrun-mem", figure: memory, limit: 250},
}

func targetsMain(argv []string) error {
	fs := flag.NewFlagSet("targets", flag.ExitOnError)
	file := fs.String("results", "results/raw.jsonl", "results file")
	_ = fs.Parse(argv) // ExitOnError
	all, err := readResults(*file)
	if err != nil {
		return err
	}
	printTargets(os.Stdout, all)
	return nil
}

// printTargets writes each target beside the medians of the exact runs of one thread. What was not run is said.
func printTargets(to io.Writer, all []result) {
	w := tabwriter.NewWriter(to, 0, 0, 1, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "| target\t| ours\t| theirs\t| quotient\t| reached\t|")
	fmt.Fprintln(w, "| ---\t| ---\t| ---\t| ---\t| ---\t|")
	for _, t := range targets {
		sign := "≤"
		if t.least {
			sign = "≥"
		}
		text := fmt.Sprintf("%s %s %s %s %g", t.workload, t.ours, t.figure.name, sign, t.limit)
		ours, ok := medianOf(all, t.workload, t.ours, t.figure)
		theirs, ok2 := 1.0, true
		if t.against[1] != "" {
			text += fmt.Sprintf(" × %s %s", t.against[0], t.against[1])
			theirs, ok2 = medianOf(all, t.against[0], t.against[1], t.figure)
		}
		if !ok || !ok2 {
			fmt.Fprintf(w, "| %s\t| \t| \t| \t| not measured\t|\n", text)
			continue
		}
		reached := "no"
		if q := ours / theirs; q <= t.limit && !t.least || q >= t.limit && t.least {
			reached = "yes"
		}
		fmt.Fprintf(w, "| %s\t| %.2f\t| %.2f\t| %.2f\t| %s\t|\n", text, ours, theirs, ours/theirs, reached)
	}
}

// medianOf is the median of a figure over the exact runs with one thread.
func medianOf(all []result, workload, peer string, f figure) (float64, bool) {
	var v []float64
	for _, r := range all {
		if r.Workload == workload && r.Peer == peer && r.Threads == 1 && r.Verified {
			v = append(v, f.of(r))
		}
	}
	if len(v) == 0 {
		return 0, false
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, true
}
