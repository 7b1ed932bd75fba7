package stream_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/millrun/millrun/stream"
	"github.com/millrun/millrun/stream/state"
)

func TestGraphNamesTheInternalTopics(t *testing.T) {
	t.Parallel()
	b := stream.NewBuilder()
	words := b.Stream(stream.Topic[string, string]("in")).GroupBy(func(_, v string) string { return v })
	words.Count(stream.As("counts"), state.Logging(map[string]string{"segment.ms": "1"})).ToStream().To("out")
	words.Reduce(func(_, v string) string { return v }, stream.As("last"), state.NoLogging())
	top, err := b.Build(stream.Config{ApplicationID: "app"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range top.Graph().Topics {
		got = append(got, fmt.Sprintln(x.Subtopology, x.Name, x.Changelog, x.Partitions, slices.Sorted(maps.Keys(x.Config)), x.Config["cleanup.policy"]))
	}
	want := []string{
		"1 app-counts-repartition false 0 [cleanup.policy message.timestamp.type retention.ms segment.bytes] delete\n",
		"1 app-counts-changelog true 0 [cleanup.policy message.timestamp.type segment.ms] compact\n",
		"2 app-last-repartition false 0 [cleanup.policy message.timestamp.type retention.ms segment.bytes] delete\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
