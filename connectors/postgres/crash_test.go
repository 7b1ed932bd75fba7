package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/connectors/postgres"
	"github.com/millrun/millrun/connectors/postgres/changes"
	"github.com/millrun/millrun/internal/child"
	"github.com/millrun/millrun/internal/clock"
	parts "github.com/millrun/millrun/internal/real"
)

// childSpec is what a child process needs to know.
type childSpec struct {
	Brokers []string          `json:"brokers"`
	Names   map[string]string `json:"names"` // topic → its name in the cluster
	DSN     map[string]string `json:"dsn"`
	Clock   string            `json:"clock"`
	Log     string            `json:"log"`
}

// playApplier runs one applier a topic until the process is killed.
func playApplier(text string) {
	var spec childSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		panic(err)
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	now, err := clock.OpenFile(spec.Clock)
	if err != nil {
		panic(err)
	}
	failed := make(chan error)
	for topic, name := range spec.Names {
		a, err := postgres.NewApplier(postgres.Config{Topic: topic, Name: name, Kafka: []kgo.Opt{kgo.SeedBrokers(spec.Brokers...)},
			DSN: spec.DSN[topic], InstanceID: "the-child", Clock: now, ParkFor: 24 * time.Hour, BatchRecords: 20,
			Log: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			panic(err)
		}
		go func() { failed <- a.Run(context.Background()) }()
	}
	fmt.Fprintln(log, "ended:", <-failed)
	os.Exit(1)
}

// Twenty times kill -9 in the middle of 5,000 events over all four topics, with copies of events under new offsets and
// illegal ones among them: every effect happens exactly once, and every illegal event is a dead letter.
func TestEveryEffectHappensOnceThroughTwentyKills(t *testing.T) {
	t.Parallel()
	brokers := parts.Kafka(t)
	s := newShop(t)
	w := newWorkload(t, 4)
	w.fill(5000)
	k := connectKafka(t, brokers, nil)
	spec := childSpec{Brokers: brokers, Names: map[string]string{}, DSN: map[string]string{},
		Clock: filepath.Join(t.TempDir(), "clock"), Log: filepath.Join(t.TempDir(), "log")}
	for _, topic := range changes.Topics() {
		spec.Names[topic], spec.DSN[topic] = parts.Name(t, topic), s.dsn(topic)
	}
	k.makeTopics(spec.Names)
	k.publish(w, spec.Names)

	settled := func() (n int) {
		_, err := fmt.Sscan(s.text("SELECT coalesce(sum(last_offset + 1), 0) FROM pipeline.applied_offsets"), &n)
		s.must(err)
		return n
	}
	kills, total := 0, w.total()
	for ; kills < 20; kills++ {
		before := settled()
		p := startChild(t, spec)
		step := (total - before) / (22 - kills)
		eventually(t, "true", func() string { return fmt.Sprint(settled() >= before+step) })
		kill(t, p)
		if left := total - settled(); left == 0 {
			t.Fatalf("nothing was left to do at kill %d: the kill proves nothing", kills+1)
		}
	}
	p := startChild(t, spec)
	defer kill(t, p)
	eventually(t, fmt.Sprint(total), func() string { return fmt.Sprint(settled()) })
	stays := 0
	for key, n := range w.illegal {
		if strings.Contains(key, "/parked") {
			stays += n
		}
	}
	eventually(t, fmt.Sprint(stays), func() string { return s.text(parkedCount) }) // all others found what they waited for
	now, err := clock.OpenFile(spec.Clock)
	s.must(err)
	_, err = now.Advance(25 * time.Hour)
	s.must(err)
	eventually(t, "0", func() string { return s.text(parkedCount) })
	w.check(s)
	repeated := k.checkDead(w, spec.Names)
	t.Logf("%d records, %d distinct effects, %d kills, %d dead letters repeated by a crash", total, w.legal, kills, repeated)
	if t.Failed() {
		b, _ := os.ReadFile(spec.Log)
		t.Logf("the children said:\n%s", b)
	}
}

func startChild(t *testing.T, spec childSpec) *child.Process {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
	p, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func kill(t *testing.T, p *child.Process) {
	t.Helper()
	select {
	case <-p.Done():
		t.Fatalf("the child ended by itself: %v", p.Err())
	default:
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
}

func (k *kafka) makeTopics(names map[string]string) {
	k.t.Helper()
	adm := kadm.NewClient(k.client)
	for _, name := range names {
		for _, n := range []string{name, name + postgres.DeadLetterSuffix} {
			if _, err := adm.CreateTopic(k.t.Context(), 3, 1, nil, n); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	k.t.Cleanup(func() {
		for name := range maps.Values(names) {
			_, err := adm.DeleteTopics(context.Background(), name, name+postgres.DeadLetterSuffix)
			if err != nil {
				k.t.Errorf("delete %s: %v", name, err)
			}
		}
	})
}

// publish sends the workload's topics side by side, each in its order.
func (k *kafka) publish(w *workload, names map[string]string) {
	k.t.Helper()
	var records []*kgo.Record
	for topic, list := range w.topics {
		for _, r := range list {
			r.Topic = names[topic]
			records = append(records, r)
		}
	}
	if err := k.client.ProduceSync(k.t.Context(), records...).FirstErr(); err != nil {
		k.t.Fatal(err)
	}
}

// checkDead compares the dead letters with the illegal events of the workload, one letter a source record; it returns how
// many were repetitions.
func (k *kafka) checkDead(w *workload, names map[string]string) (repeated int) {
	k.t.Helper()
	got := map[string]int{}
	for topic, name := range names {
		seen := map[string]bool{}
		for _, r := range k.all(name + postgres.DeadLetterSuffix) {
			source := header(r, "__streams.errors.partition") + "/" + header(r, "__streams.errors.offset")
			if seen[source] {
				repeated++
				continue
			}
			seen[source] = true
			got[topic+"/"+header(r, "__millrun.stage")+" "+header(r, "__millrun.sqlstate")]++
			if !w.bad(topic, r) {
				k.t.Errorf("a legal event is a dead letter: %s %s", header(r, "__streams.errors.message"), r.Value)
			}
		}
	}
	for fate, n := range w.illegal {
		if strings.Contains(fate, "/") && got[fate] != n {
			k.t.Errorf("%d dead letters %s, want %d", got[fate], fate, n)
		}
	}
	return repeated
}

// all reads a topic from its beginning to its present end.
func (k *kafka) all(topic string) []*kgo.Record {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(k.client).ListEndOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		k.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	c, err := kgo.NewClient(kgo.SeedBrokers(k.brokers...), kgo.ConsumeTopics(topic))
	if err != nil {
		k.t.Fatal(err)
	}
	defer c.Close()
	var out []*kgo.Record
	for int64(len(out)) < left && ctx.Err() == nil {
		out = append(out, c.PollFetches(ctx).Records()...)
	}
	return out
}
