package kafkad

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const marker = "MARKER-7b1e-of-a-person"

func TestExpiredBytesAreGoneWhileLaterRecordsStay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, dir)
	w.topic(t, "raw", "retention.ms", fmt.Sprint((6 * 24 * time.Hour).Milliseconds()))
	w.put(t, "raw", "key-"+marker, "value-"+marker)
	w.clock.Advance(5 * 24 * time.Hour)
	w.put(t, "raw", "later", "stays") // into the same segment
	if len(holding(t, dir, marker)) == 0 {
		t.Fatal("the search finds nothing before the purge: it would find nothing after it either")
	}
	w.clock.Advance(25 * time.Hour)
	await(t, "the expired record's bytes are gone", func() bool { return len(holding(t, dir, marker)) == 0 })
	if got := read(t, w.s.Brokers()[0], "raw", 1, 2); !slices.Equal(got, []string{"later=stays"}) {
		t.Fatalf("read %v after the purge, want the later record", got)
	}
	w.close(t)
	w = startAt(t, dir, w.clock)
	if got := read(t, w.s.Brokers()[0], "raw", 1, 2); !slices.Equal(got, []string{"later=stays"}) {
		t.Fatalf("read %v after a restart, want the later record", got)
	}
}

func TestNothingGoesBeforeItsTime(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.topic(t, "raw", "retention.ms", "3600000")
	w.topic(t, "ever", "retention.ms", "-1")
	w.topic(t, "compacted", "cleanup.policy", "compact")
	w.topic(t, "sentinel", "retention.ms", "1000")
	// An hour ahead, and a year ago: kfake's own retention would err on both.
	putAt(t, w.cl, w.clock.Now().Add(time.Hour), "raw", "ahead", "v")
	putAt(t, w.cl, w.clock.Now().Add(-365*24*time.Hour), "ever", "old", "v")
	putAt(t, w.cl, w.clock.Now().Add(-365*24*time.Hour), "compacted", "old", "v")
	putAt(t, w.cl, w.clock.Now(), "compacted", "new", "v")
	w.clock.Advance(90 * time.Minute)
	w.put(t, "compacted", "newest", "v")
	putAt(t, w.cl, w.clock.Now().Add(-time.Hour), "sentinel", "x", "v")
	await(t, "retention has run", func() bool { first, _ := bounds(t, w.adm, "sentinel"); return first == 1 })
	await(t, "compaction has run", func() bool {
		return w.s.cleaner.compactedTo("compacted", w.s.cluster.TopicInfo("compacted").TopicID, 0) == 0
	})
	for _, topic := range []string{"raw", "ever", "compacted"} {
		if first, _ := bounds(t, w.adm, topic); first != 0 {
			t.Errorf("%s starts at %d: something went before its time", topic, first)
		}
	}
}

func TestTombstonedKeyIsGoneFromACompactedTopic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, dir)
	w.topic(t, "log", "cleanup.policy", "compact", "delete.retention.ms", "3600000")
	w.put(t, "log", "other", "kept")
	w.put(t, "log", "key-"+marker, "value-"+marker)
	w.put(t, "log", "key-"+marker, "") // the last record of its log
	await(t, "the value is gone", func() bool { return len(holding(t, dir, "value-"+marker)) == 0 })
	if len(holding(t, dir, "key-"+marker)) == 0 {
		t.Fatal("the tombstone went before delete.retention.ms")
	}
	w.clock.Advance(2 * time.Hour)
	await(t, "the tombstone is gone", func() bool { return len(holding(t, dir, marker)) == 0 })
	_, end := bounds(t, w.adm, "log")
	if got := read(t, w.s.Brokers()[0], "log", 0, end); !slices.Equal(got, []string{"other=kept"}) {
		t.Fatalf("read %v, want the key that lives", got)
	}
}

func TestLogOfTombstonesOnlyEndsEmptyAtItsOffsets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, dir)
	w.topic(t, "log", "cleanup.policy", "compact", "delete.retention.ms", "3600000")
	w.put(t, "log", marker, "v")
	w.put(t, "log", marker, "")
	w.clock.Advance(2 * time.Hour)
	await(t, "the log is empty", func() bool {
		first, end := bounds(t, w.adm, "log")
		return first == end && len(holding(t, dir, marker)) == 0
	})
	_, before := bounds(t, w.adm, "log")
	w.close(t)
	w = startAt(t, dir, w.clock)
	if first, end := bounds(t, w.adm, "log"); first != before || end != before {
		t.Fatalf("the log is %d to %d after a restart, want %d to %d", first, end, before, before)
	}
}

func TestConsumerBehindACompactionGoesOn(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.topic(t, "log", "cleanup.policy", "compact")
	for range 5 {
		w.put(t, "log", "k", "old")
	}
	w.put(t, "log", "k", "new")
	w.put(t, "log", "l", "last")
	await(t, "the log was compacted", func() bool { first, _ := bounds(t, w.adm, "log"); return first == 5 })
	if got := read(t, w.s.Brokers()[0], "log", 1, 7); !slices.Equal(got, []string{"k=new", "l=last"}) {
		t.Fatalf("read %v from a compacted offset", got)
	}
}

func TestConfigurationsAreTheTopicsOwnWhileCompacting(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.topic(t, "log", "cleanup.policy", "compact,delete", "retention.ms", "7200000", "delete.retention.ms", "3600000")
	for i := range 40 {
		w.put(t, "log", "k", fmt.Sprint(i))
		configs, err := w.adm.DescribeTopicConfigs(t.Context(), "log")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range configs[0].Configs {
			want := map[string]string{"retention.ms": "7200000", "delete.retention.ms": "3600000"}[c.Key]
			if want != "" && c.MaybeValue() != want {
				t.Fatalf("%s is %s, want %s", c.Key, c.MaybeValue(), want)
			}
		}
		if first, _ := bounds(t, w.adm, "log"); first > 0 && i > 20 {
			return // compactions came between
		}
	}
	await(t, "the log was compacted", func() bool { first, _ := bounds(t, w.adm, "log"); return first > 0 })
}

func TestOpenTransactionIsNotCompactedAway(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.topic(t, "log", "cleanup.policy", "compact")
	w.put(t, "log", "k", "decided")
	producer, err := kgo.NewClient(kgo.SeedBrokers(w.s.Brokers()...), kgo.TransactionalID("t"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "log", Key: []byte("k"), Value: []byte("undecided")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.topic(t, "sentinel", "retention.ms", "1000")
	putAt(t, w.cl, w.clock.Now().Add(-time.Hour), "sentinel", "x", "v")
	await(t, "cleaning has run", func() bool { first, _ := bounds(t, w.adm, "sentinel"); return first == 1 })
	if err := producer.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	w.put(t, "log", "l", "after")
	_, end := bounds(t, w.adm, "log")
	if got := read(t, w.s.Brokers()[0], "log", 0, end); !slices.Equal(got, []string{"k=decided", "l=after"}) {
		t.Fatalf("read %v, want the decided value", got)
	}
}

func TestLateRecordIsSeenBeforeItGoes(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.s.cleaner.s.config.settle = time.Hour // nothing settles in this test
	w.topic(t, "raw", "retention.ms", "1000")
	w.topic(t, "sentinel", "cleanup.policy", "compact")
	putAt(t, w.cl, w.clock.Now().Add(-time.Hour), "raw", "late", "v")
	for range 3 {
		w.put(t, "sentinel", "k", "v")
	}
	await(t, "the cleaner has made a round", func() bool { first, _ := bounds(t, w.adm, "sentinel"); return first > 0 })
	if got := read(t, w.s.Brokers()[0], "raw", 0, 1); len(got) != 1 {
		t.Fatalf("read %v: the late record went unseen", got)
	}
}

func TestLeaderEpochNeverClaimsLoss(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.topic(t, "moved")
	w.put(t, "moved", "a", "v")
	if err := w.s.cluster.MoveTopicPartition("moved", 0, 0); err != nil { // a new epoch, nothing written in it
		t.Fatal(err)
	}
	var req kadm.OffsetForLeaderEpochRequest
	req.Add("moved", 0, 0)
	resp, err := w.adm.OffsetForLeaderEpoch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp["moved"][0]; got.Err != nil || got.EndOffset != 1 {
		t.Fatalf("epoch 0 ends at %d (%v), want 1", got.EndOffset, got.Err)
	}
}

func TestUnreadableStartsAreAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := writeJSON(startsFile(dir), "no starts"); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), quick(Config{Dir: dir}))
	if err == nil {
		err = s.Close()
		t.Fatalf("the broker started on a file it cannot read: %v", err)
	}
	if !strings.Contains(err.Error(), "starts.json") {
		t.Fatalf("error %v does not name the file", err)
	}
}

func TestRecordFromTheFutureIsRefusedAlone(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.clock.Advance(48 * time.Hour)
	w.topic(t, "a")
	w.topic(t, "b")
	good := &kgo.Record{Topic: "a", Value: []byte("v"), Timestamp: w.clock.Now().Add(59 * time.Minute)}
	bad := &kgo.Record{Topic: "b", Value: []byte("v"), Timestamp: w.clock.Now().Add(61 * time.Minute)}
	for _, r := range w.cl.ProduceSync(t.Context(), good, bad) {
		if refused := errors.Is(r.Err, kerr.InvalidTimestamp); refused != (r.Record == bad) || !refused && r.Err != nil {
			t.Errorf("record of %s: %v", r.Record.Topic, r.Err)
		}
	}
	putAt(t, w.cl, w.clock.Now(), "b", "k", "the next one")
	if _, end := bounds(t, w.adm, "b"); end != 1 {
		t.Errorf("b ends at %d, want the one good record", end)
	}
}
