//go:build synctests

package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/failpoint"
)

var seeds = flag.String("seeds", "1..20", "the seeds to run, first..last")

// partitions of each topic, and the keys of the input.
const partitions, words = 3, 12

// heal is how long after the last fault everything must have come out, in virtual time.
const heal = 15 * time.Minute

// world is one simulation.
type world struct {
	*testing.T
	r       *rand.Rand
	seed    uint64
	start   time.Time
	net     kfake.VirtualNetwork
	fake    *kfake.Cluster
	client  *kgo.Client
	eos     bool
	bug     string
	virtual time.Duration
	healed  atomic.Bool // no fault happens any more
	armed   []*kfake.FaultHandle
	mu      sync.Mutex // guards log and kinds
	log     []string
	kinds   map[string]int
	want    map[string]int64
	all     []*instance
}

// note keeps what was done, with its virtual time.
func (w *world) note(kind, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kinds[kind]++
	w.log = append(w.log, fmt.Sprintf("%9s %s %s", time.Since(w.start).Round(time.Millisecond), kind, fmt.Sprintf(format, args...)))
}

// instance is one application with a network of its own that can be cut.
type instance struct {
	w      *world
	mu     sync.Mutex // guards dead and conns
	dead   bool
	conns  []net.Conn
	app    *stream.App
	cancel context.CancelFunc
	done   chan error
}

var errCut = errors.New("sim: the network of this instance is cut")

func (i *instance) dial(ctx context.Context, network, address string) (net.Conn, error) {
	i.mu.Lock()
	dead := i.dead
	i.mu.Unlock()
	if dead {
		return nil, errCut
	}
	c, err := i.w.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dead {
		_ = c.Close()
		return nil, errCut
	}
	i.conns = append(i.conns, c)
	return c, nil
}

// cut lets nothing more of the instance reach a broker: for them and its fellows it was killed.
func (i *instance) cut() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dead = true
	for _, c := range i.conns {
		_ = c.Close()
	}
	i.conns = nil
}

func (i *instance) gone() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.dead
}

func counting() *stream.Builder {
	b := stream.NewBuilder()
	b.Stream[string, string]("in").
		GroupBy(func(_, v string) string { return v }).
		Count(stream.As("counts")).ToStream().To("out")
	return b
}

// begin starts an instance; it crashes when it passes failpoint crash for the nth time.
func (w *world) begin(crash string, nth int) {
	i := &instance{w: w, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	i.cancel = cancel
	var mu sync.Mutex
	at := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		if name != crash || w.healed.Load() {
			return
		}
		if nth--; nth == 0 {
			w.note("crash at failpoint", "%s", name)
			i.cut()
			cancel()
		}
	}
	guarantee := stream.AtLeastOnce
	if w.eos {
		guarantee = stream.ExactlyOnce
	}
	app, err := stream.NewApp(counting(), stream.Config{
		ApplicationID: "sim", Brokers: w.fake.ListenAddrs(), Guarantee: guarantee, Threads: 1 + w.r.IntN(2),
		CommitInterval: time.Duration(50+w.r.IntN(1000)) * time.Millisecond, CacheBytes: -1,
		ClientOptions: []kgo.Opt{kgo.Dialer(i.dial)}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.Fatal(err)
	}
	i.app = app
	go func() { i.done <- app.Run(failpoint.With(ctx, failpoint.New(at, w.bug))) }()
	w.all = append(w.all, i)
}

func (w *world) end(i *instance, kill bool) {
	if kill {
		i.cut()
	}
	i.cancel()
}

func (w *world) feed(n int) {
	var rs []*kgo.Record
	for range n {
		word := fmt.Sprintf("w%d", w.r.IntN(words))
		w.want[word]++
		rs = append(rs, &kgo.Record{Topic: "in", Value: []byte(word), Partition: int32(w.r.IntN(partitions))})
	}
	if err := w.client.ProduceSync(context.Background(), rs...).FirstErr(); err != nil {
		w.Fatalf("the simulation's own input: %v", err)
	}
}

// errs are answers that brokers give while they move or fail, by request.
var errs = map[kmsg.Key][]*kerr.Error{
	kmsg.Fetch:           {kerr.NotLeaderForPartition},
	kmsg.OffsetCommit:    {kerr.NotCoordinator, kerr.CoordinatorLoadInProgress},
	kmsg.TxnOffsetCommit: {kerr.NotCoordinator, kerr.CoordinatorLoadInProgress},
	kmsg.EndTxn:          {kerr.ConcurrentTransactions, kerr.NotCoordinator},
	kmsg.InitProducerID:  {kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress},
	kmsg.Heartbeat:       {kerr.RebalanceInProgress, kerr.NotCoordinator},
	kmsg.JoinGroup:       {kerr.NotCoordinator},
	kmsg.OffsetFetch:     {kerr.UnstableOffsetCommit, kerr.NotCoordinator},
}

var failing = []kmsg.Key{kmsg.Fetch, kmsg.OffsetCommit, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.InitProducerID, kmsg.Heartbeat, kmsg.JoinGroup, kmsg.OffsetFetch}

var crashAt = []string{"flush-before", "flush-after", "offset-commit-before", "offset-commit-after", "txn-offsets-before",
	"txn-offsets-after", "end-before", "end-after", "restore-before", "revoked-before", "revoked-after", "assigned-after", "purge-after"}

// fault does one thing of those that happen to applications.
func (w *world) fault() {
	live := w.live()
	switch w.r.IntN(7) {
	case 0:
		w.note("kill", "")
		w.end(live[w.r.IntN(len(live))], true)
	case 1:
		w.note("stop", "")
		w.end(live[w.r.IntN(len(live))], false)
	case 2:
		if len(live) < 4 {
			w.note("add", "")
			w.begin(crashAt[w.r.IntN(len(crashAt))], 1+w.r.IntN(4))
		}
	case 3:
		w.note("leaders move", "")
		w.fake.ShufflePartitionLeaders()
	case 4:
		w.note("coordinators move", "")
		w.fake.RehashCoordinators()
	case 5:
		key := failing[w.r.IntN(len(failing))]
		e := errs[key][w.r.IntN(len(errs[key]))]
		w.note("error "+key.Name(), "%s", e.Message)
		w.armed = append(w.armed, w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: e, Count: 1 + w.r.IntN(3)}))
	case 6:
		key := failing[w.r.IntN(len(failing))]
		w.note("drop "+key.Name(), "")
		w.fake.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			if w.healed.Load() {
				return nil, nil, false
			}
			return nil, errCut, true // once
		})
	}
	if len(w.live()) == 0 {
		w.note("restart", "")
		w.begin("", 0)
	}
}

func (w *world) live() []*instance {
	var live []*instance
	for _, i := range w.all {
		select {
		case err := <-i.done:
			i.done <- err
			if err != nil && !i.gone() {
				w.Errorf("an instance ended: %v", err)
			}
		default:
			if !i.gone() {
				live = append(live, i)
			}
		}
	}
	return live
}

// check reads the output as anybody would and compares it with the input. Each count of a key is one record: exactly once,
// 1, 2, 3 … without gap or repetition; at least once, the last is no less than what went in.
func (w *world) check() error {
	ends, err := kadm.NewClient(w.client).ListCommittedOffsets(context.Background(), "out")
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.fake.ListenAddrs()...), kgo.Dialer(w.net.DialContext), kgo.ConsumeTopics("out"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return err
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
	got, n := map[string]int64{}, map[string]int64{}
	for len(left) > 0 && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				got[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value))
				n[string(r.Key)]++
			}
		})
	}
	for k, want := range w.want {
		if got[k] < want || w.exact() && (got[k] != want || n[k] != want) {
			return fmt.Errorf("%s: %d in, counted %d by %d records", k, want, got[k], n[k])
		}
	}
	return nil
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

func (w *world) exact() bool { return w.eos }

func (w *world) run(faults int) (err error) {
	w.start = time.Now()
	w.fake, err = kfake.NewCluster(kfake.NumBrokers(3), kfake.Ports(9001, 9002, 9003), kfake.ListenFn(w.net.Listen))
	if err != nil {
		return err
	}
	defer w.fake.Close()
	w.fake.ControlKey(int16(kmsg.OffsetForLeaderEpoch), w.epochs)
	w.client, err = kgo.NewClient(kgo.SeedBrokers(w.fake.ListenAddrs()...), kgo.Dialer(w.net.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer w.client.Close()
	if _, err := kadm.NewClient(w.client).CreateTopics(context.Background(), partitions, 1, map[string]*string{"retention.ms": new("-1")}, "in", "out"); err != nil {
		return err
	}
	defer func() {
		for _, i := range w.all {
			w.end(i, false)
			<-i.done
		}
	}()
	for range 2 {
		w.begin("", 0)
	}
	w.feed(50)
	if err := w.converge("before any fault"); err != nil {
		return err
	}
	for range faults {
		w.feed(1 + w.r.IntN(30))
		w.fault()
		time.Sleep(time.Duration(w.r.IntN(20_000)) * time.Millisecond)
	}
	w.healed.Store(true)
	for _, f := range w.armed {
		f.Remove()
	}
	w.note("heal", "")
	if len(w.live()) == 0 {
		w.begin("", 0)
	}
	w.feed(50)
	return w.converge("after the faults")
}

// converge waits until all is as it should be, in virtual time.
func (w *world) converge(when string) error {
	var err error
	for end := time.Now().Add(heal); time.Now().Before(end); time.Sleep(5 * time.Second) {
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
		w.note("state", "%s", i.app.State())
	}
	lags, err := kadm.NewClient(w.client).Lag(context.Background(), "sim")
	if err != nil {
		w.note("no lag", "%v", err)
	}
	lags.Each(func(g kadm.DescribedGroupLag) {
		w.note("group", "%s, %d members, %v", g.State, len(g.Members), g.Error())
		for _, l := range g.Lag.Sorted() {
			w.note("lag", "%s-%d: %d of %d is committed", l.Topic, l.Partition, l.Commit.At, l.End.Offset)
		}
	})
}

// simulate runs a seed with a bug planted, or none.
func simulate(t *testing.T, seed uint64, bug string) (w *world, err error) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 1))
		w = &world{T: t, r: r, seed: seed, bug: bug, kinds: map[string]int{}, want: map[string]int64{}, eos: r.IntN(2) == 0}
		err = w.run(2 + r.IntN(8))
		w.virtual = time.Since(w.start)
	})
	return w, err
}

func TestSimulation(t *testing.T) {
	var first, last uint64
	if _, err := fmt.Sscanf(*seeds, "%d..%d", &first, &last); err != nil {
		t.Fatalf("-seeds=%s: want first..last: %v", *seeds, err)
	}
	kinds := map[string]int{}
	var virtual time.Duration
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w, err := simulate(t, seed, "")
			virtual += w.virtual
			for k, n := range w.kinds {
				kinds[k] += n
			}
			if err != nil || t.Failed() {
				for _, l := range w.log {
					t.Log(l)
				}
				t.Errorf("seed %d (exactly once: %t): %v\nagain: make sim SEEDS=%d..%d", seed, w.eos, err, seed, seed)
			}
		})
	}
	t.Logf("seeds %s, faults %v, %s", *seeds, kinds, virtual)
}
