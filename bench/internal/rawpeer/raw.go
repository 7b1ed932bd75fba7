// Package rawpeer is the floor: the workload written by hand on franz-go, without any stream library. It holds its
// state in a map and has no recovery beyond what W6 asks for.
package rawpeer

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/bench/internal/peer"
)

const name = "raw"

// Main runs the peer with the contract's flags.
func Main(argv []string) {
	a := peer.Parse(name, argv)
	r := &runner{args: a, began: time.Now(), counts: make(map[string]uint64)}
	var err error
	switch {
	case a.Guarantee == "eos":
		err = r.transactional()
	default:
		err = r.plain()
	}
	if err != nil {
		peer.Fatal(err)
	}
	peer.Report(name, a, r.processed, r.began, r.restored)
}

type runner struct {
	args      peer.Args
	began     time.Time
	restored  time.Duration
	processed int64
	counts    map[string]uint64
	changelog string
	produce   func(*kgo.Record)
}

func (r *runner) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(r.args.Brokers...),
		kgo.ConsumerGroup(r.args.AppID),
		kgo.ConsumeTopics(r.args.In...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // as Java's default
		kgo.ProducerLinger(100 * time.Millisecond),        // as Kafka Streams' default
		kgo.MaxBufferedRecords(100_000),
	}
}

// step returns what the workload does with one record.
func (r *runner) step(ctx context.Context) (func(*kgo.Record), error) {
	switch r.args.Workload {
	case "W1":
		return r.mapEvent, nil
	case "W2", "W5", "W6":
		r.changelog = r.args.AppID + "-counts-changelog"
		return r.count, r.ensureChangelog(ctx)
	}
	return nil, fmt.Errorf("raw does not do %s", r.args.Workload)
}

type event struct {
	ID     int    `json:"id"`
	User   string `json:"user"`
	Team   string `json:"team"`
	Amount int    `json:"amount"`
}

type total struct {
	ID    int    `json:"id"`
	User  string `json:"user"`
	Total int    `json:"total"`
}

func (r *runner) mapEvent(in *kgo.Record) {
	var e event
	if err := json.Unmarshal(in.Value, &e); err != nil {
		peer.Fatal(err)
	}
	if e.Amount < 50 {
		return
	}
	value, err := json.Marshal(total{e.ID, e.User, 2 * e.Amount})
	if err != nil {
		peer.Fatal(err)
	}
	r.produce(&kgo.Record{Topic: r.args.Out, Key: in.Key, Value: value, Timestamp: in.Timestamp})
}

func (r *runner) count(in *kgo.Record) {
	n := r.counts[string(in.Key)] + 1
	r.counts[string(in.Key)] = n
	value := binary.BigEndian.AppendUint64(nil, n)
	r.produce(&kgo.Record{Topic: r.changelog, Key: in.Key, Value: value, Timestamp: in.Timestamp})
	r.produce(&kgo.Record{Topic: r.args.Out, Key: in.Key, Value: value, Timestamp: in.Timestamp})
}

func failed(_ *kgo.Record, err error) {
	if err != nil {
		peer.Fatal(err)
	}
}

// plain is at-least-once: flush, then commit, once per interval.
func (r *runner) plain() error {
	ctx := context.Background()
	step, err := r.step(ctx)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(r.options(), kgo.DisableAutoCommit())...)
	if err != nil {
		return err
	}
	defer cl.Close()
	r.produce = func(rec *kgo.Record) { cl.Produce(ctx, rec, failed) }
	commit := func() error {
		if err := cl.Flush(ctx); err != nil {
			return err
		}
		return cl.CommitUncommittedOffsets(ctx)
	}
	next := time.Now().Add(r.args.CommitEvery())
	for r.processed < r.args.Until {
		if err := r.poll(ctx, cl, step); err != nil {
			return err
		}
		if time.Now().After(next) {
			if err := commit(); err != nil {
				return err
			}
			next = time.Now().Add(r.args.CommitEvery())
		}
	}
	return commit()
}

// transactional is exactly-once: one transaction per interval.
func (r *runner) transactional() error {
	ctx := context.Background()
	step, err := r.step(ctx)
	if err != nil {
		return err
	}
	s, err := kgo.NewGroupTransactSession(append(r.options(), kgo.TransactionalID(r.args.AppID), kgo.RequireStableFetchOffsets())...)
	if err != nil {
		return err
	}
	defer s.Close()
	r.produce = func(rec *kgo.Record) { s.Produce(ctx, rec, failed) }
	for r.processed < r.args.Until {
		if err := s.Begin(); err != nil {
			return err
		}
		for next := time.Now().Add(r.args.CommitEvery()); time.Now().Before(next) && r.processed < r.args.Until; {
			if err := r.poll(ctx, s.Client(), step); err != nil {
				return err
			}
		}
		if done, err := s.End(ctx, kgo.TryCommit); err != nil || !done {
			return fmt.Errorf("transaction committed: %v, error: %w", done, err)
		}
	}
	return nil
}

func (r *runner) poll(ctx context.Context, cl *kgo.Client, step func(*kgo.Record)) error {
	fetches := cl.PollRecords(ctx, 10_000)
	if errs := fetches.Errors(); len(errs) > 0 {
		return errs[0].Err
	}
	fetches.EachRecord(step)
	r.processed += int64(fetches.NumRecords())
	return nil
}

// ensureChangelog makes the changelog topic, or reads it to its end when it is there.
func (r *runner) ensureChangelog(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.args.Brokers...), kgo.ConsumeTopics(r.changelog),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	compact := "compact"
	_, err = adm.CreateTopic(ctx, 4, 1, map[string]*string{"cleanup.policy": &compact}, r.changelog)
	if err == nil {
		return nil
	}
	ends, err := adm.ListEndOffsets(ctx, r.changelog)
	if err != nil {
		return err
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	for left > 0 {
		fetches := cl.PollRecords(ctx, 10_000)
		if errs := fetches.Errors(); len(errs) > 0 {
			return errs[0].Err
		}
		fetches.EachRecord(func(rec *kgo.Record) { r.counts[string(rec.Key)] = binary.BigEndian.Uint64(rec.Value) })
		left -= int64(fetches.NumRecords())
	}
	r.restored = time.Since(r.began)
	return nil
}
