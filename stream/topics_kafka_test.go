package stream_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

func TestRepartitionMakesATopicOfTheSizeAskedFor(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "in", "out")
	c.produce("in", pair{"a", "1"}, pair{"b", "2"}, pair{"a", "3"})
	b := stream.NewBuilder()
	counts := b.Stream[string, string]("in").Repartition(stream.Named("wide"), stream.Partitions(5)).
		GroupByKey().Count(stream.As("counts"))
	counts.ToStream().MapValues(func(_ string, n int64) string { return strings.Repeat("x", int(n)) }).To("out")
	c.app(b, stream.Config{ApplicationID: "fixed"})
	c.latest("out", func(v []byte) int64 { return int64(len(v)) }, map[string]int64{"a": 2, "b": 1})
	found, err := c.admin.ListTopics(c.ctx(), "fixed-wide-repartition", "fixed-counts-changelog")
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range found {
		if len(d.Partitions) != 5 {
			t.Errorf("%s has %d partitions, want 5: %v", name, len(d.Partitions), d.Err)
		}
	}
}

func TestARepartitionTopicMustFitWhatItIsJoinedWith(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "left", "right")
	b := stream.NewBuilder()
	left := b.Stream[string, string]("left").Repartition(stream.Named("by-hand"), stream.Partitions(3))
	left.JoinTable(b.Table[string, string]("right"), func(_, l, r string) string { return l + r }).ForEach(func(_, _ string) {})
	err := c.ended(b, stream.Config{ApplicationID: "misfit"})
	if err == nil || !strings.Contains(err.Error(), `"misfit-by-hand-repartition" was given 3 partitions`) || !strings.Contains(err.Error(), "topics_kafka_test.go") {
		t.Errorf("got %v", err)
	}
}

func TestSourcesThatAreJoinedMustBeOfOneSize(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "left")
	c.topics(3, "right")
	b := stream.NewBuilder()
	b.Stream[string, string]("left").
		JoinTable(b.Table[string, string]("right"), func(_, l, r string) string { return l + r }).ForEach(func(_, _ string) {})
	err := c.ended(b, stream.Config{ApplicationID: "sizes"})
	if err == nil || !strings.Contains(err.Error(), "left has 2, right has 3") {
		t.Errorf("got %v", err)
	}
}

func TestAPatternFindsTopicsThatAreMadeLater(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(2, "in.one", "other", "out")
	c.produce("in.one", pair{"a", "1"})
	c.produce("other", pair{"z", "0"})
	b := stream.NewBuilder()
	b.StreamPattern[string, string](regexp.MustCompile(`in\.(one|two)`)).
		SelectKey(func(k, _ string) string { return k + k }).
		GroupByKey().Count(stream.As("counts")).ToStream().
		MapValues(func(_ string, n int64) string { return strings.Repeat("x", int(n)) }).To("out")
	c.app(b, stream.Config{ApplicationID: "pattern", ClientOptions: []kgo.Opt{kgo.MetadataMaxAge(200 * time.Millisecond)}})
	length := func(v []byte) int64 { return int64(len(v)) }
	c.latest("out", length, map[string]int64{"aa": 1})
	c.topics(2, "in.two", "in.two.more")
	c.produce("in.two", pair{"a", "2"}, pair{"b", "3"})
	c.produce("in.two.more", pair{"c", "4"})
	c.latest("out", length, map[string]int64{"aa": 2, "bb": 1})
}

func TestTopicsChosenPerRecord(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(3, "in", "out-x", "out-y")
	c.produce("in", pair{"a", "x1"}, pair{"b", "y2"}, pair{"c", "x3"})
	b := stream.NewBuilder()
	s := b.Stream[string, string]("in")
	s.ToDynamic(func(_, v string, _ stream.RecordMetadata) string { return "out-" + v[:1] },
		stream.Partition(func(_ string, _, _ string, n int) int { return n - 1 }))
	c.app(b, stream.Config{ApplicationID: "dynamic"})
	for topic, want := range map[string][]string{"out-x": {"x1", "x3"}, "out-y": {"y2"}} {
		var got []string
		c.read(topic, func(r *kgo.Record) bool {
			if r.Partition != 2 {
				t.Errorf("%s in partition %d", r.Value, r.Partition)
			}
			got = append(got, string(r.Value))
			return len(got) == len(want)
		})
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", topic, got, want)
		}
	}
}

func TestADynamicTopicThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "in")
	c.produce("in", pair{"a", "x1"})
	b := stream.NewBuilder()
	b.Stream[string, string]("in").ToDynamic(func(_, v string, _ stream.RecordMetadata) string { return "nowhere" })
	err := c.ended(b, stream.Config{ApplicationID: "lost"})
	if !errors.Is(err, stream.ErrTopics) || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("got %v", err)
	}
}

var globalRates = state.TimestampedKeyValue[string, string]("rates")

func TestAGlobalTableIsWholeBeforeTasksStartAndGoesOn(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(3, "rates")
	c.topics(1, "in", "out")
	c.produce("rates", pair{"eur", "1"}, pair{"usd", "2"}, pair{"gbp", "3"}, pair{"usd", "4"})
	c.produce("in", pair{"a", "usd"}, pair{"b", "eur"}, pair{"c", "chf"})
	b := stream.NewBuilder()
	rates := b.GlobalTable[string, string]("rates", stream.Into(globalRates))
	s := b.Stream[string, string]("in")
	s.LeftJoinGlobal(rates, func(_, v string) (string, bool) { return v, true },
		func(_, v, rate string, ok bool) string {
			if !ok {
				return v + "?"
			}
			return v + rate
		}).To("out")
	a, _ := c.app(b, stream.Config{ApplicationID: "global", Threads: 2})
	var got []string
	c.read("out", func(r *kgo.Record) bool {
		got = append(got, string(r.Value))
		return len(got) == 3
	})
	if want := []string{"usd4", "eur1", "chf?"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v: the table was not whole when the stream began", got, want)
	}
	c.produce("rates", pair{"chf", "5"})
	q, err := a.Query(globalRates)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.After(patience); ; {
		if v, ok, err := q.Get("chf"); err != nil {
			t.Fatal(err)
		} else if ok && v == "5" {
			break
		}
		select {
		case <-end:
			t.Fatal("the table does not follow its topic")
		case <-time.After(time.Millisecond):
		}
	}
	c.produce("in", pair{"d", "chf"})
	c.read("out", func(r *kgo.Record) bool { return string(r.Value) == "chf5" })
}

func TestATableRestoredFromItsSourceKnowsWhatWasCommitted(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.topics(1, "table", "out")
	build := func() *stream.Builder {
		b := stream.NewBuilder()
		rows := b.Table[string, string]("table", stream.As("rows"))
		rows.GroupBy(func(_, v string) (string, string) { return v, v }).Count(stream.As("counts")).
			ToStream().MapValues(func(_ string, n int64) string { return strings.Repeat("x", int(n)) }).To("out")
		return b
	}
	cfg := stream.Config{ApplicationID: "reuse", Optimize: stream.AllOptimizations}
	c.produce("table", pair{"a", "red"}, pair{"b", "red"}, pair{"c", "blue"})
	length := func(v []byte) int64 { return int64(len(v)) }
	_, stop := c.app(build(), cfg)
	c.latest("out", length, map[string]int64{"red": 2, "blue": 1})
	stop()
	found, err := c.admin.ListTopics(c.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if found.Has("reuse-rows-changelog") {
		t.Error("there is a changelog although the source is one")
	}
	c.produce("table", pair{"a", "blue"}) // red loses what only the restored row knows
	c.app(build(), cfg)
	c.latest("out", length, map[string]int64{"red": 1, "blue": 2})
}
