package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/bench/internal/work"
)

// selection are the flags that load, run and verify share.
type selection struct {
	brokers   string
	workloads string
	seed      uint64
	scale     float64
}

func (s *selection) register(fs *flag.FlagSet, workloads string) {
	fs.StringVar(&s.brokers, "brokers", "127.0.0.1:29092", "bootstrap addresses, comma between")
	fs.StringVar(&s.workloads, "workloads", workloads, "workloads, comma between")
	fs.Uint64Var(&s.seed, "seed", 1, "seed of the generated data")
	fs.Float64Var(&s.scale, "scale", 1, "factor on every record count; below 1 for a quick try")
}

func (s *selection) chosen() ([]work.Workload, error) {
	var out []work.Workload
	all := work.Workloads(work.Gen{Seed: s.seed}, s.scale)
	for _, name := range strings.Split(s.workloads, ",") {
		i := slices.IndexFunc(all, func(w work.Workload) bool { return w.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no workload %q", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}

func (s *selection) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(strings.Split(s.brokers, ",")...))...)
}

func loadMain(argv []string) error {
	fs := flag.NewFlagSet("load", flag.ExitOnError)
	var s selection
	s.register(fs, "W1,W2,W3,W4,W5,W6,W7")
	_ = fs.Parse(argv) // ExitOnError
	chosen, err := s.chosen()
	if err != nil {
		return err
	}
	for _, w := range chosen {
		if err := s.load(context.Background(), w); err != nil {
			return err
		}
	}
	return nil
}

// load fills those of w's inputs that are not filled yet. W6 makes an input of its own for each series of runs.
func (s *selection) load(ctx context.Context, w work.Workload) error {
	if w.Name == "W6" {
		return nil
	}
	cl, err := s.client(kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(200_000),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))) // nil is Kafka's murmur2
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, t := range w.Inputs {
		if err := fill(ctx, cl, t); err != nil {
			return fmt.Errorf("load %s: %w", t.Name(), err)
		}
	}
	return nil
}

func fill(ctx context.Context, cl *kgo.Client, t work.Topic) error {
	adm := kadm.NewClient(cl)
	if err := createTopic(ctx, adm, t.Name()); err != nil {
		return err
	}
	have, err := endOffset(ctx, adm, t.Name())
	if err != nil || have >= int64(t.N) {
		return err
	}
	if have > 0 {
		return fmt.Errorf("holds %d of %d records; delete the topic", have, t.N)
	}
	began := time.Now()
	var failed error
	for i := range t.N {
		key, value, ms := t.Record(i)
		rec := &kgo.Record{Topic: t.Name(), Key: key, Value: value, Timestamp: time.UnixMilli(ms)}
		cl.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err // callbacks run one after the other; read after Flush
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	fmt.Printf("loaded %s: %d records in %.1f s\n", t.Name(), t.N, time.Since(began).Seconds())
	return failed
}

// createTopic returns when the topic is there and every partition has a leader.
func createTopic(ctx context.Context, adm *kadm.Client, name string) error {
	_, err := adm.CreateTopic(ctx, work.Partitions, 1, nil, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	for range 100 {
		if _, err = endOffset(ctx, adm, name); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond) // a topic made a moment ago has no leader yet
	}
	return err
}

// endOffset is the sum over all partitions.
func endOffset(ctx context.Context, adm *kadm.Client, topic string) (int64, error) {
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	ends.Each(func(o kadm.ListedOffset) { sum += max(o.Offset, 0) })
	return sum, ends.Error()
}
