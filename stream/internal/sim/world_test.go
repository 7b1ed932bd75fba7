//go:build synctests

package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream"
)

// partitions of each topic, and the keys of the input.
const partitions, words = 3, 12

// windowSize is that of the windows the topology counts in.
const windowSize = 10 * time.Second

// heal is how long after the last fault everything must have come out, in virtual time.
const heal = 15 * time.Minute

// world is one simulation. Its fields belong to its own goroutine, but for those that are said to be guarded.
type world struct {
	*testing.T
	r       *rand.Rand
	seed    uint64
	bug     string
	config  stream.Config
	disk    bool
	slow    time.Duration
	root    string // of the machines' directories
	kinds   []fault
	start   time.Time
	virtual time.Duration

	net      kfake.VirtualNetwork
	fake     *kfake.Cluster
	client   *kgo.Client
	machines []*machine
	all      []*instance
	armed    []*kfake.FaultHandle
	roll     *roll
	aside    sync.WaitGroup
	healed   atomic.Bool // no fault happens any more
	failed   error       // of instances that ended by themselves

	want, wantIn map[string]int64 // counts of words, and of words in windows

	mu      sync.Mutex // guards what follows
	log     []string
	seen    map[string]int   // faults by kind
	unheard map[kmsg.Key]int // answers that will get lost
}

// notef keeps what was done, with its virtual time, and counts it where it is a kind of fault.
func (w *world) notef(kind, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if kind != "" {
		w.seen[kind]++
	}
	w.log = append(w.log, fmt.Sprintf("%9s %s %s", time.Since(w.start).Round(time.Millisecond), kind, fmt.Sprintf(format, args...)))
}

// topology counts words, and words in windows. The user's code takes its time with each record.
func topology(slow time.Duration) *stream.Builder {
	b := stream.NewBuilder()
	by := b.Stream[string, string]("in").Peek(func(string, string) { time.Sleep(slow) }).GroupBy(func(_, v string) string { return v })
	by.Count(stream.As("counts")).ToStream().To("out")
	stream.Tumbling(windowSize).Grace(1000 * time.Hour).Over(by).Count(stream.As("windows")).ToStream().
		SelectKey(func(k stream.Windowed[string], _ int64) string {
			return fmt.Sprintf("%s@%d", k.Key, k.Window.Start().Unix())
		}).To("windowed")
	return b
}

// simulate runs a seed with a bug planted, or none.
func simulate(t *testing.T, seed uint64, bug string) (w *world, err error) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 1))
		w = &world{T: t, r: r, seed: seed, bug: bug, seen: map[string]int{}, unheard: map[kmsg.Key]int{}, want: map[string]int64{}, wantIn: map[string]int64{}}
		w.config = stream.Config{ApplicationID: "sim", CacheBytes: -1}
		if r.IntN(2) == 0 {
			w.config.Guarantee = stream.ExactlyOnce
		} else if rand.New(rand.NewPCG(seed, 3)).IntN(2) == 0 {
			w.config.Guarantee, w.config.CacheBytes = stream.ExactState, 0
		}
		copies := rand.New(rand.NewPCG(seed, 2))
		w.config.StandbyReplicas, w.config.ProbingInterval = copies.IntN(2), 30*time.Second
		if copies.IntN(2) == 0 {
			w.config.RecoveryLag = 5 // tasks move by way of warm-ups
		}
		w.disk = r.IntN(2) == 0
		w.slow = time.Duration(max(0, r.IntN(60)-30)) * time.Millisecond // none, half of the time
		w.kinds = slices.DeleteFunc(faults(), func(f fault) bool { return !w.stands(f) })
		r.Shuffle(len(w.kinds), func(i, j int) { w.kinds[i], w.kinds[j] = w.kinds[j], w.kinds[i] })
		w.kinds = w.kinds[:3+r.IntN(len(w.kinds)-3)] // a part of them: so that many of one kind meet now and then
		err = w.run(3 + r.IntN(15))
		w.virtual = time.Since(w.start)
	})
	return w, err
}

func (w *world) exact() bool { return w.config.Guarantee == stream.ExactlyOnce }

func (w *world) stamped() bool { return w.config.Guarantee == stream.ExactState }

// stands says whether the guarantee promises to stand a fault.
func (w *world) stands(f fault) bool {
	switch f.name {
	case zombie:
		return w.exact()
	case compaction:
		return !w.stamped() // the embedded broker has no min.compaction.lag.ms
	}
	return true
}

// feed sends words whose times go on with the clock.
func (w *world) feed(n int) {
	rs := make([]*kgo.Record, n)
	for i := range rs {
		word := fmt.Sprintf("w%d", w.r.IntN(words))
		at := time.Now().Add(-time.Duration(w.r.IntN(20_000)) * time.Millisecond)
		w.want[word]++
		w.wantIn[fmt.Sprintf("%s@%d", word, at.Truncate(windowSize).Unix())]++
		rs[i] = &kgo.Record{Topic: "in", Value: []byte(word), Partition: int32(w.r.IntN(partitions)), Timestamp: at}
	}
	if err := w.client.ProduceSync(context.Background(), rs...).FirstErr(); err != nil {
		w.Fatalf("the simulation's own input: %v", err)
	}
}

// begins starts brokers and topics.
func (w *world) begins() (err error) {
	w.start = time.Now()
	if w.root, err = os.MkdirTemp("", "sim"); err != nil {
		return err
	}
	w.fake, err = kfake.NewCluster(kfake.NumBrokers(3), kfake.Ports(9001, 9002, 9003), kfake.ListenFn(w.net.Listen))
	if err != nil {
		return err
	}
	w.fake.ControlKey(int16(kmsg.OffsetForLeaderEpoch), w.epochs)
	w.watch()
	w.client, err = kgo.NewClient(kgo.SeedBrokers(w.fake.ListenAddrs()...), kgo.Dialer(w.net.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.AlwaysRetryEOF())
	if err != nil {
		return err
	}
	w.config.Brokers = w.fake.ListenAddrs()
	_, err = kadm.NewClient(w.client).CreateTopics(context.Background(), partitions, 1, map[string]*string{"retention.ms": new("-1")}, "in", "out", "windowed")
	return err
}

func (w *world) ends() {
	for _, i := range w.all {
		i.cancel()
		<-i.done
	}
	w.aside.Wait()
	if w.client != nil {
		w.client.Close()
	}
	if w.fake != nil {
		w.fake.Close()
	}
	w.clear()
}

func (w *world) run(n int) error {
	defer w.ends()
	if err := w.begins(); err != nil {
		return err
	}
	for range 2 {
		w.begin(w.free(true), "", 0)
	}
	w.feed(50)
	if err := w.converge("before any fault"); err != nil {
		return err
	}
	for range n {
		w.feed(1 + w.r.IntN(30))
		f := w.kinds[w.r.IntN(len(w.kinds))]
		w.notef(f.name, "")
		f.do(w)
		w.some()
		time.Sleep(w.span(20))
	}
	w.healed.Store(true)
	for _, f := range w.armed {
		f.Remove()
	}
	w.notef("", "heal")
	w.some()
	w.feed(50)
	return errors.Join(w.converge("after the faults"), w.again(), w.failed)
}

// again begins anew with nothing but the changelogs, where they must say what the stores said.
func (w *world) again() error {
	if !w.stamped() {
		return nil
	}
	for _, i := range w.some() {
		i.kill(w)
	}
	w.begin(w.free(true), "", 0)
	w.feed(50)
	return w.converge("from the changelogs")
}

// converge waits until all is as it should be, in virtual time.
func (w *world) converge(when string) error {
	var err error
	for end := time.Now().Add(heal); time.Now().Before(end); time.Sleep(5 * time.Second) {
		w.some()
		w.expire()
		if err = w.check(); err == nil {
			return nil
		}
	}
	w.diagnose()
	return fmt.Errorf("%s: not right within %s: %w", when, heal, err)
}

// diagnose notes who is there and what is left to do.
func (w *world) diagnose() {
	for _, i := range w.live() {
		w.notef("", "state %s", i.app.State())
	}
	lags, err := kadm.NewClient(w.client).Lag(context.Background(), "sim")
	if err != nil {
		w.notef("", "no lag: %v", err)
	}
	lags.Each(func(g kadm.DescribedGroupLag) {
		w.notef("", "group %s, %d members, %v", g.State, len(g.Members), g.Error())
		for _, l := range g.Lag.Sorted() {
			w.notef("", "lag %s-%d: %d of %d is committed", l.Topic, l.Partition, l.Commit.At, l.End.Offset)
		}
	})
	w.undecided(func(topic string, partition int32, stable, end int64) {
		w.notef("", "%s-%d is decided up to %d of %d", topic, partition, stable, end)
	})
	states, _ := kadm.NewClient(w.client).DescribeTransactions(context.Background())
	states.Each(func(s kadm.DescribedTransaction) {
		w.notef("", "transaction %s: %s since %d, %v", s.TxnID, s.State, s.StartTimestamp, s.Topics)
	})
}

// undecided visits the partitions in which a transaction is open. It says no if brokers do not answer for now.
func (w *world) undecided(visit func(topic string, partition int32, stable, end int64)) bool {
	admin, ctx := kadm.NewClient(w.client), context.Background()
	ends, err := admin.ListEndOffsets(ctx)
	if err != nil {
		return false
	}
	stable, err := admin.ListCommittedOffsets(ctx)
	if err != nil {
		return false
	}
	ends.Each(func(end kadm.ListedOffset) {
		if s, ok := stable.Lookup(end.Topic, end.Partition); ok && s.Offset < end.Offset {
			visit(end.Topic, end.Partition, s.Offset, end.Offset)
		}
	})
	return true
}

// epochs answers with the end of each partition: nothing is ever truncated here, but after a leader has moved the embedded
// broker answers as if it had been.
func (w *world) epochs(kreq kmsg.Request) (kmsg.Response, error, bool) {
	w.fake.KeepControl()
	req := kreq.(*kmsg.OffsetForLeaderEpochRequest)
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, topic := range req.Topics {
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = topic.Topic
		for _, p := range topic.Partitions {
			part := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			part.Partition, part.LeaderEpoch = p.Partition, p.LeaderEpoch
			w.fake.SleepControl(func() {
				if info := w.fake.PartitionInfo(topic.Topic, p.Partition); info != nil {
					part.EndOffset = info.HighWatermark
				}
			})
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil, true
}
