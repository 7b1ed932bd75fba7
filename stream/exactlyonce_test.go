package stream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/internal/unheard"
)

// ledger reads what is committed of a topic of counts and says whether each key counted 1, 2, 3 ... up to what is wanted, each
// number once.
func (c *cluster) ledger(topic string, want map[string]int64) {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	ctx := c.ctx()
	got := map[string]int64{}
	for !maps.Equal(got, want) {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			for k, n := range want {
				if got[k] != n {
					c.t.Errorf("%s is %d, want %d", k, got[k], n)
				}
			}
			c.t.Fatalf("topic %s did not show what was waited for within %s", topic, patience)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n := int64Of(r.Value)
			if n != got[string(r.Key)]+1 {
				c.t.Errorf("%s goes from %d to %d at %s-%d@%d", r.Key, got[string(r.Key)], n, r.Topic, r.Partition, r.Offset)
			}
			got[string(r.Key)] = n
		})
	}
}

// once is a configuration whose every count is sent on: caches would hide numbers.
func once(app string) stream.Config {
	return stream.Config{ApplicationID: app, Guarantee: stream.ExactlyOnce, CacheBytes: -1}
}

// letters are n lines of a few words, and how often each word is in them.
func letters(n int) (lines []pair, want map[string]int64) {
	want = map[string]int64{}
	for i := range n {
		a, b := fmt.Sprintf("w%d", i%7), fmt.Sprintf("w%d", i%11)
		want[a]++
		want[b]++
		lines = append(lines, pair{"", a + " " + b})
	}
	return lines, want
}

func twice(want map[string]int64) map[string]int64 {
	for k := range want {
		want[k] *= 2
	}
	return want
}

func TestExactlyOnceCountsEachRecordOnce(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(3, "lines", "word-counts")
	lines, want := letters(1000)
	c.produce("lines", lines...)
	_, stop := c.app(wordCount(), once("eos"))
	c.ledger("word-counts", want)
	stop()
	c.produce("lines", lines...) // another member goes on with what is committed
	c.app(wordCount(), once("eos"))
	c.ledger("word-counts", twice(want))
}

// TestExactlyOnceSurvivesWhatCommitsAnswer lets each request of a transaction fail in each way a few times.
func TestExactlyOnceSurvivesWhatCommitsAnswer(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		key kmsg.Key
		err []*kerr.Error
	}{
		{kmsg.InitProducerID, []*kerr.Error{kerr.CoordinatorNotAvailable, kerr.ConcurrentTransactions, kerr.NotCoordinator}},
		{kmsg.Produce, []*kerr.Error{kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.OutOfOrderSequenceNumber, kerr.TransactionAbortable, kerr.NotLeaderForPartition}},
		{kmsg.TxnOffsetCommit, []*kerr.Error{kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.TransactionAbortable, kerr.IllegalGeneration,
			kerr.UnknownMemberID, kerr.CoordinatorNotAvailable, kerr.RebalanceInProgress, kerr.UnknownServerError}},
		{kmsg.EndTxn, []*kerr.Error{kerr.InvalidProducerEpoch, kerr.ProducerFenced, kerr.TransactionAbortable, kerr.ConcurrentTransactions,
			kerr.CoordinatorNotAvailable, kerr.InvalidTxnState, kerr.UnknownServerError}},
	} {
		for _, e := range f.err {
			t.Run(fmt.Sprintf("%s/%s", f.key.Name(), e.Message), func(t *testing.T) {
				t.Parallel()
				c := fake(t)
				c.topics(2, "lines", "word-counts")
				lines, want := letters(200)
				c.produce("lines", lines...)
				c.app(wordCount(), once("eos"))
				c.ledger("word-counts", want)
				fault := c.fake.Fault(kfake.Fault{Keys: []kmsg.Key{f.key}, Err: e, Count: 2, When: transactional})
				defer fault.Remove()
				if f.key == kmsg.InitProducerID {
					c.app(wordCount(), once("eos")) // a second member has to have an id
				}
				c.produce("lines", lines...)
				c.ledger("word-counts", twice(want))
			})
		}
	}
}

// transactional spares the requests of the test's own producer.
func transactional(req kmsg.Request) bool {
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		return r.TransactionID != nil
	case *kmsg.InitProducerIDRequest:
		return r.TransactionalID != nil
	}
	return true
}

// forTransaction runs a test for each kind of request of which a transaction consists.
func forTransaction(t *testing.T, test func(t *testing.T, key kmsg.Key)) {
	t.Helper()
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
		t.Run(key.Name(), func(t *testing.T) {
			t.Parallel()
			test(t, key)
		})
	}
}

// TestExactlyOnceSurvivesLostRequests cuts the connection in place of doing what is asked.
func TestExactlyOnceSurvivesLostRequests(t *testing.T) {
	t.Parallel()
	forTransaction(t, func(t *testing.T, key kmsg.Key) {
		t.Helper()
		c := fake(t)
		c.topics(2, "lines", "word-counts")
		lines, want := letters(200)
		c.produce("lines", lines...)
		c.app(wordCount(), once("eos"))
		c.ledger("word-counts", want)
		c.produce("lines", lines...)
		var cuts atomic.Int64
		c.fake.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.fake.KeepControl()
			if !transactional(req) || cuts.Add(1) > 3 {
				return nil, nil, false
			}
			return nil, errors.New("cut"), true
		})
		c.ledger("word-counts", twice(want))
	})
}

// unanswered lets the answers to a few requests of a kind get lost once brokers have done what they ask for, in the middle of work.
func unanswered(t *testing.T, c *cluster, app, in, out string, key kmsg.Key) {
	t.Helper()
	var left atomic.Int64
	loses := func(k kmsg.Key) bool { return k == key && left.Add(-1) >= 0 }
	cfg := once(app)
	cfg.ClientOptions = []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return unheard.New(conn, loses), nil
	})}
	lines, want := letters(200)
	c.produce(in, lines...)
	c.app(countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out)), cfg)
	c.ledger(out, want)
	left.Store(3)
	c.produce(in, lines...)
	c.ledger(out, twice(want))
	for range 20 { // each line begins a transaction
		c.produce(in, lines[0])
		for word := range strings.FieldsSeq(lines[0].value) {
			want[word]++
		}
		c.ledger(out, want)
	}
	if n := left.Load(); n > 0 {
		t.Errorf("%d answers to %s were not asked for", n, key.Name())
	}
}

func TestExactlyOnceSurvivesLostAnswers(t *testing.T) {
	t.Parallel()
	forTransaction(t, func(t *testing.T, key kmsg.Key) {
		t.Helper()
		c := fake(t)
		c.topics(2, "lines", "word-counts")
		unanswered(t, c, "eos", "lines", "word-counts", key)
	})
}

func TestApacheKafkaExactlyOnceSurvivesLostAnswers(t *testing.T) {
	t.Parallel()
	forTransaction(t, func(t *testing.T, key kmsg.Key) {
		t.Helper()
		c := connect(t, real.Kafka(t))
		app := real.Name(t, "unheard")
		c.topics(2, app+"-in", app+"-out")
		unanswered(t, c, app, app+"-in", app+"-out", key)
	})
}

func TestExactlyOnceRefusesOldBrokersUnlessAccepted(t *testing.T) {
	t.Parallel()
	old, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V3_5_0()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(old.Close)
	c := connect(t, old.ListenAddrs())
	c.topics(2, "lines", "word-counts")
	err = c.ended(wordCount(), once("old"))
	if err == nil || !strings.Contains(err.Error(), "transaction.version=2") || !strings.Contains(err.Error(), "AcceptOldBrokers") {
		t.Fatalf("got %v", err)
	}
	cfg := once("old")
	cfg.AcceptOldBrokers = true
	lines, want := letters(100)
	c.produce("lines", lines...)
	c.app(wordCount(), cfg)
	c.ledger("word-counts", want)
}

func TestAUsersErrorCommitsNothingByHalf(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in", "out")
	c.produce("in", pair{"a", "1"}, pair{"a", "2"}, pair{"a", "bad"}, pair{"a", "3"})
	build := func(fails bool) *stream.Builder {
		b := stream.NewBuilder()
		b.Stream[string, string]("in").MapValues(func(_, v string) string {
			if fails && v == "bad" {
				panic("no")
			}
			return v
		}).GroupByKey().Count(stream.As("n")).ToStream().To("out")
		return b
	}
	if err := c.ended(build(true), once("half")); err == nil || !strings.Contains(err.Error(), "no") {
		t.Fatalf("got %v", err)
	}
	c.app(build(false), once("half"))
	c.ledger("out", map[string]int64{"a": 4})
}

// wire is a network that can be cut.
type wire struct {
	mu   sync.Mutex
	cut  bool
	open []net.Conn
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, errors.New("the network is cut")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err == nil {
		w.open = append(w.open, conn)
	}
	return conn, err
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, conn := range w.open {
			_ = conn.Close()
		}
		w.open = nil
	}
}

// zombie lets a member lose its network in the middle of its work, another take over, and the first come back.
func zombie(t *testing.T, c *cluster, cfg stream.Config, in, out string) {
	t.Helper()
	lines, want := letters(2000)
	c.produce(in, lines...)
	var w wire
	short := []kgo.Opt{kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(time.Second)}
	first := cfg
	first.ClientOptions = append([]kgo.Opt{kgo.Dialer(w.dial)}, short...)
	d := func() *stream.Builder {
		return countWords(stream.Topic[string, string](in), stream.Topic[string, int64](out))
	}
	c.app(d(), first)
	c.produce(in, lines...)
	w.set(true)
	second := cfg
	second.ClientOptions = short
	c.app(d(), second)
	c.ledger(out, twice(want))
	w.set(false)
	c.produce(in, lines...)
	for k := range want {
		want[k] = want[k] / 2 * 3
	}
	c.ledger(out, want)
}

func TestAZombieUnderExactlyOnceDoublesNothing(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "lines", "word-counts")
	zombie(t, c, once("zombie"), "lines", "word-counts")
}

func TestApacheKafkaAZombieUnderExactlyOnceDoublesNothing(t *testing.T) {
	t.Parallel()
	c := connect(t, real.Kafka(t))
	app := real.Name(t, "zombie")
	c.topics(2, app+"-in", app+"-out")
	zombie(t, c, once(app), app+"-in", app+"-out")
}
