package real

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/child"
)

// holderEnv makes the test binary hold a lease on the folder it names until it is killed.
const holderEnv = "MILLRUN_REAL_TEST_HOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holderEnv); dir != "" {
		playHolder(dir)
	}
	goleak.VerifyTestMain(m)
}

func playHolder(dir string) {
	held, err := child.TryLock(filepath.Join(dir, leaseFile), true)
	if err != nil {
		os.Exit(3)
	}
	defer held.Unlock() // so that it is not collected
	os.Stdout.WriteString("held\n")
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt)
	<-end // or a kill, which is what the test does
}

func TestKafkaTakesAndGivesRecords(t *testing.T) {
	t.Parallel()
	brokers := Kafka(t)
	topic := Name(t, "real")
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("hello")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	fetches := cl.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if got := fetches.Records(); len(got) != 1 || string(got[0].Value) != "hello" {
		t.Fatalf("read %d records back, want the one written", len(got))
	}
	segments, err := filepath.Glob(filepath.Join(KafkaLogDir(t), topic+"-0", "*.log"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segment of the topic in the log folder: %v", err)
	}
}

func TestKafkaForgetsWithinSeconds(t *testing.T) {
	t.Parallel()
	brokers := Kafka(t)
	topic, marker := Name(t, "forgets"), Name(t, "marker")
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	configs := map[string]*string{"retention.ms": new("4000"), "segment.ms": new("1000")}
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, configs, topic); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(marker)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	files := filepath.Join(KafkaLogDir(t), topic+"-0", "*")
	if !anyHolds(t, files, marker) {
		t.Fatal("the record is in no file of the log folder")
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for anyHolds(t, files, marker) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the record is still in the log folder")
		}
	}
}

// anyHolds says whether one of the files holds the bytes; files may go meanwhile.
func anyHolds(t *testing.T, pattern, marker string) bool {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(marker)) {
			return true
		}
	}
	return false
}

func TestKafkaMakesNoTopicUnasked(t *testing.T) {
	t.Parallel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(Kafka(t)...), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: Name(t, "absent"), Value: []byte("x")}).FirstErr(); err == nil {
		t.Fatal("a topic that nobody created took a record")
	}
}

func TestAzuriteSpeaksToTheClientOfToday(t *testing.T) {
	t.Parallel()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	options := &azblob.ClientOptions{}
	options.Transport = &http.Client{Transport: transport}
	cl, err := azblob.NewClientFromConnectionString(Azurite(t), options)
	if err != nil {
		t.Fatal(err)
	}
	container := Name(t, "real")
	if _, err := cl.CreateContainer(t.Context(), container, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.UploadBuffer(t.Context(), container, "blob", []byte("hello"), nil); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := cl.DownloadBuffer(t.Context(), container, "blob", buf, nil); err != nil || string(buf) != "hello" {
		t.Fatalf("read back %q, %v", buf, err)
	}
}

func TestEachPostgresDatabaseIsNew(t *testing.T) {
	t.Parallel()
	for _, url := range []string{Postgres(t), Postgres(t), PostgresServer(t)} {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "create table mine()"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// supervisor is the command that supervises, built for the test.
func supervisor(t *testing.T) string {
	t.Helper()
	exe, err := buildSupervisor(t.Context(), filepath.Join(t.TempDir(), "part"))
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func TestLeasedPartEndsWithItsKilledUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderEnv+"="+dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	s, err := Start(t.Context(), Options{Dir: dir, Leased: true, Parts: []Part{PartPostgres}, Supervisor: supervisor(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // killed: the exit code says nothing
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := awaitGone(ctx, dir); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.Parts[PartPostgres].PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("PostgreSQL outlived its supervisor: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, string(PartPostgres))); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the data of a leased part stayed: %v", err)
	}
}

func TestStackStartsOnceAndStopsByItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := Options{Dir: dir, Parts: []Part{PartPostgres}, Supervisor: supervisor(t)}
	if err := Stop(t.Context(), dir); err != nil {
		t.Fatalf("Stop where nothing runs: %v", err)
	}
	first, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if first.PID != second.PID {
		t.Fatalf("a second start made a second supervisor: %d and %d", first.PID, second.PID)
	}
	config, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil || !strings.Contains(string(config), "database:") {
		t.Fatalf("config.yaml: %s, %v", config, err)
	}
	if err := Stop(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Status(dir); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("after Stop: %v", err)
	}
	if err := syscall.Kill(first.Parts[PartPostgres].PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("PostgreSQL outlived Stop: %v", err)
	}
}

func TestFailedStartShowsWhatThePartSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	p, err := runProgram("Thing", exec.Command("sh", "-c", "echo out of cheese; exit 7"), log)
	if err != nil {
		t.Fatal(err)
	}
	err = p.awaitReady(t.Context(), func(context.Context) error { return errors.New("nobody answers") })
	if err == nil || !strings.Contains(err.Error(), "out of cheese") || !strings.Contains(err.Error(), "exit status 7") {
		t.Fatalf("error %v does not say what the part said", err)
	}
}

func TestMissingPartsAreNamedOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "missing")
	for range 2 {
		if err := note(file, PartKafka, "java not found"); err != nil {
			t.Fatal(err)
		}
	}
	if err := note(file, PartAzurite, "npm not found"); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := report(file, &out); err != nil {
		t.Fatal(err)
	}
	want := "not tested against, because missing: Apache Kafka 4.3.1 (java not found); Azurite 3.37.0 (npm not found)\n"
	if out.String() != want {
		t.Fatalf("said %q, want %q", out.String(), want)
	}
}

// Not parallel: it takes the tools off the PATH of the process.
func TestMissingToolsAreFound(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if got := PartKafka.Missing(t.Context()); got != "java not found, mvn not found" {
		t.Errorf("Kafka lacks %q", got)
	}
	if got := PartAzurite.Missing(t.Context()); got != "node not found, npm not found" {
		t.Errorf("Azurite lacks %q", got)
	}
	if got := PartPostgres.Missing(t.Context()); got != "" {
		t.Errorf("PostgreSQL lacks %q", got)
	}
}

func TestUnknownPartIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := ParseParts("kafka,rabbit"); err == nil || !strings.Contains(err.Error(), "rabbit") {
		t.Fatalf("error %v does not name the part", err)
	}
}
