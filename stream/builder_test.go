package stream_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/serde"
	"github.com/millrun/millrun/stream/state"
	"github.com/millrun/millrun/stream/streamtest"
)

func TestBuildReportsEveryFaultWithItsLine(t *testing.T) {
	t.Parallel()
	type event interface{ event() }
	b := stream.NewBuilder()
	s := b.Stream[string, string]("in")
	s.To("no such/name")
	b.Stream[string, int64]("in")
	s.Filter(func(string, string) bool { return true }, stream.Named("twice"))
	s.Peek(func(string, string) {}, stream.Named("twice"))
	b.Stream[string, event]("events").To("out")
	s.To("wrong-serde", stream.ValueSerde(serde.Int64()))
	s.GroupByKey().Count(stream.Into(state.TimestampedKeyValue[string, string]("texts")))
	sw := s.Split()
	sw.Default()
	sw.Default(stream.Named("other"))
	stream.NewBuilder().Stream[string, string]("else").Merge(s)
	_, err := b.Build(stream.Config{ApplicationID: "app"})
	if err == nil {
		t.Fatal("want an error")
	}
	for _, part := range []string{
		`"no such/name" is no topic's name`,
		`topic "in" holds string → int64 here and string → string at`,
		`the name "twice" is taken at`,
		"no default for stream_test.event",
		"serde.int64Serde, which is none of string",
		"Into needs a state.TimestampedKeyValue[string, int64]",
		"the switch has a Default already",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in:\n%v", part, err)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, "builder_test.go:") {
			t.Errorf("no file and line: %s", line)
		}
	}
	var fault *stream.TopologyError
	if !errors.As(err, &fault) || fault.Line == 0 || !strings.HasSuffix(fault.File, "builder_test.go") || fault.Unwrap() == nil {
		t.Errorf("want a TopologyError, got %+v", fault)
	}
}

func TestAMergeOfStrangersIsAFaultOfTheFirst(t *testing.T) {
	t.Parallel()
	a, b := stream.NewBuilder(), stream.NewBuilder()
	a.Stream[string, string]("in").Merge(b.Stream[string, string]("in")).To("out")
	if _, err := a.Build(stream.Config{ApplicationID: "app"}); err == nil || !strings.Contains(err.Error(), "another Builder") {
		t.Fatalf("got %v", err)
	}
}

// badLife has an Init that looks right and would never be called.
type badLife struct{}

func (badLife) Init(*stream.ProcessorContext[string, int64]) {}
func (badLife) Close()                                       {}
func (badLife) Process(*stream.ProcessorContext[string, string], stream.Record[string, string]) error {
	return nil
}

func TestAnInitThatWouldNeverBeCalledIsAFault(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").Process(func() badLife { return badLife{} }).To("out")
	_, err := b.Build(stream.Config{ApplicationID: "app"})
	if err == nil || !strings.Contains(err.Error(), "badLife.Init is not") || !strings.Contains(err.Error(), "badLife.Close is not") {
		t.Fatalf("got %v", err)
	}
}

func TestOneStoreNameForTwoDeclarationsIsAFault(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	s := b.Stream[string, string]("in")
	s.Process(newNothing, stream.Uses(state.KeyValue[string, string]("same")))
	s.Process(newNothing, stream.Uses(state.KeyValue[string, string]("same")))
	if _, err := b.Build(stream.Config{ApplicationID: "app"}); err == nil || !strings.Contains(err.Error(), "declared twice") {
		t.Fatalf("got %v", err)
	}
}

func TestProcessorsThatShareAStoreAreOneSubtopology(t *testing.T) {
	t.Parallel()
	h := state.KeyValue[string, string]("shared")
	b := stream.NewBuilder()
	b.Stream[string, string]("a").Process(newNothing, stream.Uses(h), stream.Named("first")).To("out-a")
	b.Stream[string, string]("b").Process(newNothing, stream.Uses(h), stream.Named("second")).To("out-b")
	b.Stream[string, string]("c").To("out-c")
	top, err := b.Build(stream.Config{ApplicationID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, n := range top.Graph().Nodes {
		got[n.Name] = n.Subtopology
		if n.Line == 0 || !strings.HasSuffix(n.File, "builder_test.go") {
			t.Errorf("node %s is said to come from %s:%d", n.Name, n.File, n.Line)
		}
	}
	if got["first"] != 0 || got["second"] != 0 || got["KSTREAM-SOURCE-0000000004"] != 1 {
		t.Fatalf("got %v", got)
	}
}

func TestATopicIsReadOnceByWhoeverStreamsIt(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").MapValues(func(_, v string) string { return v + "1" }).To("out")
	b.Stream[string, string]("in").MapValues(func(_, v string) string { return v + "2" }).To("out")
	d := streamtest.New(t, b)
	in, out := d.Input(stream.Topic[string, string]("in")), d.Output(stream.Topic[string, string]("out"))
	in.Pipe("k", "v")
	out.Want(out.R("k", "v1"), out.R("k", "v2"))
}

func TestATopicCannotBeATableAndAStream(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	b.Stream[string, string]("in").To("out")
	b.Table[string, string]("in").ToStream().To("out2")
	if _, err := b.Build(stream.Config{ApplicationID: "app"}); err == nil || !strings.Contains(err.Error(), `topic "in" is already read at`) {
		t.Fatalf("got %v", err)
	}
}

func TestABuilderServesOneApplication(t *testing.T) {
	t.Parallel()
	b := wordCount()
	streamtest.New(t, b)
	if _, err := stream.NewApp(b, stream.Config{ApplicationID: "app", Brokers: []string{"127.0.0.1:1"}}); err == nil || !strings.Contains(err.Error(), "already belongs") {
		t.Fatalf("got %v", err)
	}
}

func TestNewAppReportsEveryFaultOfTheConfiguration(t *testing.T) {
	t.Parallel()
	_, err := stream.NewApp(wordCount(), stream.Config{
		ApplicationID: "a b", Threads: -1, BufferedRecords: -1, CommitInterval: -1, ReplicationFactor: -1, DeadLetterTopic: "?",
	})
	if !errors.Is(err, stream.ErrConfig) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"ApplicationID", "Brokers", "Threads", "BufferedRecords", "CommitInterval", "ReplicationFactor", "DeadLetterTopic"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s is missing in:\n%v", part, err)
		}
	}
	if _, err := stream.NewApp(stream.NewBuilder(), stream.Config{ApplicationID: "a", Brokers: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "no source") {
		t.Errorf("an empty topology: got %v", err)
	}
}

func TestSerdesNamedAtASourceFollowTheStream(t *testing.T) {
	t.Parallel()
	loud := serde.Convert(serde.String(), strings.ToUpper, func(s string) (string, error) { return strings.ToLower(s), nil })
	b := stream.NewBuilder()
	s := b.Stream[string, string]("in", stream.ValueSerde(loud))
	s.Filter(func(_, v string) bool { return v == "quiet" }).To("out") // the value's serde goes along
	s.MapValues(func(_, v string) string { return v }).To("plain")     // and ends where the value is another
	s.GroupByKey().Reduce(func(_, v string) string { return v }, stream.As("last")).ToStream().To("last")
	d := streamtest.New(t, b)
	d.Input(stream.Topic[[]byte, []byte]("in")).Pipe([]byte("k"), []byte("QUIET"))
	for topic, want := range map[stream.Topic[[]byte, []byte]]string{"out": "QUIET", "plain": "quiet", "last": "QUIET"} {
		out := d.Output(topic)
		out.Want(out.R([]byte("k"), []byte(want)))
	}
}
