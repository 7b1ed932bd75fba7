package scan

import (
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestScanReadsWhatIsCommitted(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "full"), kfake.SeedTopics(2, "empty"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	opts := []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}
	c, err := kgo.NewClient(append(opts, kgo.TransactionalID("scan"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var want []string
	for i, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(2) { // partition 2 stays empty
			v := strconv.Itoa(i) + "/" + strconv.Itoa(int(p))
			if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "full", Partition: p, Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if how == kgo.TryCommit {
				want = append(want, v)
			}
		}
		if err := c.EndTransaction(t.Context(), how); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	n, err := Topic(t.Context(), opts, "full", func(r *kgo.Record) { got = append(got, string(r.Value)) })
	slices.Sort(got)
	if err != nil || n != len(want) || !slices.Equal(got, want) {
		t.Errorf("read %d %v (%v), want %v", n, got, err, want)
	}
	if n, err := Topic(t.Context(), opts, "empty", func(*kgo.Record) {}); n != 0 || err != nil {
		t.Errorf("an empty topic: %d %v", n, err)
	}
	if _, err := Topic(t.Context(), opts, "absent", func(*kgo.Record) {}); err == nil {
		t.Error("a topic that does not exist was read")
	}
}
