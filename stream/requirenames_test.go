package stream_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrun/millrun/stream"
)

func TestRequireNamesListsEveryGeneratedName(t *testing.T) {
	t.Parallel()
	build := func(named bool) *stream.Builder {
		b := stream.NewBuilder()
		grouping, counting := []stream.Grouped{}, []stream.Materialized{}
		if named {
			grouping, counting = append(grouping, stream.Named("letters")), append(counting, stream.As("counts"))
		}
		b.Stream(textIn).GroupBy(initial, grouping...).Count(counting...).ToStream().To("counts")
		b.Table(textual("unkept")).ToStream().To("through") // it keeps no store, so there is nothing to name
		return b
	}
	if _, err := build(true).Build(stream.Config{ApplicationID: "app", RequireNames: true}); err != nil {
		t.Errorf("all is named: %v", err)
	}
	if _, err := build(false).Build(stream.Config{ApplicationID: "app"}); err != nil {
		t.Errorf("names are not required: %v", err)
	}
	_, err := build(false).Build(stream.Config{ApplicationID: "app", RequireNames: true})
	var fault *stream.TopologyError
	if !errors.As(err, &fault) || fault.Line == 0 {
		t.Fatalf("got %v", err)
	}
	lines := strings.Split(err.Error(), "\n")
	for i, part := range []string{
		"the store KSTREAM-AGGREGATE-STATE-STORE-0000000002 and its changelog have generated names",
		"the repartition topic KSTREAM-AGGREGATE-STATE-STORE-0000000002-repartition has a generated name",
	} {
		if i >= len(lines) || !strings.Contains(lines[i], part) || !strings.HasPrefix(lines[i], "requirenames_test.go:") {
			t.Errorf("%q is missing in line %d of\n%v", part, i, err)
		}
	}
	if len(lines) != 2 {
		t.Errorf("want 2 faults, got\n%v", err)
	}
}
