package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/bench/internal/work"
)

func verifyMain(argv []string) error {
	fs := flag.NewFlagSet("verify", flag.ExitOnError)
	var s selection
	s.register(fs, "W2")
	out := fs.String("out", "", "output topic")
	_ = fs.Parse(argv) // ExitOnError
	chosen, err := s.chosen()
	if err != nil || *out == "" || len(chosen) != 1 || chosen[0].Name == "W6" {
		return errors.Join(err, errors.New("verify wants -out and one workload, not W6"))
	}
	n, err := s.verify(context.Background(), *out, nil, work.NewChecker(chosen[0]))
	fmt.Printf("%d committed output records\n", n)
	if err == nil {
		fmt.Println("exact")
	}
	return err
}

// verify reads every committed record of topic from the given offsets (nil: the start) to its end.
func (s *selection) verify(ctx context.Context, topic string, from kadm.ListedOffsets, check work.Checker) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	// Transaction markers are kept because the last offset of a partition may be one.
	cl, err := s.client(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	todo := make(map[int32]int64)
	start := make(map[int32]kgo.Offset)
	ends.Each(func(o kadm.ListedOffset) {
		begin := int64(0)
		if at, ok := from.Lookup(topic, o.Partition); ok {
			begin = at.Offset
		}
		if o.Offset > begin {
			todo[o.Partition] = o.Offset
			start[o.Partition] = kgo.NewOffset().At(begin)
		}
	})
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: start})
	n := 0
	for len(todo) > 0 {
		fetches := cl.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return n, errs[0].Err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= todo[r.Partition] {
				delete(todo, r.Partition)
			}
			if !r.Attrs.IsControl() {
				n++
				check.Add(r.Key, r.Value)
			}
		})
	}
	return n, check.Result()
}
