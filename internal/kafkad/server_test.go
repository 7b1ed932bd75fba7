package kafkad

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/clock"
)

// brokerEnv makes the test binary be a broker on the folder it names, by the clock kept beside it, until it is killed.
const brokerEnv = "MILLRUN_KAFKAD_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(brokerEnv); dir != "" {
		playBroker(dir)
	}
	goleak.VerifyTestMain(m)
}

func playBroker(dir string) {
	s, err := Start(context.Background(), quick(Config{Dir: dir}))
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(3)
	}
	os.Stdout.WriteString(s.Brokers()[0] + "\n")
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt)
	<-end // or a kill, which is what the tests do
}

// quick makes a broker of tests: what waits by real time waits a moment only.
func quick(c Config) Config {
	c.Log = slog.New(slog.DiscardHandler)
	c.settle, c.compactAfter, c.poll = time.Millisecond, time.Millisecond, 50*time.Millisecond
	return c
}

// world is a broker, its clock, and a client.
type world struct {
	clock *clock.Manual
	s     *Server
	cl    *kgo.Client
	adm   *kadm.Client
}

func start(t *testing.T, dir string) *world {
	t.Helper()
	return startAt(t, dir, clock.NewManual(time.Now()))
}

func startAt(t *testing.T, dir string, c *clock.Manual) *world {
	t.Helper()
	w := &world{clock: c}
	var err error
	if w.s, err = Start(t.Context(), quick(Config{Dir: dir, Clock: c})); err != nil {
		t.Fatal(err)
	}
	w.cl, w.adm = connect(t, w.s.Brokers()[0])
	t.Cleanup(func() { w.close(t) })
	return w
}

func (w *world) close(t *testing.T) {
	t.Helper()
	w.cl.Close()
	if err := w.s.Close(); err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, broker string) (*kgo.Client, *kadm.Client) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl, kadm.NewClient(cl)
}

func (w *world) topic(t *testing.T, name string, configs ...string) {
	t.Helper()
	makeTopic(t, w.adm, name, configs...)
}

func makeTopic(t *testing.T, adm *kadm.Client, name string, configs ...string) {
	t.Helper()
	values := make(map[string]*string)
	for i := 0; i < len(configs); i += 2 {
		values[configs[i]] = new(configs[i+1])
	}
	if _, err := adm.CreateTopic(t.Context(), 1, 1, values, name); err != nil {
		t.Fatal(err)
	}
}

// put produces one record with the clock's time; a value of "" is a tombstone.
func (w *world) put(t *testing.T, topic, key, value string) {
	t.Helper()
	putAt(t, w.cl, w.clock.Now(), topic, key, value)
}

func putAt(t *testing.T, cl *kgo.Client, at time.Time, topic, key, value string) {
	t.Helper()
	r := &kgo.Record{Topic: topic, Key: []byte(key), Timestamp: at}
	if value != "" {
		r.Value = []byte(value)
	}
	if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func bounds(t *testing.T, adm *kadm.Client, topic string) (first, end int64) {
	t.Helper()
	starts, err := adm.ListStartOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := starts.Lookup(topic, 0)
	e, _ := ends.Lookup(topic, 0)
	return s.Offset, e.Offset
}

// read consumes a topic from offset from to its end and gives key=value in order.
func read(t *testing.T, broker, topic string, from, end int64) []string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var got []string
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for next := from; next < end; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s from %d: %v", topic, from, err)
		}
		for _, r := range fetches.Records() {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				got = append(got, string(r.Key)+"="+string(r.Value))
			}
		}
	}
	return got
}

// await polls until ok, or fails after a minute: the time that the product promises.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// holding names the files under dir that hold the bytes.
func holding(t *testing.T, dir, marker string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(marker)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed while walking: asked again
		t.Fatal(err)
	}
	if err != nil {
		return []string{"not known: " + err.Error()}
	}
	return found
}

// victim is a broker in a process of its own, to be killed.
type victim struct {
	cmd    *exec.Cmd
	broker string
}

func startChild(t *testing.T, dir string) *victim {
	t.Helper()
	c := &victim{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), brokerEnv+"="+dir)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "127.0.0.1:") {
		t.Fatalf("the broker said %q, %v", line, err)
	}
	c.broker = strings.TrimSpace(line)
	return c
}

func (c *victim) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // killed: the exit code says nothing
	}
}

func TestDeletedRecordsStayDeletedAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broker := startChild(t, dir)
	cl, adm := connect(t, broker.broker)
	makeTopic(t, adm, "purged")
	for _, key := range []string{"a", "b", "c"} {
		putAt(t, cl, time.Now(), "purged", key, "v")
	}
	offsets := make(kadm.Offsets)
	offsets.AddOffset("purged", 0, 2, -1)
	if _, err := adm.DeleteRecords(t.Context(), offsets); err != nil {
		t.Fatal(err)
	}
	cl.Close()
	broker.kill()

	w := start(t, dir)
	if first, end := bounds(t, w.adm, "purged"); first != 2 || end != 3 {
		t.Fatalf("the log is %d to %d after kill -9, want 2 to 3", first, end)
	}
}

func TestEmptiedPartitionGoesOnAtItsOffsets(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *world){
		"clean": func(t *testing.T, w *world) { t.Helper(); w.close(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := start(t, dir)
			w.topic(t, "short", "retention.ms", "60000")
			w.put(t, "short", "a", "v")
			w.put(t, "short", "b", "v")
			w.clock.Advance(2 * time.Minute)
			await(t, "the partition is empty", func() bool { first, _ := bounds(t, w.adm, "short"); return first == 2 })
			end(t, w)

			again := startAt(t, dir, w.clock)
			if first, end := bounds(t, again.adm, "short"); first != 2 || end != 2 {
				t.Fatalf("the log is %d to %d after a restart, want 2 to 2", first, end)
			}
			again.put(t, "short", "c", "v")
			if got := read(t, again.s.Brokers()[0], "short", 2, 3); len(got) != 1 || got[0] != "c=v" {
				t.Fatalf("read %v, want the one new record", got)
			}
		})
	}
}

func TestEmptiedPartitionGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broker := startChild(t, dir)
	cl, adm := connect(t, broker.broker)
	makeTopic(t, adm, "short")
	for _, key := range []string{"a", "b", "c"} {
		putAt(t, cl, time.Now(), "short", key, "v")
	}
	offsets := make(kadm.Offsets)
	offsets.AddOffset("short", 0, -1, -1)
	if _, err := adm.DeleteRecords(t.Context(), offsets); err != nil {
		t.Fatal(err)
	}
	cl.Close()
	broker.kill()

	w := start(t, dir)
	if first, end := bounds(t, w.adm, "short"); first != 3 || end != 3 {
		t.Fatalf("the log is %d to %d after kill -9, want 3 to 3", first, end)
	}
}

func TestTopicMadeAgainBeginsAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, dir)
	w.topic(t, "again", "retention.ms", "60000")
	w.put(t, "again", "a", "v")
	w.clock.Advance(2 * time.Minute)
	await(t, "the record is gone", func() bool { first, _ := bounds(t, w.adm, "again"); return first == 1 })
	if _, err := w.adm.DeleteTopic(t.Context(), "again"); err != nil {
		t.Fatal(err)
	}
	w.topic(t, "again", "retention.ms", "60000")
	w.close(t)

	w = startAt(t, dir, w.clock)
	if first, end := bounds(t, w.adm, "again"); first != 0 || end != 0 {
		t.Fatalf("a new topic begins at %d to %d", first, end)
	}
}

func TestAcknowledgedRecordsAndOffsetsOutliveAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broker := startChild(t, dir)
	cl, adm := connect(t, broker.broker)
	makeTopic(t, adm, "kept", "retention.ms", "86400000")
	putAt(t, cl, time.Now(), "kept", "a", "v")
	var offsets kadm.Offsets
	offsets.AddOffset("kept", 0, 1, -1)
	if err := adm.CommitAllOffsets(t.Context(), "group", offsets); err != nil {
		t.Fatal(err)
	}
	cl.Close()
	broker.kill()

	w := start(t, dir)
	if got := read(t, w.s.Brokers()[0], "kept", 0, 1); len(got) != 1 || got[0] != "a=v" {
		t.Fatalf("read %v after kill -9", got)
	}
	fetched, err := w.adm.FetchOffsets(t.Context(), "group")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := fetched.Lookup("kept", 0); !ok || o.At != 1 {
		t.Fatalf("the committed offset is %v after kill -9", o)
	}
}

func TestSecondBrokerOfOneFolderIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, dir)
	if s, err := Start(t.Context(), quick(Config{Dir: dir})); err == nil {
		s.Close()
		t.Fatal("two brokers run on one folder")
	} else if !strings.Contains(err.Error(), dir) {
		t.Fatalf("error %v does not name the folder", err)
	}
}

func TestTakenPortAndImpossiblePortAreErrors(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	taken := w.s.door.Addr().String()
	port := 0
	for _, r := range taken[strings.LastIndex(taken, ":")+1:] {
		port = port*10 + int(r-'0')
	}
	for _, p := range []int{port, 70000, -1} {
		if s, err := Start(t.Context(), quick(Config{Port: p})); err == nil {
			s.Close()
			t.Errorf("port %d was accepted", p)
		}
	}
}

func TestLimitsAreSaidAtStart(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, err := Start(t.Context(), Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"without replication", "authentication", "not a store of record"} {
		if !strings.Contains(log.String(), word) {
			t.Errorf("the log does not say %q:\n%s", word, log.String())
		}
	}
}
