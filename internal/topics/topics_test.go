package topics

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/kafkad"
	"github.com/millrun/millrun/internal/real"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clusters are the brokers that every behaviour is checked on.
var clusters = map[string]func(t *testing.T) []string{
	"embedded": func(t *testing.T) []string {
		t.Helper()
		s, err := kafkad.Start(t.Context(), kafkad.Config{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s.Brokers()
	},
	"real": func(t *testing.T) []string { t.Helper(); return real.Kafka(t) },
}

// onEach runs a test on every cluster, with two topics that nobody else has.
func onEach(t *testing.T, test func(t *testing.T, adm *kadm.Client, text string)) {
	t.Helper()
	for name, brokers := range clusters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, err := kgo.NewClient(kgo.SeedBrokers(brokers(t)...))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cl.Close)
			test(t, kadm.NewClient(cl), declaration(real.Name(t, "topics"), 2, "6d"))
		})
	}
}

func declaration(name string, partitions int, retention string) string {
	return fmt.Sprintf(`
replication: 1
min_insync: 1
topics:
  - {name: %s, partitions: %d, retention: %s, segment: 1h, max_message: 8MiB, dlq: {retention: 72h, segment: 1h}}
`, name, partitions, retention)
}

func mustParse(t *testing.T, text string) Spec {
	t.Helper()
	s, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPlan(t *testing.T, adm *kadm.Client, s Spec) Plan {
	t.Helper()
	p, err := MakePlan(t.Context(), adm, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustApply(t *testing.T, adm *kadm.Client, s Spec) {
	t.Helper()
	if err := Apply(t.Context(), adm, mustPlan(t, adm, s)); err != nil {
		t.Fatal(err)
	}
	if p := mustPlan(t, adm, s); !p.Empty() {
		t.Fatalf("after apply there is still to do:\n%s", p)
	}
}

func TestApplyMakesWhatPlanSaysOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, adm *kadm.Client, text string) {
		t.Helper()
		s := mustParse(t, text)
		p := mustPlan(t, adm, s)
		if len(p.Changes) != 2 || !p.Changes[0].Create || !strings.HasSuffix(p.Changes[1].Topic.Name, DLQ) {
			t.Fatalf("the plan for an empty cluster:\n%s", p)
		}
		if err := Apply(t.Context(), adm, p); err != nil {
			t.Fatal(err)
		}
		if err := Apply(t.Context(), adm, p); err != nil {
			t.Fatalf("applied a second time: %v", err)
		}
		lines, err := Drift(t.Context(), adm, s, Options{})
		if err != nil || len(lines) > 0 {
			t.Fatalf("drift after apply: %v, %v", lines, err)
		}
	})
}

func TestTopicsGrowAndAreSetRightAgain(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, adm *kadm.Client, text string) {
		t.Helper()
		s := mustParse(t, text)
		mustApply(t, adm, s)
		name := s.Topics[0].Name
		_, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{
			{Op: kadm.SetConfig, Name: "retention.ms", Value: new("-1")},
			{Op: kadm.SetConfig, Name: "delete.retention.ms", Value: new("5")},
		}, name)
		if err != nil {
			t.Fatal(err)
		}
		wanted := mustParse(t, declaration(name, 3, "6d"))
		want := []string{
			name + ": partitions 2, declared 3",
			name + ": delete.retention.ms=5, not declared",
			name + ": retention.ms=-1, declared 518400000",
			name + DLQ + ": partitions 2, declared 3",
		}
		lines, err := Drift(t.Context(), adm, wanted, Options{})
		for range 100 { // a broker shows what the controller has taken a moment later
			if err != nil || slices.Equal(lines, want) {
				break
			}
			<-time.After(100 * time.Millisecond)
			lines, err = Drift(t.Context(), adm, wanted, Options{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(lines, want) {
			t.Fatalf("drift:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
		mustApply(t, adm, wanted)
	})
}

func TestTopicsNeverShrink(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, adm *kadm.Client, text string) {
		t.Helper()
		s := mustParse(t, text)
		mustApply(t, adm, s)
		fewer := mustParse(t, declaration(s.Topics[0].Name, 1, "6d"))
		if p := mustPlan(t, adm, fewer); !p.Empty() {
			t.Fatalf("the plan wants to shrink:\n%s", p)
		}
		lines, err := Drift(t.Context(), adm, fewer, Options{})
		if err != nil || len(lines) != 2 {
			t.Fatalf("drift does not say that there are too many partitions: %v, %v", lines, err)
		}
	})
}

func TestPlanReadsWell(t *testing.T) {
	t.Parallel()
	s := mustParse(t, declaration("t", 2, "6d"))
	p := Plan{Changes: []Change{
		{Topic: s.Topics[0], Create: true},
		{Topic: s.Topics[1], Grow: 1, Configs: []ConfigChange{
			{Name: "delete.retention.ms", From: "5", Unset: true}, {Name: "retention.ms", From: "-1", To: "259200000"},
		}},
	}}
	want := `+ t: partitions 2, replication 1, cleanup.policy=delete, max.message.bytes=8388608, min.insync.replicas=1, retention.ms=518400000, segment.ms=3600000
~ t.dlq: partitions 1 -> 2
- t.dlq: delete.retention.ms=5 is not declared
~ t.dlq: retention.ms -1 -> 259200000
`
	if p.String() != want {
		t.Errorf("plan:\n%swant:\n%s", p, want)
	}
	if got := (Plan{}).String(); got != "topics are as declared\n" {
		t.Errorf("an empty plan says %q", got)
	}
}

// TestDeclaredTopicsAreThePipelines checks the file that is deployed against what the pipeline promises of its copies.
func TestDeclaredTopicsAreThePipelines(t *testing.T) {
	t.Parallel()
	s, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	retentions := map[string]time.Duration{
		"company-images": 6 * day, "raw-images": 6 * day, "image-status": 3 * day, "processed-images": 3 * day,
		"image-stats": 30 * day, "orders.placed": 7 * day, "orders.completed": 7 * day, "items.changes": 7 * day,
		"members.changes": 7 * day,
	}
	for name := range retentions {
		retentions[name+DLQ] = 3 * day
		if strings.Contains(name, ".") {
			retentions[name+DLQ] = 7 * day
		}
	}
	if len(s.Topics) != 18 {
		t.Fatalf("%d topics, want 9 with a dead letter topic each: %v", len(s.Topics), s.Names())
	}
	for _, topic := range s.Topics {
		if want := fmt.Sprint(retentions[topic.Name].Milliseconds()); topic.Configs["retention.ms"] != want {
			t.Errorf("%s: retention.ms %s, want %s", topic.Name, topic.Configs["retention.ms"], want)
		}
		if topic.Replication != 3 || topic.Configs["min.insync.replicas"] != "2" {
			t.Errorf("%s: replication %d, min.insync.replicas %s", topic.Name, topic.Replication, topic.Configs["min.insync.replicas"])
		}
	}
	if got := s.within(Options{Replication: 1}).Topics[0]; got.Replication != 1 || got.Configs["min.insync.replicas"] != "1" {
		t.Errorf("on one node: replication %d, min.insync.replicas %s", got.Replication, got.Configs["min.insync.replicas"])
	}
}

func TestFaultsOfADeclarationComeAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := parse([]byte(`
replication: 1
min_insync: 2
topics:
  - {name: a, partitions: 0, retention: 1h, segment: 2h, dlq: {retention: 1h, segment: 1h}}
  - {name: a, partitions: 1, retention: 1h, segment: 1h}
  - {name: b.dlq, partitions: 1, retention: 1h, segment: 1h, dlq: {retention: 1h, segment: 1h}}
`))
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, part := range []string{
		"min_insync is 2", "a: partitions is 0", "a: a segment of 2h0m0s outlives",
		"a is declared twice", "a.dlq: retention and segment must both be given", "b.dlq: dead letter topics come with",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
}

func TestWordsNobodyKnowsAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "topic: []", "topics: [{name: a, retention: soon}]", "topics: [{name: a, retention: 0d}]",
		"topics: [{name: a, max_message: 8MB}]", "topics: [{name: a, retention: -1h}]"} {
		path := filepath.Join(t.TempDir(), "topics.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error %v does not name the file", text, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent")); err == nil {
		t.Error("a file that does not exist was accepted")
	}
}

func TestTooFewBrokersAreSaid(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, adm *kadm.Client, text string) {
		t.Helper()
		s := mustParse(t, strings.Replace(text, "replication: 1", "replication: 3", 1))
		err := Apply(t.Context(), adm, mustPlan(t, adm, s))
		if err == nil || !strings.Contains(err.Error(), "--replication") {
			t.Fatalf("error %v does not say the way out", err)
		}
		bounded, err := MakePlan(t.Context(), adm, s, Options{Replication: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := Apply(t.Context(), adm, bounded); err != nil {
			t.Fatalf("the way out: %v", err)
		}
	})
}
