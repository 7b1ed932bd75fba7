package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/bench/internal/work"
)

type runner struct {
	selection
	peers    string
	file     string
	results  string
	stateDir string
	times    int
	threads  int
	timeout  time.Duration
	note     string
	keep     bool
	adm      *kadm.Client
	cl       *kgo.Client
}

func runMain(argv []string) error {
	fs := flag.NewFlagSet("run", flag.ExitOnError)
	var r runner
	r.register(fs, "W1,W2")
	fs.StringVar(&r.peers, "peers", "raw", "names from the peers file, comma between, or all")
	fs.StringVar(&r.file, "peers-file", "peers.json", "peer definitions")
	fs.StringVar(&r.results, "results", "results/raw.jsonl", "file to append one JSON line per run to")
	fs.StringVar(&r.stateDir, "state", filepath.Join(os.TempDir(), "bench-state"), "parent of the peers' local state")
	fs.IntVar(&r.times, "n", 2, "runs of each peer on each workload")
	fs.IntVar(&r.threads, "threads", 1, "stream threads of a peer")
	fs.DurationVar(&r.timeout, "timeout", 5*time.Minute, "limit of one run")
	fs.StringVar(&r.note, "note", "", "text kept with each result")
	fs.BoolVar(&r.keep, "keep", false, "leave topics and state of each run, for bench verify or a closer look")
	_ = fs.Parse(argv) // ExitOnError
	return r.run(context.Background())
}

func (r *runner) run(ctx context.Context) error {
	chosen, err := r.chosen()
	if err != nil {
		return err
	}
	peers, err := readPeers(r.file, r.peers)
	if err != nil {
		return err
	}
	if r.cl, err = r.client(kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))); err != nil {
		return err
	}
	defer r.cl.Close()
	r.adm = kadm.NewClient(r.cl)
	var all []result
	for _, w := range chosen {
		if err := r.load(ctx, w); err != nil {
			return err
		}
		done, err := r.interleave(ctx, peers, w)
		if err != nil {
			return err
		}
		all = append(all, done...)
	}
	printTable(os.Stdout, all)
	if i := slices.IndexFunc(all, func(res result) bool { return !res.Verified }); i >= 0 {
		return fmt.Errorf("not every result is exact, first: %s on %s", all[i].Peer, all[i].Workload)
	}
	return nil
}

// interleave runs each peer once, then each once more, r.times times in all: what disturbs the machine for a while then
// disturbs all of them. A peer that failed is not run again.
func (r *runner) interleave(ctx context.Context, peers []peerSpec, w work.Workload) ([]result, error) {
	var all []result
	failed := map[string]bool{}
	for range r.times {
		for _, p := range peers {
			if failed[p.Name] || !slices.Contains(p.Workloads, w.Name) {
				continue
			}
			res := r.single(ctx, p, w)
			failed[p.Name] = !res.Verified
			all = append(all, res)
			fmt.Fprintln(os.Stderr, res.short())
			if err := appendLine(r.results, res); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// single runs one peer on one workload.
func (r *runner) single(ctx context.Context, p peerSpec, w work.Workload) result {
	id := fmt.Sprintf("b-%s-%s-%d", p.Name, w.Name, time.Now().UnixMilli())
	defer r.clean(ctx, id)
	if w.Name == "W6" {
		return r.restore(ctx, p, w, id)
	}
	res, o, err := r.once(ctx, p, w, id, nil)
	if err == nil {
		res.Outputs, err = r.verify(ctx, id+"-out", nil, work.NewChecker(w))
	}
	return res.finish(o, w, err)
}

// restore builds the state, then has it restored: local state is removed, a few known keys are sent again, and their
// counts prove that the whole changelog came back.
func (r *runner) restore(ctx context.Context, p peerSpec, w work.Workload, id string) result {
	unique := w.Inputs[0]
	build := w
	build.Name, build.Until = "W2", unique.N
	topic := id + "-in" // not shared: the probes stay in it
	if err := r.fillAs(ctx, unique, topic); err != nil {
		return result{}.failed(p, w, err)
	}
	if _, _, err := r.once(ctx, p, build, id, []string{topic}); err != nil {
		return result{}.failed(p, w, fmt.Errorf("build the state: %w", err))
	}
	from, err := r.adm.ListEndOffsets(ctx, id+"-out")
	if err == nil {
		err = errors.Join(os.RemoveAll(filepath.Join(r.stateDir, id)), r.probe(ctx, unique, topic))
	}
	if err != nil {
		return result{}.failed(p, w, err)
	}
	probes := w
	probes.Until = work.Probes
	res, o, err := r.once(ctx, p, probes, id, []string{topic})
	if err == nil {
		res.Outputs, err = r.verify(ctx, id+"-out", from, work.NewProbeCheck(unique, 1))
	}
	w.Until = unique.N // rates count restored records
	return res.finish(o, w, err)
}

// once runs the peer process with the contract's flags. in replaces the workload's own input topics.
func (r *runner) once(ctx context.Context, p peerSpec, w work.Workload, id string, in []string) (result, observed, error) {
	res := newResult(p, w, r)
	if in == nil {
		for _, t := range w.Inputs {
			in = append(in, t.Name())
		}
	}
	out := id + "-out"
	if err := createTopic(ctx, r.adm, out); err != nil {
		return res, observed{}, err
	}
	state := filepath.Join(r.stateDir, id)
	if err := os.MkdirAll(state, 0o755); err != nil {
		return res, observed{}, err
	}
	var argv []string
	for _, word := range p.Command {
		argv = append(argv, os.ExpandEnv(word))
	}
	argv = append(argv, "-workload", w.Name, "-brokers", r.brokers, "-app-id", id,
		"-in", strings.Join(in, ","), "-out", out, "-threads", strconv.Itoa(r.threads),
		"-guarantee", w.Guarantee, "-store", p.Store, "-until", strconv.Itoa(w.Until))
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "BENCH_STATE_DIR="+state)
	o, err := observe(ctx, r.adm, cmd, out)
	return res, o, err
}

func (r *runner) fillAs(ctx context.Context, t work.Topic, name string) error {
	if err := createTopic(ctx, r.adm, name); err != nil {
		return err
	}
	return r.produce(ctx, name, t.N, func(i int) *kgo.Record { return record(t, i) })
}

// probe sends work.Probes known keys once more.
func (r *runner) probe(ctx context.Context, t work.Topic, name string) error {
	return r.produce(ctx, name, work.Probes, func(i int) *kgo.Record { return record(t, work.ProbeRecord(t, i)) })
}

func record(t work.Topic, i int) *kgo.Record {
	key, value, ms := t.Record(i)
	return &kgo.Record{Key: key, Value: value, Timestamp: time.UnixMilli(ms)}
}

func (r *runner) produce(ctx context.Context, topic string, n int, next func(int) *kgo.Record) error {
	var failed error
	for i := range n {
		rec := next(i)
		rec.Topic = topic
		r.cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err // callbacks run one after the other; read after Flush
			}
		})
	}
	return errors.Join(r.cl.Flush(ctx), failed)
}

// clean removes the topics, the group and the local state of one run.
func (r *runner) clean(ctx context.Context, id string) {
	if r.keep {
		fmt.Fprintf(os.Stderr, "kept %s-out\n", id)
		return
	}
	topics, err := r.adm.ListTopics(ctx)
	if err == nil {
		var mine []string
		for _, name := range topics.Names() {
			if strings.HasPrefix(name, id+"-") {
				mine = append(mine, name)
			}
		}
		_, err = r.adm.DeleteTopics(ctx, mine...)
	}
	_, groupErr := r.adm.DeleteGroup(ctx, id)
	if errors.Is(groupErr, kerr.GroupIDNotFound) {
		groupErr = nil // the peer died before it joined
	}
	if err := errors.Join(err, groupErr, os.RemoveAll(filepath.Join(r.stateDir, id))); err != nil {
		fmt.Fprintln(os.Stderr, "bench: clean:", err)
	}
}

func appendLine(file string, res result) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	line, err := json.Marshal(res)
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	return errors.Join(err, f.Close())
}
