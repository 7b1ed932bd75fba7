//go:build synctests

package failpoint_test

import (
	"context"
	"testing"

	"github.com/millrun/millrun/stream/internal/failpoint"
)

func TestSetsAreToldApart(t *testing.T) {
	t.Parallel()
	var passed []string
	one := failpoint.New(func(name string) { passed = append(passed, name) }, "bug")
	two := failpoint.New(nil)
	a, b := failpoint.With(context.Background(), one), failpoint.With(context.Background(), two)
	failpoint.From(a).At("here")
	failpoint.From(b).At("there")
	failpoint.From(context.Background()).At("nowhere")
	if len(passed) != 1 || passed[0] != "here" || one.Hits()["here"] != 1 || two.Hits()["here"] != 0 {
		t.Errorf("passed %v, hits %v and %v", passed, one.Hits(), two.Hits())
	}
	if !failpoint.From(a).Planted("bug") || failpoint.From(b).Planted("bug") || failpoint.From(context.Background()).Planted("bug") {
		t.Error("a bug is planted where it was not asked for, or not where it was")
	}
}
