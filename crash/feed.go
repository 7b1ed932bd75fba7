package crash

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// feed writes the input. Its flow is a goroutine of its owner's; mark may be called meanwhile.
type feed struct {
	app        string
	partitions int32
	client     *kgo.Client
	dice       *dice
	next       int64 // the number of the next left record

	left, right atomic.Int64 // acknowledged
	mu          sync.Mutex
	err         error
}

// words is how many different ones there are.
const words = 500

func newFeed(o *Options, broker, app string) (*feed, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5*time.Millisecond),
		kgo.UnknownTopicRetries(-1)) // the topics are there, though the broker may say so later
	if err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	return &feed{app: app, partitions: o.Partitions, client: client, dice: newDice(o.Seed, "records")}, nil
}

func (f *feed) close() { f.client.Close() }

// sent is how many records are in the input topics.
func (f *feed) sent() int64 { return f.left.Load() + f.right.Load() }

// failure is the first record that could not be written.
func (f *feed) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// flow writes n records, rate a second; 0 is as fast as it goes. Two left records have one key, and one right record, whose
// time is sometimes too far away from theirs.
func (f *feed) flow(ctx context.Context, n int64, rate int) {
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	start := time.Now()
	for done := int64(0); done < n && ctx.Err() == nil; {
		due := n
		if rate > 0 {
			due = min(n, int64(time.Since(start).Seconds()*float64(rate)))
		}
		for ; done < due && ctx.Err() == nil; done++ {
			f.step(ctx)
		}
		if done < n {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
}

// step writes one record: of three, two are left ones.
func (f *feed) step(ctx context.Context) {
	i := f.next
	f.next++
	pair := i / 3
	key, at := strconv.FormatInt(pair, 10), time.Now()
	r := &kgo.Record{Key: []byte(key), Partition: int32(pair % int64(f.partitions)), Timestamp: at}
	if i%3 < 2 {
		r.Topic, r.Value = f.app+"-left", fmt.Appendf(nil, "w%d %d", f.dice.number(words), i)
		f.send(ctx, r, &f.left)
		return
	}
	r.Topic, r.Value = f.app+"-right", fmt.Appendf(nil, "r%d", i)
	r.Timestamp = at.Add(time.Duration(f.dice.number(70_000)-35_000) * time.Millisecond)
	f.send(ctx, r, &f.right)
}

func (f *feed) send(ctx context.Context, r *kgo.Record, acknowledged *atomic.Int64) {
	f.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
		if err == nil {
			acknowledged.Add(1)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.err == nil && ctx.Err() == nil {
			f.err = fmt.Errorf("crash: the feed could not write: %w", err)
		}
	})
}

// marks are the outputs that a marker's records cause: keys of the counts, values of the joined.
type marks map[string]bool

// marker is one record for each pair of an input partition and a partition behind the repartition, left and right. When all of
// it has come out, everything written before has been processed.
func (f *feed) marker(name string) (marks, []*kgo.Record) {
	m, byKey := marks{}, kgo.StickyKeyPartitioner(nil).ForTopic("")
	var records []*kgo.Record
	for p := range f.partitions {
		for q := range f.partitions {
			word := fmt.Sprintf("%s.%d.%d", name, p, q)
			for byKey.Partition(&kgo.Record{Key: []byte(word)}, int(f.partitions)) != int(q) {
				word += "x" // until it belongs behind the repartition where it is wanted
			}
			left, right, at := word+" m", word+"r", time.Now()
			records = append(records,
				&kgo.Record{Topic: f.app + "-left", Partition: p, Key: []byte(word), Value: []byte(left), Timestamp: at},
				&kgo.Record{Topic: f.app + "-right", Partition: p, Key: []byte(word), Value: []byte(right), Timestamp: at})
			m[word], m[left+"+"+right] = true, true
		}
	}
	return m, records
}

// mark writes a marker, without waiting for it.
func (f *feed) mark(ctx context.Context, records []*kgo.Record) {
	for _, r := range records {
		n := &f.left
		if r.Topic == f.app+"-right" {
			n = &f.right
		}
		f.send(ctx, r, n)
	}
}
