//go:build synctests

package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// check reads the output as anybody would and compares it with the input. Each count of a key is one record: exactly once,
// 1, 2, 3 … without gap or repetition; at least once, the highest is no less than what went in (it need not be the last one:
// an instance that the group has given up may still send what it had counted). With exact state it is what went in.
func (w *world) check() error {
	return errors.Join(w.compare("out", w.want), w.compare("windowed", w.wantIn))
}

func (w *world) compare(topic string, want map[string]int64) error {
	most, records, err := w.read(topic)
	if err != nil {
		return err
	}
	var wrong []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if n := want[k]; most[k] < n || w.exact() && (most[k] != n || records[k] != n) || w.stamped() && most[k] != n {
			wrong = append(wrong, fmt.Sprintf("%s: %d in, counted %d by %d records", k, n, most[k], records[k]))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s: %d of %d keys, %s", topic, len(wrong), len(want), strings.Join(wrong[:min(len(wrong), 4)], "; "))
	}
	return nil
}

// read is the highest count of each key, and the number of its records, as of now.
func (w *world) read(topic string) (most, records map[string]int64, err error) {
	ends, err := kadm.NewClient(w.client).ListCommittedOffsets(context.Background(), topic)
	if err != nil {
		return nil, nil, err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.fake.ListenAddrs()...), kgo.Dialer(w.net.DialContext), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return nil, nil, err
	}
	defer cl.Close()
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	most, records = map[string]int64{}, map[string]int64{}
	for len(left) > 0 && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				most[string(r.Key)] = max(most[string(r.Key)], int64(binary.BigEndian.Uint64(r.Value)))
				records[string(r.Key)]++
			}
		})
	}
	return most, records, nil
}
