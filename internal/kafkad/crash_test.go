package kafkad

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/internal/clock"
)

// TestKilledAgainAndAgainItKeepsWhatItAcknowledged writes newer and newer values of a few keys into a compacted log,
// which the broker compacts all the time, while the broker is killed again and again.
func TestKilledAgainAndAgainItKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := make(map[string]int)
	n := 0
	for life := range 5 {
		broker := startChild(t, dir)
		cl, adm := connect(t, broker.broker)
		if life == 0 {
			makeTopic(t, adm, "log", "cleanup.policy", "compact", "segment.bytes", "2000")
		}
		// Each life is a little longer than a round of the cleaner, so that kills meet every stage of it.
		until := time.Now().Add(time.Second + time.Duration(life)*97*time.Millisecond)
		for time.Now().Before(until) {
			n++
			key := fmt.Sprint("k", n%7)
			putAt(t, cl, time.Now(), "log", key, fmt.Sprint(n))
			acknowledged[key] = n
		}
		cl.Close()
		broker.kill()
	}
	w := start(t, dir)
	await(t, "the log was compacted", func() bool { first, _ := bounds(t, w.adm, "log"); return first > 0 })
	first, end := bounds(t, w.adm, "log")
	latest := make(map[string]string)
	for _, kv := range read(t, w.s.Brokers()[0], "log", first, end) {
		key, value, _ := strings.Cut(kv, "=")
		latest[key] = value
	}
	for key, value := range acknowledged {
		if latest[key] != fmt.Sprint(value) {
			t.Errorf("%s is %q after the kills, acknowledged was %d", key, latest[key], value)
		}
	}
}

func TestInterruptedCompactionIsUndone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, dir)
	w.topic(t, "plain")
	for _, key := range []string{"a", "b", "c"} {
		w.put(t, "plain", key, "v")
	}
	w.close(t)
	// As a kill leaves it when kfake has removed the old files and written half of the new.
	if err := makeBackup(dir, []string{partitionDir("", "plain", 0)}); err != nil {
		t.Fatal(err)
	}
	files := partitionDir(dataDir(dir), "plain", 0)
	if err := eachSegmentFile(files, os.Remove); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segmentPath(files, 2, ".dat"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}

	w = startAt(t, dir, w.clock)
	if got := read(t, w.s.Brokers()[0], "plain", 0, 3); !slices.Equal(got, []string{"a=v", "b=v", "c=v"}) {
		t.Fatalf("read %v after an interrupted compaction", got)
	}
	if _, err := os.Stat(backupDir(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the backup is still there: %v", err)
	}
}

func TestBackupWithoutItsNoteDoesNotCount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, dir)
	w.topic(t, "plain")
	w.put(t, "plain", "a", "v")
	w.close(t)
	if err := makeBackup(dir, []string{partitionDir("", "plain", 0)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(backupNote(dir)); err != nil { // the compaction was done
		t.Fatal(err)
	}
	w = startAt(t, dir, w.clock)
	w.put(t, "plain", "b", "v")
	w.close(t)
	w = startAt(t, dir, w.clock)
	if _, end := bounds(t, w.adm, "plain"); end != 2 {
		t.Fatalf("the log ends at %d, want 2: an old backup came back", end)
	}
}

func TestSwappedConfigurationsAreUndoneAtStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, dir)
	w.topic(t, "log", "retention.ms", "-1")
	w.close(t)
	own := "3600000"
	note := undo{"log": {"retention.ms": &own, "delete.retention.ms": nil}, "gone": {"retention.ms": &own}}
	if err := writeJSON(undoFile(dir), note); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start finds nothing to undo
		w = startAt(t, dir, w.clock)
		if got := w.s.cluster.TopicInfo("log").Configs["retention.ms"]; got == nil || *got != own {
			t.Fatalf("retention.ms is %v, want the topic's own", got)
		}
		w.close(t)
	}
}

// A kill may come in the middle of blanking: the batch then has neither its records nor its checksum.
func TestHalfBlankedBatchDoesNotCostLaterRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, dir)
	w.topic(t, "raw", "retention.ms", "60000")
	w.put(t, "raw", "a", "value-"+marker)
	w.clock.Advance(50 * time.Second)
	w.put(t, "raw", "b", "stays")
	w.clock.Advance(20 * time.Second)
	await(t, "the first record is gone", func() bool { first, _ := bounds(t, w.adm, "raw"); return first == 1 })
	w.close(t)
	path := segmentPath(partitionDir(dataDir(dir), "raw", 0), 0, ".dat")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[batchRecordsAt:], "half of "+marker)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	w = startAt(t, dir, w.clock)
	if found := holding(t, dir, marker); len(found) > 0 {
		t.Errorf("the bytes are in %v", found)
	}
	if got := read(t, w.s.Brokers()[0], "raw", 1, 2); !slices.Equal(got, []string{"b=stays"}) {
		t.Fatalf("read %v, want the later record", got)
	}
}

func TestTransactionsAndGroupsSurviveAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broker := startChild(t, dir)
	cl, adm := connect(t, broker.broker)
	makeTopic(t, adm, "in")
	makeTopic(t, adm, "out")
	for i := range 4 {
		putAt(t, cl, time.Now(), "in", fmt.Sprint(i), "v")
	}
	copyOnce(t, broker.broker, kgo.TryCommit, 4)
	putAt(t, cl, time.Now(), "in", "4", "v")
	copyOnce(t, broker.broker, kgo.TryAbort, 1)
	cl.Close()
	broker.kill()

	w := start(t, dir)
	copyOnce(t, w.s.Brokers()[0], kgo.TryCommit, 1)
	_, end := bounds(t, w.adm, "out")
	want := []string{"0=v", "1=v", "2=v", "3=v", "4=v"}
	if got := read(t, w.s.Brokers()[0], "out", 0, end); !slices.Equal(got, want) {
		t.Fatalf("the output is %v, want each input once", got)
	}
}

// copyOnce copies n records from in to out, exactly once if it commits.
func copyOnce(t *testing.T, broker string, end kgo.TransactionEndTry, n int) {
	t.Helper()
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(broker), kgo.TransactionalID("copy"), kgo.ConsumerGroup("copy"),
		kgo.ConsumeTopics("in"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.SessionTimeout(6*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Begin(); err != nil {
		t.Fatal(err)
	}
	for copied := 0; copied < n; {
		fetches := s.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			s.Produce(ctx, &kgo.Record{Topic: "out", Key: r.Key, Value: r.Value}, nil)
			copied++
		}
	}
	if _, err := s.End(ctx, end); err != nil {
		t.Fatal(err)
	}
}

func TestRestartKeepsTheClocksView(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(t.TempDir(), "clock.json")
	moved, err := clock.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), quick(Config{Dir: dir, Clock: moved}))
	if err != nil {
		t.Fatal(err)
	}
	cl, adm := connect(t, s.Brokers()[0])
	makeTopic(t, adm, "raw", "retention.ms", "3600000")
	putAt(t, cl, moved.Now(), "raw", "a", "value-"+marker)
	cl.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// The clock moves while the broker is down.
	if _, err := moved.Advance(2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if s, err = Start(t.Context(), quick(Config{Dir: dir, Clock: moved})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	await(t, "the record's bytes are gone", func() bool { return len(holding(t, dir, marker)) == 0 })
}
